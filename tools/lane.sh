#!/bin/sh
# lane.sh SCRATCH WHO PACKAGE PROGRAM: one test program beside others; test.sh calls it. Root's, a
# live one, is in a sandbox. What it prints comes out whole, and its failure is a file in SCRATCH.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
scratch=$1 who=$2 package=$3 program=$4 name=$(basename "$4")
case $who in
root) sandbox=$PWD/tools/sandbox.sh args=--test-threads=1 ;;
*) sandbox= args='--skip live_' ;;
esac
code=0
# Word splitting is meant: none or one, and one or two.
# shellcheck disable=SC2086
(cd "$package" && "as_$who" $sandbox env "CARGO_MANIFEST_DIR=$package" "$program" $args) \
    >"$scratch/$name.out" 2>&1 || code=$?
# Not by the exit code: others shall have their say, and xargs stops where it cannot start one.
[ "$code" = 0 ] || echo "$program" >"$scratch/$name.failed"
flock "$scratch/built" sh -c '
    printf "\n== %s (as %s, in a lane)\n" "$1" "$2"
    cat "$3"' - "$program" "$who" "$scratch/$name.out"
