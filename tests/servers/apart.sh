#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run a command that starts servers, as root: nobody else reaches them, their ports and sockets
# are theirs whatever runs on this host, and no mount stays behind.
#
# usage: apart.sh COMMAND...
set -eu
exec unshare --net --mount sh -euc '
    ip link set lo up
    mount -t tmpfs none /run
    exec "$@"' sh "$@"
