#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make what the test guest boots from, in build/guest:
#
#   vmlinuz         Debian's cloud kernel, unpacked but never installed; TPM, TIS
#                   and CRB are built into it, so no module is needed
#   initramfs.cpio  busybox, tpm2-tools and tests/guest/init
#
# Does nothing when both are there and up to date.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
out=$top/build/guest
init=$top/tests/guest/init
tcti=/usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0
kernel_meta=linux-image-cloud-amd64

say() {
    printf 'guest: %s\n' "$@"
}

fail() {
    say "$@" >&2
    exit 1
}

# Prints the versioned package that the meta package stands for today.
kernel_package() {
    apt-cache depends --important "$kernel_meta" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p'
}

# Downloads into the current directory, as the package lists say.
download_kernel() {
    local package
    package=$(kernel_package)
    [ -n "$package" ] || return
    say "downloading $package"
    apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root \
        download "$package" >> "$out/apt.log" 2>&1
}

make_kernel() {
    [ ! -s "$out/vmlinuz" ] || return 0
    local unpacked=$out/kernel
    rm -rf "$unpacked" "$out/apt.log"
    mkdir -p "$unpacked"
    cd "$unpacked"
    if ! download_kernel; then
        [ "$(id -u)" -eq 0 ] ||
            fail "apt cannot download $kernel_meta; run as root: apt-get update"
        say "updating the package lists"
        apt-get -q -o Acquire::Retries=3 update >> "$out/apt.log" 2>&1 || true
        download_kernel || fail "apt cannot download $kernel_meta, see $out/apt.log"
    fi
    dpkg -x ./linux-image-*.deb .
    cd "$out"
    mv "$unpacked"/boot/vmlinuz-* vmlinuz
    rm -rf "$unpacked"
}

# The ingredients of the initramfs, which is made again when one of them
# changes.
ingredients() {
    cat "$top/scripts/guest.sh" "$init"
    dpkg-query -W busybox-static tpm2-tools 'libtss2-*' libc6
}

make_initramfs() {
    local stamp tree=$out/tree applet lib
    stamp=$(ingredients | sha256sum)
    if [ -s "$out/initramfs.cpio" ] &&
       [ "$(cat "$out/initramfs.stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "making the initramfs"
    rm -rf "$tree"
    mkdir -p "$tree/bin"
    cp "$init" "$tree/init"
    for applet in $("$busybox" --list); do
        ln -s busybox "$tree/bin/$applet"
    done
    rm "$tree/bin/busybox"
    cp "$busybox" "$tpm2" "$tree/bin"
    for lib in "$tcti" $(ldd "$tpm2" "$tcti" | grep -o '/[^ :]*\.so[^ :]*'); do
        mkdir -p "$tree${lib%/*}"
        cp -L "$lib" "$tree$lib"
    done
    cd "$tree"
    find . | sort | cpio --quiet -o -H newc -R 0:0 > "$out/initramfs.new"
    cd "$out"
    mv initramfs.new initramfs.cpio
    echo "$stamp" > initramfs.stamp
    rm -rf "$tree"
    say "initramfs.cpio: $(($(stat -c %s initramfs.cpio) >> 20)) MiB"
}

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] ||
    fail "the test guest is made of Debian amd64 packages; this is no such machine"
for file in busybox tpm2 cpio "$tcti"; do
    command -v "$file" > /dev/null || [ -e "$file" ] ||
        fail "$file is missing, which a Debian package has; run: scripts/packages.sh"
done
busybox=$(command -v busybox)
tpm2=$(command -v tpm2)

mkdir -p "$out"
make_kernel
make_initramfs
