#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make what somebody needs who packages QEMU with our files, in build/dist:
#
#   qemu-blobstore-VERSION.tar.xz   the files of this repository, and none of QEMU's;
#                                   its scripts/graft.py --copy lays them into a QEMU 10.0
#   qemu-blobstore-VERSION-hooks-for-qemu-VERSION.patch
#                                   what that changes in QEMU's own files, for a
#                                   series of patches; its context lines are QEMU's
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
src=$top/build/qemu/src
out=$top/build/dist
cd "$top"

if [ ! -e .git ]; then
    echo "dist: $top is no git repository; is it what make dist has made?" >&2
    exit 1
fi
if [ -n "$(git status --porcelain)" ]; then
    echo "dist: there are changes that are not committed; git status shows them" >&2
    exit 1
fi

name=qemu-blobstore-$(scripts/version.sh)
rm -rf "$out"
mkdir -p "$out"
git archive --prefix="$name/" HEAD | xz > "$out/$name.tar.xz"
scripts/graft.py --patch "$src" > "$out/$name-hooks-for-qemu-$(cat "$src/VERSION").patch"
printf 'dist: %s\n' "${out#"$top"/}"/*
