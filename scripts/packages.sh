#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Install the Debian packages that building and testing need. Idempotent: does
# nothing when all are there. Without root it names what is missing and fails.
#
# usage: packages.sh [bench|fuzz|storage|full|package]
#   bench: what the benchmark compares with and draws with, too; fuzz: a compiler that fuzzes
#   storage: servers of network storage, QEMU's libraries for them, and tools of file systems
#   full: the libraries of a QEMU to install, and what makes its manual pages
#   package: those, and what makes and tests a Debian package
set -euo pipefail

packages=(
    # building: the core, QEMU and its tools
    build-essential ninja-build pkg-config ccache python3 python3-venv
    libglib2.0-dev libgcrypt20-dev zlib1g-dev libtpms-dev liburing-dev libaio-dev
    libp11-kit-dev libseccomp-dev libssl-dev
    # tokens for testing: modules of PKCS#11
    softhsm2 libnss3
    # fetching QEMU's source
    dpkg-dev debian-archive-keyring ca-certificates
    # the test guest
    cpio busybox-static tpm2-tools
    # the other home of TPMs, to move them from and to
    swtpm swtpm-tools
    # running the tests that are in Python
    python3-pytest python3-pytest-xdist python3-pytest-subtests
    # looking at the man page
    groff-base
    # checking the model
    spin
    # the second reader of the format
    python3-cryptography python3-argon2
    # coverage
    gcovr
)
if [ "${1:-}" = bench ]; then
    packages+=(libsqlite3-dev liblmdb-dev python3-matplotlib swtpm)
elif [ "${1:-}" = fuzz ]; then
    packages+=(clang libclang-rt-dev)
elif [ "${1:-}" = storage ]; then
    packages+=(librbd-dev libiscsi-dev libnfs-dev libgnutls28-dev
               ceph-mon ceph-osd ceph-mgr ceph-common tgt nfs-ganesha nfs-ganesha-vfs rpcbind
               iproute2 btrfs-progs e2fsprogs xfsprogs)
fi

if [ "${1:-}" = full ] || [ "${1:-}" = package ]; then
    packages+=(librbd-dev libiscsi-dev libnfs-dev libssh-dev libcurl4-gnutls-dev libgnutls28-dev
               libspice-server-dev libpixman-1-dev libpng-dev libjpeg-dev libncurses-dev
               libsasl2-dev libpam0g-dev libslirp-dev libcap-ng-dev libattr1-dev libfuse3-dev
               libusb-1.0-0-dev libusbredirparser-dev libcacard-dev libfdt-dev libnuma-dev
               libzstd-dev libudev-dev libselinux1-dev libbz2-dev liblzo2-dev
               python3-sphinx python3-sphinx-rtd-theme)
fi
if [ "${1:-}" = package ]; then
    packages+=(debhelper lintian debootstrap)
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
            sed -n 's/^installed //p' || true)
missing=()
for package in "${packages[@]}"; do
    grep -qxF "$package" <<< "$installed" || missing+=("$package")
done

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "packages: these Debian packages are missing and only root can install them:" >&2
    printf '    %s\n' "${missing[@]}" >&2
    echo "packages: run as root, then try again:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
for attempt in 1 2 3; do
    if apt-get -q -o Acquire::Retries=3 update &&
       apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
           install --no-install-recommends "${missing[@]}"; then
        exit 0
    fi
    echo "packages: attempt $attempt of 3 failed" >&2
    sleep $((attempt * 5))
done
echo "packages: apt-get could not install: ${missing[*]}" >&2
exit 1
