#!/bin/sh
# matrix.sh RAFTQ OUT TABLE SCENARIOS: every shipped adapter in every scenario, as a table in
# Markdown. Fails where a verdict is not the expected one.
set -eu
raftq=$1 out=$2 table=$3 scenarios=$4
cd "$(dirname "$0")/.."
failed=0
mkdir -p "$out" "$(dirname "$table")"

# run NAME SCENARIO ARGS...: the exit code in $code, and a cell of the table in $cell.
run() {
    name=$1 scenario=$2
    shift 2
    code=0
    rm -rf "${out:?}/$name"
    "$raftq" run "$scenario" --quiet --seed 1 --out "$out/$name" "$@" >"$out/$name.txt" 2>&1 ||
        code=$?
    case $code in
    0) cell=holds ;;
    1) cell=$(sed -n 's/^  violated  *\(.\{12\}\).*/\1/p' "$out/$name.txt" |
        sed 's/ *$//' | sort -u | paste -sd, -) && cell="**violated**: $cell" ;;
    2) cell=undecided ;;
    3) cell='a rule never matched' ;;
    4) cell='does not apply' ;;
    *) cell="failed ($code)" ;;
    esac
    printf '%s: %s\n' "$name" "$cell" >&2
}

adapters='embedded etcd etcd:serializable'
{
    printf '# Every adapter in every scenario\n\n'
    printf 'Written by `make test-all`; the date of the last run is that of the commit.\n\n'
    printf '| scenario |'
    for adapter in $adapters; do printf ' %s |' "$adapter"; done
    printf '\n| --- |'
    for adapter in $adapters; do printf ' --- |'; done
    printf '\n'
} >"$table.part"
for scenario in $scenarios; do
    row="| $scenario |"
    for adapter in $adapters; do
        run "$scenario-$(echo "$adapter" | tr : -)" "tests/scenarios/$scenario.yaml" \
            --adapter "$adapter"
        row="$row $cell |"
        # What an adapter does not offer does not apply; anything else has to hold.
        case $code in 0 | 4) ;; *) failed=1 ;; esac
    done
    printf '%s\n' "$row" >>"$table.part"
done
run proof-stale tests/scenarios/bugs/lonely.yaml --adapter etcd:serializable-as-linearizable
[ "$code" = 1 ] || failed=1
proof=$cell
run proof-linearizable tests/scenarios/bugs/lonely.yaml --adapter etcd
[ "$code" = 0 ] || failed=1
{
    printf '\nA proof that the checks bite, with the leader cut off:\n\n'
    printf '%s\n' "- etcd, serializable reads passed off as linearizable: $proof"
    printf '%s\n' "- etcd, linearizable reads: $cell"
} >>"$table.part"
mv "$table.part" "$table"
exit "$failed"
