#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Graft our files onto the QEMU tree in build/qemu/src and build in
# build/qemu/build what users and tests run. Does only what is out of date.
#
# usage: build-qemu.sh [asan|storage]
#   asan: qemu-system-x86_64 alone, with ASan and UBSan, in build/qemu/asan
#   storage: the programs, with drivers of network storage, in build/qemu/storage
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

case "${1:-}" in
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
