#!/bin/sh
# lane.sh FOLDER PACKAGE PROGRAM: one live test program in a sandbox, beside others; test.sh calls it.
# What it prints comes out whole, and its failure is a file in FOLDER.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
folder=$1 package=$2 program=$3 name=$(basename "$3")
code=0
(cd "$package" && as_root "$OLDPWD/tools/sandbox.sh" \
    env "CARGO_MANIFEST_DIR=$package" "$program" --test-threads=1) >"$folder/$name.out" 2>&1 || code=$?
# Not by the exit code: others shall have their say, and xargs stops where it cannot start one.
[ "$code" = 0 ] || echo "$program" >"$folder/$name.failed"
flock "$folder/built" sh -c '
    printf "\n== %s (as root, in a sandbox)\n" "$1"
    cat "$2"' - "$program" "$folder/$name.out"
