#!/bin/sh
# pictures.sh BINARIES: makes the README's pictures from a real run: its report as a browser shows
# it, and `raftq watch` in the middle of it. Root; needs `make setup-dev`.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
bin=$1
folder=$(mktemp -d -t raftq-XXXXXX)
run=
cleanup() {
    [ -z "$run" ] || kill -INT "$run" 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
command -v chromium >/dev/null || die "pictures: there is no chromium; run \`make setup-dev\`"
mkdir -p docs/pictures

"$bin/raftq" run tests/scenarios/demo.yaml --seed 7 --trace --quiet --out "$folder/demo" \
    >"$folder/told" &
run=$!
# Its fault phase begins when it can be asked.
tries=0
until "$bin/raftq" rules list 2>/dev/null | grep -q 'cut the leader off.*active'; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || die "pictures: the run never cut its leader off"
    kill -0 "$run" 2>/dev/null || die "pictures: the run ended early" "$(cat "$folder/told")"
    sleep 0.1
done
"$bin/raftq-picture" --out docs/pictures/watch.svg --size 110x34 --title 'raftq watch' \
    --do 'wait leads in term' --do 'gone - packets/s' --do 'wait us min ' -- "$bin/raftq" watch
wait "$run" || true
run=
[ -s "$folder/demo/report.html" ] || die "pictures: there is no report" "$(cat "$folder/told")"
# The page draws when it is loaded; the browser's own clock is let run until then.
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$folder/browser" \
    --window-size=1280,1500 --virtual-time-budget=15000 \
    --screenshot="$folder/report.png" "file://$folder/demo/report.html" 2>/dev/null
mv "$folder/report.png" docs/pictures/report.png
say "pictures: docs/pictures/report.png and docs/pictures/watch.svg"
