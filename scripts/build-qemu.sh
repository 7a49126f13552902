#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Graft our files onto the QEMU tree in build/qemu/src and build in
# build/qemu/build what users and tests run. Does only what is out of date.
#
# usage: build-qemu.sh [asan|storage|full]
#   asan: qemu-system-x86_64 alone, with ASan and UBSan, in build/qemu/asan
#   storage: the programs, with drivers of network storage, in build/qemu/storage
#   full: what "make install" installs, in build/qemu/full
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
src=$top/build/qemu/src
dir=$top/build/qemu/${1:-build}
debian=$top/build/debian
configured=$dir/configured-with

# A lean QEMU: only what a machine with a TPM on a block device needs, and the
# block layer that its tests use (raw, qcow2, luks, nbd, blkdebug, blklogwrites
# and throttle have no switch and are always built).
flags=(
    --target-list=x86_64-softmmu
    --without-default-features
    --enable-system --enable-tools
    --enable-tcg --enable-kvm
    --enable-tpm --enable-blobstore --enable-gcrypt --enable-keyring
    --enable-linux-aio --enable-linux-io-uring --enable-seccomp
    --disable-docs --disable-werror
    --disable-download --disable-install-blobs
    --python=/usr/bin/python3
)

# What Debian's qemu-system-x86 and qemu-utils have, but for windows (GTK, SDL),
# OpenGL and sound of the host. All of it is linked in: a VM that runs while the
# package is upgraded could not load modules of another build.
full_flags=(
    --enable-vnc --enable-vnc-jpeg --enable-vnc-sasl --enable-png --enable-pixman
    --enable-spice --enable-spice-protocol --enable-dbus-display --enable-gio
    --enable-curses --enable-iconv --enable-smartcard
    --enable-usb-redir --enable-libusb --enable-libudev
    --enable-slirp --enable-l2tpv3 --enable-virtfs --enable-attr
    --enable-vhost-kernel --enable-vhost-net --enable-vhost-user --enable-vhost-vdpa
    --enable-vhost-crypto --enable-vhost-user-blk-server
    --enable-libvduse --enable-vduse-blk-export --enable-fuse --enable-fuse-lseek
    --enable-rbd --enable-libiscsi --enable-libnfs --enable-libssh --enable-curl
    --enable-gnutls --enable-auth-pam --enable-cap-ng --enable-selinux
    --enable-numa --enable-fdt=system --enable-hv-balloon --enable-multiprocess
    --enable-zstd --enable-bzip2 --enable-lzo
    --enable-bochs --enable-cloop --enable-dmg --enable-parallels --enable-qcow1
    --enable-qed --enable-vdi --enable-vhdx --enable-vmdk --enable-vpc --enable-vvfat
    --enable-replication --enable-colo-proxy
    --enable-malloc-trim --enable-avx2 --enable-avx512bw --enable-stack-protector
    --disable-debug-info
    # QEMU finds its files by where its program is, so one build serves each PREFIX.
    # Firmware is that of Debian's packages.
    --prefix=/usr/lib/qemu-blobstore --libdir=lib --libexecdir=libexec
    --sysconfdir=/etc --localstatedir=/var
    --firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu
)

# Prints what --version says beside QEMU's own version.
package_version() {
    local debian
    debian=$("$top/scripts/version.sh" debian)
    echo "qemu-blobstore $("$top/scripts/version.sh" release)${debian:+ on Debian $debian}"
}

case "${1:-}" in
full) flags=("${flags[@]/--disable-docs/--enable-docs}" "${full_flags[@]}"
             "--with-pkgversion=$(package_version)") ;;
asan) flags+=(--enable-asan --enable-ubsan) ;;
storage) flags+=(--enable-rbd --enable-libiscsi --enable-libnfs --enable-gnutls) ;;
esac

# QEMU's build files call meson whenever they are out of date, so every ninja
# run must find the fetched one.
export PYTHONPATH=$debian/usr/lib/python3/dist-packages

if command -v ccache >/dev/null; then
    flags+=("--cc=ccache cc" "--host-cc=ccache cc")
    # These make the result the same in every checkout.
    export CCACHE_BASEDIR=$top/build/qemu CCACHE_NOHASHDIR=1
fi

targets() {
    echo qemu-system-x86_64
    if [ "$dir" = "$top/build/qemu/full" ]; then
        printf '%s\n' qemu-{img,io,nbd,pr-helper,bridge-helper,vmsr-helper} \
            tools/blobstore/qemu-blobstore{,.1,.bash} \
            storage-daemon/qemu-storage-daemon man
        return 0
    fi
    [ "$dir" != "$top/build/qemu/asan" ] || return 0
    printf '%s\n' qemu-img qemu-io qemu-nbd tools/blobstore/qemu-blobstore{,.1,.bash}
    if [ "$dir" = "$top/build/qemu/storage" ]; then
        echo tests/unit/bench-blobstore-drive
        return 0
    fi
    printf '%s\n' storage-daemon/qemu-storage-daemon tests/qtest/tpm-{crb,tis}-test
    cd "$top"
    for test in tests/unit/{test,bench}-blobstore-*.c tests/qtest/*blobstore*-test.c; do
        [ ! -e "$test" ] || echo "${test%.c}"
    done
}

configure() {
    mkdir -p "$dir"
    cd "$dir"
    if [ "$(cat "$configured" 2>/dev/null)" = "${flags[*]}" ]; then
        return
    fi
    echo "build-qemu: configuring QEMU (log: build/qemu/configure.log)"
    rm -f "$configured"
    if ! "$src/configure" "${flags[@]}" > "$top/build/qemu/configure.log" 2>&1; then
        tail -n 40 "$top/build/qemu/configure.log" >&2
        echo "build-qemu: QEMU's configure failed (see above)" >&2
        exit 1
    fi
    echo "${flags[*]}" > "$configured"
}

# QEMU finds firmware in this directory when it runs from its build tree.
link_firmware() {
    local place=$dir/qemu-bundle/usr/local/share/qemu-firmware file
    mkdir -p "$place"
    for file in "$debian"/usr/share/{qemu,seabios}/*.{bin,rom}; do
        [ "$place/${file##*/}" -ef "$file" ] || ln -sfn "$file" "$place/"
    done
}

# A log gets every hundredth line of progress, and all other output.
run_ninja() {
    if [ -t 1 ]; then
        ninja -C "$dir" "$@"
    else
        ninja -C "$dir" "$@" |
            awk '/^ninja: Entering/ { next }
                 /^\[[0-9]+\// && !/^\[[0-9]*00\// { next }
                 { print; fflush() }'
    fi
}

mkdir -p "$top/build/qemu"
exec 9> "$top/build/qemu/lock"
flock 9

python3 "$top/scripts/graft.py" "$src"
configure
link_firmware
mapfile -t wanted < <(targets)
run_ninja -j "$(nproc)" "${wanted[@]}"
echo "build-qemu: ${dir#"$top"/} is up to date"
