#!/bin/sh
# test.sh all|rootless: builds every test as the user, then runs each for whom it is meant.
#
# A test that needs root is in a file tests/live_*.rs, or is a unit test with live_ in its
# name. The other tests run as the user, who built them: root would leave files of its own in
# the tree. Live tests time real clusters, so they run one at a time.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
which=$1
tree=$PWD
failed=

# run WHO FOLDER PROGRAM ARGS...: a failure is remembered, so that all tests have their say.
run() {
    who=$1 folder=$2 program=$3
    shift 3
    say "" "== $program $* (as $who, in $folder)"
    cd "$tree/$folder"
    "as_$who" env "CARGO_MANIFEST_DIR=$PWD" "$program" "$@" || failed="$failed $program"
    cd "$tree"
}

# The helpers that live tests start stand beside the test programs.
as_user cargo build --workspace --bins
for package in raftq:. raftq-harness:harness; do
    built=$(as_user cargo test --no-run -p "${package%%:*}" 2>&1) || die "$built"
    # cargo says one line a program: Executable <source> (<path>)
    programs=$(printf '%s\n' "$built" | sed -n 's/^ *Executable \(.*\) (\(.*\))$/\1|\2/p')
    [ -n "$programs" ] || die "test: cargo named no test programs:" "$built"
    old=$IFS
    IFS='
'
    for line in $programs; do
        IFS=$old
        source=${line%%|*} program=$(realpath "${line##*|}")
        case "$source" in
        tests/live_*)
            [ "$which" = rootless ] || run root "${package##*:}" "$program" --test-threads=1
            ;;
        *)
            run user "${package##*:}" "$program" --skip live_
            if [ "$which" = all ] && as_user "$program" --list live_ | grep -q ': test$'; then
                run root "${package##*:}" "$program" --test-threads=1 live_
            fi
            ;;
        esac
    done
done
as_user cargo test --quiet --workspace --doc || failed="$failed doctests"
[ -z "$failed" ] || { say "" "FAILED:$failed"; exit 1; }
