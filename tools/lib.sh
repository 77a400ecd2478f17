# Shared by the scripts in this folder: who does what. Source it; it runs nothing.
#
# The host's network needs root, the build must not: files of root in target/ would get in
# the way of whoever owns the tree. So `as_root` and `as_user` say for each command who it is
# for, and both work as plain root, as a user with sudo, and inside `sudo make`.

# An ordinary user's PATH lacks these on Debian, and root's under sudo lacks cargo.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 5
}

# as_root COMMAND...: as root, with the environment of the caller.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -E env "PATH=$PATH" "$@"
    else
        die "needs root for: $*" "Run it as root (there is no sudo here)."
    fi
}

# as_user COMMAND...: as the user who called sudo, else as oneself.
as_user() {
    if [ "$(id -u)" = 0 ] && [ "${SUDO_USER:-root}" != root ]; then
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        # sudo gave root its own HOME and PATH; cargo and its cache live in the user's.
        sudo -u "$SUDO_USER" -E env "HOME=$home" "PATH=$home/.cargo/bin:$PATH" "$@"
    else
        PATH="$PATH:${HOME:-/root}/.cargo/bin" "$@"
    fi
}
