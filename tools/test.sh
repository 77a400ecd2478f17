#!/bin/sh
# test.sh all|rootless: builds every test as the user, then runs each as whom it is meant for.
#
# A test that needs root is in a file tests/live_*.rs, or is a unit test with live_ in its
# name. The other tests run as the user, who built them: root would leave files of its own in
# the tree. Live tests that measure times, or load the machine fully, have it for themselves; the
# others wait most of the time, and run as many at a time as there are processors, each in a sandbox.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
which=$1
failed=
# Whose results hang on what else runs.
alone=' bugs copies corrupt cut death delay heal hold jitter loop loss rate replay reset segments '
alone="$alone shared switch_bulk trigger weather "

folder=$(mktemp -d)
built=$folder/built lanes=$folder/lanes
: >"$lanes"
trap 'rm -rf "$folder"' EXIT

# One line for each test program: its package's folder, its source, the program itself.
test_programs() {
    package='"manifest_path":"\([^"]*\)\/Cargo.toml"'
    source='"src_path":"\([^"]*\)"'
    is_test='"profile":{[^}]*"test":true}'
    program='"executable":"\([^"]*\)"'
    sed -n "s/.*$package.*$source.*$is_test.*$program.*/\1|\2|\3/p" "$built"
}

# run WHO FOLDER PROGRAM ARGS...: a failure is remembered, so that all tests have their say.
run() {
    who=$1 folder=$2 program=$3
    shift 3
    say "" "== $program $* (as $who)"
    (cd "$folder" && "as_$who" env "CARGO_MANIFEST_DIR=$folder" "$program" "$@") ||
        failed="$failed $program"
}

# All packages are built at once: by themselves they would get dependencies of their own.
as_user cargo test --no-run --workspace --message-format=json-render-diagnostics >"$built" ||
    die "test: the build failed"
programs=$(test_programs)
[ -n "$programs" ] || die "test: cargo named no test program; has its JSON changed?"
old=$IFS
IFS='
'
for line in $programs; do
    IFS='|'
    # Word splitting is meant: three fields.
    # shellcheck disable=SC2086
    set -- $line
    IFS=$old
    case "$2" in
    */tests/live_*)
        name=${2##*/live_} name=${name%/main.rs} name=${name%.rs}
        case "$which$alone" in
        rootless*) ;;
        *" $name "*) run root "$1" "$3" --test-threads=1 ;;
        *) printf '%s\n' "$1" "$3" >>"$lanes" ;;
        esac
        ;;
    *)
        run user "$1" "$3" --skip live_
        if [ "$which" = all ] && as_user "$3" --list live_ | grep -q ': test$'; then
            run root "$1" "$3" --test-threads=1 live_
        fi
        ;;
    esac
done
# What they print comes whole, as each ends.
xargs -r -d '\n' -n 2 -P "$(nproc)" tools/lane.sh "$folder" <"$lanes" || failed="$failed lanes"
for told in "$folder"/*.failed; do
    [ ! -e "$told" ] || failed="$failed $(cat "$told")"
done
tools/web.sh test || failed="$failed web"
as_user cargo test --quiet --workspace --doc || failed="$failed doctests"
[ -z "$failed" ] || {
    say "" "FAILED:$failed"
    exit 1
}
