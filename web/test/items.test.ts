import assert from "node:assert/strict";
import test from "node:test";
import { fates, ofMessage } from "../src/items";
import { traffic, type Model } from "../src/model";

/** Messages from n1 to n2, of these fates and delays. */
function model(messages: [number, number][], traced = false): Model {
  const columns = {
    at: messages.map((_, i) => 1000 * i),
    from: messages.map(() => 0),
    to: messages.map(() => 1),
    fate: messages.map(([fate]) => fate),
    delay: messages.map(([, delay]) => delay),
  };
  const story = {
    nodes: [{ name: "n1" }, { name: "n2" }],
    kinds: ["append_entries"],
    messages: { ...columns, kind: messages.map(() => 0), term: messages.map(() => 2) },
  };
  const all = traffic(columns);
  return { story, messages: all, packets: traced ? all : null } as unknown as Model;
}

test("a message passed only where that is known", () => {
  const all: [number, number][] = [
    [0, -1],
    [0, 0],
    [1, 20_000],
    [1, -1],
    [2, -1],
  ];
  const m = model(all);
  const told = all.map((_, i) => ofMessage(m, i).lines);
  assert.deepEqual(told[0].slice(0, 2), ["n1 → n2", "term 2"]);
  assert.deepEqual(
    told.map((lines) => lines[2]),
    [
      "not known what became of it (run with --trace)",
      "passed",
      "delayed by 20.0 ms",
      "delayed, not known for how long",
      "dropped",
    ],
  );
  assert.deepEqual(Array.from(m.messages.untold), [0]);
});

test("whoever has a trace is not told to make one", () => {
  assert.equal(ofMessage(model([[0, -1]], true), 0).lines[2], "not known what became of it");
});

test("counts of what was stopped stand only where something is known", () => {
  const m = model([[0, -1]]);
  assert.equal(fates(m, 7, 0, 0, 7), "not known what became of them (run with --trace)");
  assert.equal(fates(m, 7, 2, 1, 0), "2 dropped or reset, 1 delayed");
  assert.equal(
    fates(m, 7, 2, 1, 3),
    "2 dropped or reset, 1 delayed; of 3 it is not known what became of them (run with --trace)",
  );
  assert.equal(fates(m, 0, 0, 0, 0), "0 dropped or reset, 0 delayed");
});
