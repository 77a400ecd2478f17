#!/bin/sh
# bugs.sh RAFTQ OUT WITNESS [BUG...]: each deliberate bug of the embedded cluster in the scenario
# that provokes it, three runs at most with seeds of their own. Prints a table as it goes: bug,
# scenario, caught by which check, in which run. WITNESS says what has to prove the bug: the
# clients' histories (`clients`), or what nodes said to each other and nothing else (`wire`). A
# node that died, or a cluster that did not recover, is no catch. Fails if one is not caught, or if
# a scenario accuses a healthy cluster or says nothing of it.
set -eu
raftq=$1 out=$2 witness=$3
shift 3
cd "$(dirname "$0")/.."
case $witness in
clients) list=tests/bugs.tsv others='processes|recovers|available|invariants' ;;
wire) list=tests/bugs-wire.tsv others='processes' ;;
*) echo "bugs.sh: the witness is clients or wire, not $witness" >&2 && exit 2 ;;
esac
caught=0 missed=0 accused=0
mkdir -p "$out"

row() {
    printf '%-22s  %-14s  %-32s  %s\n' "$@"
}

# verdict NAME SCENARIO SEED ARGS...: the exit code in $code, the checks that were violated in
# $checks, but for those that a broken node explains as well as a broken promise.
verdict() {
    folder=$out/$1-$(basename "$2" .yaml)-$3
    scenario=$2 seed=$3
    shift 3
    code=0
    rm -rf "$folder"
    "$raftq" run "$scenario" --quiet --seed "$seed" --out "$folder" "$@" \
        >"$folder.txt" 2>&1 || code=$?
    checks=$(sed -n 's/^  violated  *\(.\{12\}\).*/\1/p' "$folder.txt" | sed 's/ *$//' |
        grep -vxE "$others" | sort -u | paste -sd, -)
}

row bug scenario 'caught by' run
while IFS='	' read -r bug scenario; do
    case " $* " in "  " | *" $bug "*) ;; *) continue ;; esac
    for seed in 1 2 3; do
        verdict "$bug" "$scenario" "$seed" "--node-arg=--bug=$bug" </dev/null
        [ "$code" != 1 ] || [ -z "$checks" ] || break
        checks=
    done
    [ -n "$checks" ] && caught=$((caught + 1)) || missed=$((missed + 1))
    row "$bug" "$(basename "$scenario" .yaml)" "${checks:-NOT CAUGHT}" "$seed"
done <"$list"
[ $# -gt 0 ] || for scenario in $(cut -f2 "$list" | sort -u); do
    verdict healthy "$scenario" 1
    case $code in
    0) said='nothing to catch' ;;
    1) said="ACCUSED: $checks" accused=$((accused + 1)) ;;
    *) said="NOT JUDGED (exit code $code)" accused=$((accused + 1)) ;;
    esac
    row '(healthy)' "$(basename "$scenario" .yaml)" "$said" 1
done
echo "$caught caught, $missed not caught"
[ "$missed" = 0 ] && [ "$accused" = 0 ]
