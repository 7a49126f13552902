#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Put a pristine QEMU 10.0 source tree in build/qemu/src, and in build/debian what
# goes with it: a meson new enough to configure it and the firmware that its
# machines load (QEMU's source package has none).
#
# All of it comes from Debian 13, whatever Debian this machine runs, through an apt
# configuration of our own under build/apt: it uses this machine's mirror, leaves
# the machine's apt state alone and checks everything against Debian's archive
# keys. QEMU_SRC=DIR copies the tree DIR instead of fetching QEMU; it is copied
# again only after make clean.
#
# usage: fetch-qemu.sh [tools]      (tools: build/debian alone)
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/build
src=$build/qemu/src
origin=$build/qemu/origin       # says what src was made from
extras=$build/debian            # unpacked packages
apt=$build/apt
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suite=trixie
wanted=10.0
# All these packages are architecture-independent, so they run on any Debian.
extra_packages=(meson seabios ipxe-qemu qemu-system-data)

say() {
    printf 'fetch-qemu: %s\n' "$@"
}

fail() {
    say "$@" >&2
    exit 1
}

# MIRROR TYPES
write_apt_configuration() {
    mkdir -p "$apt/etc" "$apt/lists/partial" "$apt/cache/archives/partial"
    : > "$apt/status"
    cat > "$apt/etc/debian.sources" <<END
Types: $2
URIs: $1
Suites: $suite
Components: main
Signed-By: $keyring
END
    cat > "$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/etc";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "5";
APT::Sandbox::User "root";
APT::Get::List-Cleanup "false";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear Acquire::IndexTargets::deb::DEP-11;
END
}

private_apt() {
    apt-get -q -c "$apt/apt.conf" "$@"
}

try_thrice() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return 0
        say "attempt $attempt of 3 failed" >&2
        sleep $((attempt * 3))
    done
    return 1
}

# TYPES: leaves a private apt that knows these types of packages in $suite.
set_up_apt() {
    local types=$1 mirror candidates
    [ -r "$keyring" ] || fail "no $keyring: install debian-archive-keyring"
    candidates=$("$top/scripts/mirrors.sh")
    [ -n "$candidates" ] ||
        fail "this machine's apt sources name no Debian mirror; add one"
    for mirror in $candidates; do
        write_apt_configuration "$mirror" "$types"
        say "reading the package lists of $suite"
        if try_thrice private_apt -o APT::Update::Error-Mode=any update; then
            return 0
        fi
    done
    say "no mirror serves Debian's suite $suite ($types); these were tried:" \
        $candidates >&2
    case $types in
    *deb-src*) fail "add a mirror that has it to this machine's apt sources," \
                    "or give a QEMU $wanted tree: make QEMU_SRC=DIR" ;;
    *) fail "add a mirror that has it to this machine's apt sources" ;;
    esac
}

fetch_extras() (
    say "fetching ${extra_packages[*]} from $suite"
    rm -rf "$extras.new"
    mkdir -p "$extras.new/deb"
    cd "$extras.new/deb"
    try_thrice private_apt download "${extra_packages[@]}" ||
        fail "the mirror lacks one of these packages in $suite: ${extra_packages[*]}"
    for deb in *.deb; do
        dpkg-deb -x "$deb" "$extras.new"
    done
    rm -rf "$extras.new/deb" "$extras"
    echo "${extra_packages[*]}" > "$extras.new/packages"
    mv "$extras.new" "$extras"
)

fetch_qemu() (
    work=$build/qemu/fetch
    rm -rf "$work"
    mkdir -p "$work"
    cd "$work"
    say "fetching the source package qemu from $suite"
    try_thrice private_apt source --download-only --only-source qemu/$suite ||
        fail "the mirror has no source package qemu in $suite;" \
             "give a QEMU $wanted tree instead: make QEMU_SRC=DIR"
    # apt has checked the .dsc through the signed index.
    dpkg-source --no-check -x qemu_*.dsc src > unpack.log 2>&1 || {
        cat unpack.log >&2
        fail "cannot unpack the source package (see above)"
    }
    check_version src "the source package"
    mv src "$src.new"
    rm -rf "$work"
)

copy_qemu() {
    say "copying $QEMU_SRC"
    mkdir -p "$src.new"
    # A .git directory would turn on developer defaults such as -Werror.
    tar -C "$QEMU_SRC" --exclude=./.git --exclude=./build -cf - . |
        tar -C "$src.new" -xf -
}

# Leaves QEMU_SRC as an absolute path. A wrong path does not remove anything.
check_given_tree() {
    local given=$QEMU_SRC
    QEMU_SRC=$(cd "$given" 2>/dev/null && pwd -P) ||
        fail "QEMU_SRC=$given is no directory"
    case $QEMU_SRC/ in
    "$(realpath "$build")"/*)
        fail "QEMU_SRC=$given is in build/, which make clean removes: give another" ;;
    esac
    [ -f "$QEMU_SRC/configure" ] && [ -f "$QEMU_SRC/VERSION" ] ||
        fail "QEMU_SRC=$given is not a QEMU source tree"
    check_version "$QEMU_SRC" "QEMU_SRC=$given"
}

# The old tree stays until the new one is complete.
replace_tree() {
    mkdir -p "$build/qemu"
    rm -rf "$src.new"
    if [ -n "${QEMU_SRC:-}" ]; then
        copy_qemu
    else
        fetch_qemu
    fi
    rm -rf "$src" "$build/qemu/build" "$origin"
    mv "$src.new" "$src"
}

check_version() {
    local version
    version=$(cat "$1/VERSION")
    case $version in
    $wanted.*) ;;
    *) fail "$2 is QEMU $version; this needs $wanted" ;;
    esac
}

main() {
    local want
    mkdir -p "$build"
    if [ -n "${QEMU_SRC:-}" ]; then
        check_given_tree
        want="copied from $QEMU_SRC"
    else
        want="Debian $suite"
    fi
    # Only one fetch runs at a time, also under make -j.
    exec 9> "$build/fetch.lock"
    flock 9

    local need_extras=no need_qemu=no
    [ "$(cat "$extras/packages" 2>/dev/null)" = "${extra_packages[*]}" ] || need_extras=yes
    if [ "${1:-}" != tools ]; then
        [ -d "$src" ] && [ "$(cat "$origin" 2>/dev/null)" = "$want" ] || need_qemu=yes
    fi
    [ $need_extras$need_qemu != nono ] || return 0

    if [ $need_qemu = yes ] && [ -z "${QEMU_SRC:-}" ]; then
        set_up_apt "deb deb-src"
    elif [ $need_extras = yes ]; then
        set_up_apt deb
    fi
    if [ $need_extras = yes ]; then
        fetch_extras
    fi
    if [ $need_qemu = yes ]; then
        replace_tree
        echo "$want" > "$origin"
        say "QEMU $(cat "$src/VERSION") ($want) is in build/qemu/src"
    fi
}

main "$@"
