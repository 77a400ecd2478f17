#!/bin/sh
# run.sh root|user COMMAND...: runs it as the one or the other, see lib.sh.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
who=$1
shift
"as_$who" "$@"
