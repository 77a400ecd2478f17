#!/usr/bin/env python3
"""watched.py RAFTQ OUT RUNS: no alarm on healthy clusters.

Runs tests/scenarios/watched.yaml on each adapter in turn, with a seed of its own each time. A run
that is there already, made by this very program, is not made again, so that an interrupted series
goes on where it was; what each run saw stays in OUT, and is checked again from there at the end.
Exit code 1 where an invariant was reported as violated: look at the trace before you believe it.
"""

import collections
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SCENARIO = "tests/scenarios/watched.yaml"
ADAPTERS = ["embedded", "etcd", "etcd:v3.5", "nats"]


def run(raftq, out, seed):
    """The run with this seed: its exit code, and what it found on the wire."""
    adapter = ADAPTERS[seed % len(ADAPTERS)]
    folder, done = out / f"{seed}", out / f"{seed}.json"
    stamp = f"{os.stat(raftq).st_mtime_ns} {Path(SCENARIO).read_text()}"
    if done.exists():
        former = json.loads(done.read_text())
        if former["stamp"] == stamp:
            return former
    shutil.rmtree(folder, ignore_errors=True)
    command = [raftq, "run", SCENARIO, "--quiet", "--seed", str(seed), "--adapter", adapter]
    ended = subprocess.run(
        [*command, "--out", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    path = folder / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else {}
    wire = summary.get("network", {}).get("wire")
    found = [f for f in summary.get("findings", []) if f["check"] == "invariants"]
    kept = {
        "stamp": stamp,
        "adapter": adapter,
        "code": ended.returncode,
        "wire": wire,
        "found": found,
        "output": ended.stdout,
    }
    # Histories are judged elsewhere; what was seen on the wire is what has to stay.
    for path in folder.glob("history*.jsonl"):
        path.unlink()
    done.write_text(json.dumps(kept))
    return kept


def again(raftq, out, seeds):
    """Checks what was stored once more; the seeds for which it says otherwise."""
    differs = []
    for seed, kept in seeds.items():
        told = subprocess.run(
            [raftq, "check", "--quiet", out / f"{seed}" / "wire.jsonl"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        violated = any(f["verdict"] == "violated" for f in kept["found"])
        if (told.returncode == 1) != violated or told.returncode > 2:
            differs.append(seed)
    return differs


def main():
    raftq, out, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.chdir(Path(__file__).resolve().parent.parent)
    out.mkdir(parents=True, exist_ok=True)
    seeds, alarmed, unjudged = {}, [], []
    seen = collections.defaultdict(collections.Counter)
    for seed in range(1, runs + 1):
        kept = seeds[seed] = run(raftq, out, seed)
        verdicts = [f["verdict"] for f in kept["found"]]
        if "violated" in verdicts:
            alarmed.append(seed)
            print(f"run {seed} on {kept['adapter']}: ALARM\n{kept['output']}", file=sys.stderr)
        elif "holds" not in verdicts:
            unjudged.append(seed)
            print(f"run {seed} on {kept['adapter']}: not judged\n{kept['output']}", file=sys.stderr)
        of = seen[kept["adapter"]]
        of["runs"] += 1
        wire = kept["wire"] or {}
        of["messages"] += (wire.get("coverage") or {}).get("messages", 0)
        of["elections"] += len(wire.get("elections") or [])
        if seed % 20 == 0:
            print(f"{seed} of {runs}: {len(alarmed)} alarms", file=sys.stderr, flush=True)
    for adapter, of in sorted(seen.items()):
        print(f"{adapter:10} {of['runs']} runs, {of['elections']} elections, {of['messages']} messages")
    differs = again(raftq, out, seeds)
    print(f"{len(alarmed)} alarms in {runs} runs, {len(unjudged)} not judged")
    print(f"checked again from what was stored: {len(differs)} otherwise {differs or ''}")
    return 1 if alarmed or unjudged or differs else 0


if __name__ == "__main__":
    sys.exit(main())
