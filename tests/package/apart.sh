#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run a command, as root, that installs the package into a Debian of its own: in
# the folder $CLEAN, which is new and goes with the command. What the command
# mounts there goes first, for it is mounted in a namespace of the command's.
#
# usage: apart.sh COMMAND...
set -eu
build=$(cd "$(dirname "$0")/../.." && pwd)/build
mkdir -p "$build/package"
CLEAN=$(mktemp -d "$build/package/debian-XXXXXX")
export CLEAN
trap 'rm -rf --one-file-system "$CLEAN"' EXIT
unshare --mount --propagation private "$@"
