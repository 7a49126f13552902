#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make build/deb/qemu-blobstore_VERSION_amd64.deb of what build-qemu.sh has built
# in build/qemu/full. debhelper does it, with the files of packaging/debian.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
src=$top/build/qemu/src
out=$top/build/deb
work=$out/work
debian=$work/debian
ours=$("$top/scripts/version.sh")
theirs=$(cat "$src/VERSION")

# Prints the licences of QEMU as Debian describes them, or as QEMU itself does.
license_of_qemu() {
    if [ -f "$src/debian/copyright" ]; then
        sed -n '/^Files: \*$/,$p' "$src/debian/copyright"
    else
        printf 'Files: *\nCopyright: the authors of QEMU\nLicense: GPL-2\n'
        sed 's/^ *$/./; s/^/ /' "$src/LICENSE"
    fi
}

write_copyright() {
    echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
    echo 'Upstream-Name: qemu-blobstore'
    echo
    license_of_qemu
    echo
    cat "$top/packaging/debian/copyright"
}

# All times in the package are this one, so that the same programs give the same package.
date_of_changes() {
    if [ -e "$top/.git" ]; then
        git -C "$top" log -1 --format=%ct
    else
        stat -c %Y "$top/meson.build"
    fi
}

write_changelog() {
    cat <<END
qemu-blobstore ($ours+qemu$theirs-1) unstable; urgency=medium

  * Built from qemu-blobstore $ours and QEMU $theirs.

 -- Local build <root@localhost>  $(date -R -d "@$SOURCE_DATE_EPOCH")
END
}

# What packaging/debian/rules reads.
export INSTALL=$top/scripts/install.sh
QEMU_PACKAGE=$("$top/scripts/version.sh" debian)
export QEMU_PACKAGE
SOURCE_DATE_EPOCH=$(date_of_changes)
export SOURCE_DATE_EPOCH

rm -rf "$out"
mkdir -p "$work"
cp -r "$top/packaging/debian" "$debian"
write_copyright > "$debian/copyright"
write_changelog > "$debian/changelog"
cd "$work"
if ! dpkg-buildpackage -b -us -uc > "$out/log" 2>&1; then
    tail -n 40 "$out/log" >&2
    echo "deb: dpkg-buildpackage failed (see above)" >&2
    exit 1
fi
rm -rf "$work"
for package in "$out"/*.deb; do
    echo "deb: ${package#"$top"/} has $(($(stat -c %s "$package") >> 20)) MiB"
done
