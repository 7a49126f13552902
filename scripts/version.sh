#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Print a version.
#
# usage: version.sh [release|debian]
#   without an argument: ours, and when the last commit was made, so that a later one counts as newer
#   release: ours alone
#   debian: that of the source package of QEMU in build/qemu/src; nothing if that is from elsewhere
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)

if [ "${1:-}" = debian ]; then
    dpkg-parsechangelog -l "$top/build/qemu/src/debian/changelog" -S Version 2>/dev/null || true
    exit 0
fi

release=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$top/meson.build")
if [ "${1:-}" = release ]; then
    echo "$release"
    exit 0
fi

commit=
# Without this look, git could find the repository of a folder above.
if [ -e "$top/.git" ]; then
    commit=$(git -C "$top" log -1 --date=format:%Y%m%d%H%M%S --format=+git%cd)
fi
echo "$release$commit"
