#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Print the places from which this machine's apt fetches its own release, one a
# line. Other vendors use Debian's suite names, too; keys tell them apart later.
set -euo pipefail

codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
apt-get update --print-uris |
    sed -n "s#^'\([^']*\)/dists/$codename/InRelease'.*#\1#p" | sort -u
