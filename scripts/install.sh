#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copy the QEMU that build-qemu.sh has built in build/qemu/full to where it is
# used. All of it is in a folder of its own, so that it can live beside another
# QEMU; only the tool qemu-blobstore, which no other QEMU has, is in the PATH.
#
# usage: install.sh
#   PREFIX: below which, /usr/local by default
#   DESTDIR: a folder to install into, as if it were /
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
full=$top/build/qemu/full
prefix=${PREFIX:-/usr/local}
home=$prefix/lib/qemu-blobstore
doc=$prefix/share/doc/qemu-blobstore

programs=(
    qemu-system-x86_64 qemu-img qemu-io qemu-nbd qemu-pr-helper qemu-vmsr-helper
    storage-daemon/qemu-storage-daemon tools/blobstore/qemu-blobstore
)
manual_pages=(
    qemu.1 qemu-img.1 qemu-storage-daemon.1
    qemu-block-drivers.7 qemu-cpu-models.7 qemu-qmp-ref.7 qemu-storage-daemon-qmp-ref.7
    qemu-nbd.8 qemu-pr-helper.8
)

# MODE FOLDER FILE...
put() {
    local mode=$1 folder=${DESTDIR:-}$2
    shift 2
    install -d "$folder"
    install -m "$mode" -t "$folder" "$@"
}

put_programs() {
    local bin=${DESTDIR:-}$prefix/bin
    put 755 "$home/bin" "${programs[@]/#/$full/}"
    put 755 "$home/libexec" "$full/qemu-bridge-helper"
    install -d "$bin"
    ln -sfn ../lib/qemu-blobstore/bin/qemu-blobstore "$bin/qemu-blobstore"
}

# man finds the pages of QEMU beside its programs, if those are in the PATH.
put_manual() {
    local page man=$home/share/man tool=$full/tools/blobstore
    for page in "${manual_pages[@]}"; do
        put 644 "$man/man${page##*.}" "$full/docs/$page"
    done
    ln -sfn qemu.1 "${DESTDIR:-}$man/man1/qemu-system-x86_64.1"
    put 644 "$prefix/share/man/man1" "$tool/qemu-blobstore.1"
    install -D -m 644 "$tool/qemu-blobstore.bash" \
        "${DESTDIR:-}$prefix/share/bash-completion/completions/qemu-blobstore"
}

put_documents() {
    put 644 "$doc" "$top/README.md"
    put 644 "$doc/docs" "$top"/docs/*
}

say_what_is_missing() {
    local file missing=()
    for file in /usr/share/{seabios/bios-256k.bin,qemu/linuxboot_dma.bin,OVMF/OVMF_CODE_4M.fd} \
                /usr/lib/ipxe/qemu/efi-virtio.rom; do
        [ -e "$file" ] || missing+=("$file")
    done
    [ ${#missing[@]} -ne 0 ] || return 0
    echo "install: machines need firmware that is not here: ${missing[*]}"
    echo "install: Debian's packages have it: seabios qemu-system-data ovmf ipxe-qemu"
}

case $prefix in
/*) ;;
*) echo "install: PREFIX=$prefix must begin with /" >&2
   exit 1 ;;
esac
put_programs
put_manual
put_documents
echo "install: QEMU is in ${DESTDIR:-}$home/bin"
[ -n "${DESTDIR:-}" ] || say_what_is_missing
