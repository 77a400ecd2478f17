#!/bin/sh
# Installs what a fresh Debian or Ubuntu machine lacks; quick, and without apt, where nothing is.
#
# etcd is unpacked into .tools/etcd and not installed: Debian's package starts a service on
# ports 2379 and 2380, which a test could take for one of its own nodes.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

ETCD=.tools/etcd

# One package name a line for everything this machine lacks.
missing() {
    for pair in iptables:iptables-restore nftables:nft iproute2:ip gcc:gcc make:make pkg-config:pkg-config; do
        command -v "${pair#*:}" >/dev/null || echo "${pair%%:*}"
    done
    # A compiler without these cannot link; the metapackage recommends them only.
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    pkg-config --exists libnetfilter_queue 2>/dev/null || echo libnetfilter-queue-dev
}

has_etcd() { [ -x "$ETCD/usr/bin/etcd" ] && [ -x "$ETCD/usr/bin/etcdctl" ]; }

need_apt() {
    command -v apt-get >/dev/null && return
    die "This machine has no apt-get, and it lacks: $*" \
        "Install these by its own package manager; etcd and etcdctl may stand in PATH instead."
}

# Package lists that are missing or a week old name files that the servers no longer have.
refresh_lists() {
    [ "${refreshed:-no}" = no ] || return 0
    lists=/var/lib/apt/lists
    fresh=$(find "$lists" -maxdepth 1 -name '*_Packages*' -mtime -7 2>/dev/null | head -n 1)
    if [ -n "$fresh" ] && [ "${1:-}" != force ]; then return 0; fi
    say "setup: apt-get update"
    as_root apt-get -qq update
    refreshed=yes
}

install_packages() {
    say "setup: apt-get install $*"
    refresh_lists
    # Not as root's environment: DEBIAN_FRONTEND must reach apt through sudo as well.
    if ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install "$@" </dev/null >&2; then
        refresh_lists force
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -y --no-install-recommends install "$@" </dev/null >&2
    fi
}

# The newer releases split the package; where that is not known, the old name holds both.
etcd_packages() {
    if apt-cache show etcd-server >/dev/null 2>&1; then
        echo etcd-server etcd-client
    else
        echo etcd
    fi
}

# apt's sandbox user cannot write into somebody's tree, and there is nothing to protect here.
download() { (cd "$1" && shift && as_user apt-get -qq -o APT::Sandbox::User=root download "$@"); }

fetch_etcd() {
    refresh_lists
    say "setup: unpacking $(etcd_packages) into $ETCD (no service is installed)"
    as_user mkdir -p .tools
    part=$(as_user mktemp -d .tools/etcd.XXXXXX)
    trap 'rm -rf "$part"' EXIT
    if ! download "$part" $(etcd_packages); then
        refresh_lists force
        download "$part" $(etcd_packages)
    fi
    for deb in "$part"/*.deb; do as_user dpkg -x "$deb" "$part/root"; done
    [ -x "$part/root/usr/bin/etcd" ] || die "setup: $(etcd_packages) holds no usr/bin/etcd."
    rm -rf "$ETCD"
    # Renamed in one step, so that a setup that was interrupted leaves no half an etcd.
    as_user mv "$part/root" "$ETCD"
}

# Distributions ship older compilers, with which the build fails in a way that says little.
need_cargo() {
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    how="Install it by rustup; where rustup is there already: rustup update stable"
    # "cargo 1.89.0 (...)"; nothing where there is none, or a rustup without a toolchain.
    version=$(as_user cargo --version 2>/dev/null | cut -d' ' -f2) || version=
    [ -n "$version" ] || die "setup: there is no cargo; Rust $needed or newer is needed." "$how"
    oldest=$(printf '%s\n' "$needed" "${version%%-*}" | sort -V | head -n 1)
    [ "$oldest" = "$needed" ] ||
        die "setup: Rust $needed or newer is needed, and this cargo is $version." "$how"
}

need_cargo
lacks=$(missing | tr '\n' ' ')
if [ -n "$lacks" ]; then
    need_apt "$lacks"
    # Word splitting is meant: one package a word.
    # shellcheck disable=SC2086
    install_packages $lacks
fi
if ! has_etcd; then
    if command -v etcd >/dev/null && command -v etcdctl >/dev/null; then
        say "setup: using $(command -v etcd)"
    else
        need_apt etcd
        fetch_etcd
    fi
fi
