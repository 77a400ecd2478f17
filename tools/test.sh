#!/bin/sh
# test.sh all|rootless: builds every test as the user, then runs each as whom it is meant for.
#
# A test that needs root is in a file tests/live_*.rs, or is a unit test with live_ in its
# name. The other tests run as the user, who built them: root would leave files of its own in
# the tree. Live tests that measure times, or load the machine fully, have it for themselves. All
# other programs run side by side in as many lanes as there are processors, those that need no
# root first; those that need it wait most of the time, and run in a sandbox each.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
which=$1
failed=
# Whose results hang on what else runs.
alone=' bugs copies corrupt cut death delay heal hold jitter loop loss mark rate reject replay '
alone="$alone reset segments shared switch_bulk trigger weather "

scratch=$(mktemp -d)
readonly scratch
built=$scratch/built programs=$scratch/programs
rootless=$scratch/rootless one_by_one=$scratch/one_by_one lanes=$scratch/lanes
for list in "$rootless" "$one_by_one" "$lanes"; do : >"$list"; done
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# One line for each test program: its package's folder, its source, the program itself.
test_programs() {
    package='"manifest_path":"\([^"]*\)\/Cargo.toml"'
    source='"src_path":"\([^"]*\)"'
    is_test='"profile":{[^}]*"test":true}'
    program='"executable":"\([^"]*\)"'
    sed -n "s/.*$package.*$source.*$is_test.*$program.*/\1|\2|\3/p" "$built"
}

# by_itself PACKAGE PROGRAM ARGS...: a failure is remembered, so that all have their say.
by_itself() {
    package=$1 program=$2
    shift 2
    say "" "== $program $* (as root)"
    (cd "$package" && as_root env "CARGO_MANIFEST_DIR=$package" "$program" "$@") ||
        failed="$failed $program"
}

# in_lanes LIST: what they print comes whole, as each ends.
in_lanes() {
    xargs -r -d '\n' -n 3 -P "$(nproc)" tools/lane.sh "$scratch" <"$1" || failed="$failed lanes"
}

# All packages are built at once: by themselves they would get dependencies of their own.
as_user cargo test --no-run --workspace --message-format=json-render-diagnostics >"$built" ||
    die "test: the build failed"
test_programs >"$programs"
[ -s "$programs" ] || die "test: cargo named no test program; has its JSON changed?"
while IFS='|' read -r package source program; do
    case "$source" in
    */tests/live_*)
        name=${source##*/live_} name=${name%/main.rs} name=${name%.rs}
        # These wait for timeouts most of the time.
        case "$name" in bugs | death) threads=2 ;; *) threads=1 ;; esac
        case "$alone" in
        *" $name "*) printf '%s\n' "$package|$program|--test-threads=$threads" >>"$one_by_one" ;;
        *) printf '%s\n' root "$package" "$program" >>"$lanes" ;;
        esac
        ;;
    *)
        printf '%s\n' user "$package" "$program" >>"$rootless"
        if as_user "$program" --list live_ </dev/null | grep -q ': test$'; then
            printf '%s\n' "$package|$program|--test-threads=1 live_" >>"$one_by_one"
        fi
        ;;
    esac
done <"$programs"

in_lanes "$rootless"
if [ "$which" = all ]; then
    # Another descriptor: programs must not read the list as their input.
    while IFS='|' read -r package program args <&3; do
        # Word splitting is meant: one argument or two.
        # shellcheck disable=SC2086
        by_itself "$package" "$program" $args
    done 3<"$one_by_one"
    in_lanes "$lanes"
fi
for told in "$scratch"/*.failed; do
    [ ! -e "$told" ] || failed="$failed $(cat "$told")"
done
tools/web.sh test || failed="$failed web"
as_user cargo test --quiet --workspace --doc || failed="$failed doctests"
[ -z "$failed" ] || {
    say "" "FAILED:$failed"
    exit 1
}
