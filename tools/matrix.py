#!/usr/bin/env python3
"""matrix.py RAFTQ OUT TABLE SCENARIO...: every shipped adapter in every scenario.

Writes a table in Markdown, and says on stderr how it goes. Each run's folder stays under OUT; a
run that is there already, made by this very program, is not made again, so that an interrupted
matrix goes on where it was. Exit code 1 where a verdict is not the expected one.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

# What each column promises of reads; the checks judge promises.
ADAPTERS = ["embedded", "etcd", "etcd:v3.5", "etcd:serializable", "nats"]

# Scenario, adapter, the exit code that it has to have, and what that shows.
PROOFS = [
    (
        "tests/scenarios/bugs/lonely.yaml",
        "etcd:serializable-as-linearizable",
        1,
        "etcd's serializable reads, passed off as linearizable, with its leader cut off",
    ),
    (
        "tests/scenarios/bugs/lonely.yaml",
        "etcd",
        0,
        "etcd's linearizable reads in the same scenario",
    ),
]


class Cell:
    """One run: its exit code, its summary if there is one, and what it printed."""

    def __init__(self, code, summary, output):
        self.code, self.summary, self.output = code, summary, output

    def lacks(self):
        """What the adapter does not offer, where that is why nothing ran."""
        told = r"which the adapter \S+ does not offer|no variant is called|it has no variants"
        return self.code == 4 and re.search(told, self.output) is not None

    def is_right(self):
        return self.code == 0 or self.lacks()

    def text(self):
        if self.lacks():
            return "does not apply"
        if self.code == 0:
            return f"holds{self.outage()}"
        if self.code == 1:
            found = self.summary["findings"]
            checks = sorted({f["check"] for f in found if f["verdict"] == "violated"})
            return f"**violated**: {', '.join(checks)}"
        word = {2: "undecided", 3: "a rule never matched"}.get(self.code)
        return f"**{word or f'failed ({self.code})'}**"

    def outage(self):
        """The longest time without a write, where it could be felt."""
        windows = [w["to"] - w["from"] for w in self.summary["unavailable"]]
        return f", {max(windows) / 1e9:.1f} s" if windows else ""


def run(raftq, out, scenario, adapter):
    """Runs it, unless this program has done so already."""
    name = f"{Path(scenario).stem}-{adapter.replace(':', '-')}"
    folder, done = out / name, out / f"{name}.json"
    stamp = f"{os.stat(raftq).st_mtime_ns} {Path(scenario).read_text()}"
    if done.exists():
        former = json.loads(done.read_text())
        if former["stamp"] == stamp:
            return Cell(former["code"], former["summary"], former["output"])
    shutil.rmtree(folder, ignore_errors=True)
    command = [raftq, "run", scenario, "--quiet", "--seed", "1"]
    ended = subprocess.run(
        [*command, "--adapter", adapter, "--out", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    path = folder / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else None
    cell = Cell(ended.returncode, summary, ended.stdout)
    kept = {"stamp": stamp, "code": cell.code, "summary": summary, "output": cell.output}
    done.write_text(json.dumps(kept))
    return cell


def reads(cells):
    """What a column's reads promise, by any of its runs."""
    said = (cell.summary["promises"].get("read") for cell in cells if cell.summary)
    return next(said, "-")


def table(names, columns):
    """The rows, as Markdown."""
    head = "| scenario | " + " | ".join(ADAPTERS) + " |"
    rule = "| --- |" + " --- |" * len(ADAPTERS)
    promises = "| *reads promise* | " + " | ".join(f"*{reads(columns[a])}*" for a in ADAPTERS) + " |"
    rows = [
        f"| {name} | " + " | ".join(columns[a][i].text() for a in ADAPTERS) + " |"
        for i, name in enumerate(names)
    ]
    return "\n".join([head, rule, promises, *rows])


def main():
    raftq, out, path = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    names = sys.argv[4:]
    os.chdir(Path(__file__).resolve().parent.parent)
    out.mkdir(parents=True, exist_ok=True)
    wrong = []
    columns = {adapter: [] for adapter in ADAPTERS}

    def told(what, cell, is_right):
        print(f"{what}: {cell.text()}", file=sys.stderr, flush=True)
        if not is_right:
            wrong.append(what)

    for name in names:
        for adapter in ADAPTERS:
            cell = run(raftq, out, f"tests/scenarios/{name}.yaml", adapter)
            columns[adapter].append(cell)
            told(f"{name} on {adapter}", cell, cell.is_right())
    proofs = []
    for scenario, adapter, code, shows in PROOFS:
        cell = run(raftq, out, scenario, adapter)
        told(shows, cell, cell.code == code)
        proofs.append(f"- {shows}: {cell.text()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "# Every adapter in every scenario\n\n"
        f"Measured by `make test-all` on {time.strftime('%Y-%m-%d')}, Linux {platform.release()}, "
        f"{os.cpu_count()} cores, seed 1. A time is the longest in which no write succeeded on any "
        "node.\nChecks judge what a column's reads promise: a stale read is no violation where "
        "stale reads are what the system promises.\n\n"
        f"{table(names, columns)}\n\nThat the checks bite:\n\n" + "\n".join(proofs) + "\n"
    )
    runs = len(names) * len(ADAPTERS) + len(PROOFS)
    print(f"{runs - len(wrong)} as expected, {len(wrong)} not; the table is {path}", file=sys.stderr)
    for what in wrong:
        print(f"  not as expected: {what}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
