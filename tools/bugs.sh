#!/bin/sh
# bugs.sh RAFTQ OUT [BUG...]: each deliberate bug of the embedded cluster in the scenario that
# provokes it, three runs at most with seeds of their own. Prints a table: bug, scenario, caught
# by which check, in which run. Fails if one is not caught, or if a scenario accuses a healthy
# cluster.
set -eu
raftq=$1 out=$2
shift 2
cd "$(dirname "$0")/.."
list=tests/bugs.tsv
failed=0
mkdir -p "$out"

# verdict NAME SCENARIO SEED ARGS...: the exit code in $code, the checks that caught it in $checks.
verdict() {
    name=$1 scenario=$2 seed=$3
    shift 3
    code=0
    rm -rf "$out/$name-$seed"
    "$raftq" run "$scenario" --quiet --seed "$seed" --out "$out/$name-$seed" "$@" \
        >"$out/$name-$seed.txt" 2>&1 || code=$?
    checks=$(sed -n 's/^  violated  *\(.\{12\}\).*/\1/p' "$out/$name-$seed.txt" |
        sed 's/ *$//' | sort -u | paste -sd, -)
}

printf '%-22s %-36s %-34s %s\n' bug scenario 'caught by' run
while IFS='	' read -r bug scenario; do
    case " $* " in "  " | *" $bug "*) ;; *) continue ;; esac
    caught=no
    for seed in 1 2 3; do
        verdict "$bug" "$scenario" "$seed" "--node-arg=--bug=$bug"
        if [ "$code" = 1 ]; then
            caught=$checks
            break
        fi
    done
    [ "$caught" != no ] || failed=1
    printf '%-22s %-36s %-34s %s\n' "$bug" "${scenario#tests/scenarios/}" "$caught" "$seed"
done <"$list"
[ $# -gt 0 ] || for scenario in $(cut -f2 "$list" | sort -u); do
    verdict healthy "$scenario" 1
    [ "$code" = 0 ] || failed=1
    [ "$code" = 0 ] && said='nothing to catch' || said="ACCUSED ($code): $checks"
    printf '%-22s %-36s %-34s %s\n' '(healthy)' "${scenario#tests/scenarios/}" "$said" 1
done
exit "$failed"
