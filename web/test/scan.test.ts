import assert from "node:assert/strict";
import test from "node:test";
import { counted, firstWhere, lowerBound, merged, rows, upperBound } from "../src/scan";

/** Numbers that are the same in every run. */
function dice(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

test("bounds agree with a walk", () => {
  const roll = dice(1);
  const column = Array.from({ length: 200 }, () => Math.floor(roll() * 50)).sort((a, b) => a - b);
  for (let value = -1; value <= 51; value++) {
    const walk = (past: (v: number) => boolean) => {
      const at = column.findIndex(past);
      return at < 0 ? column.length : at;
    };
    assert.equal(
      lowerBound(column, value),
      walk((v) => v >= value),
    );
    assert.equal(
      upperBound(column, value),
      walk((v) => v > value),
    );
    assert.equal(
      firstWhere(column, (v) => v > value),
      walk((v) => v > value),
    );
  }
  assert.equal(lowerBound([], 1), 0);
});

test("merging loses no item, keeps wide ones apart and stays below the pixels", () => {
  const roll = dice(2);
  for (const pixel of [1, 10, 1000, 100000]) {
    const begin: number[] = [];
    const until: number[] = [];
    for (let at = 0, i = 0; i < 20000; i++) {
      at += roll() * 80;
      begin.push(at);
      at += roll() < 0.01 ? 3000 * roll() : 20 * roll();
      until.push(at);
    }
    const length = until[until.length - 1];
    const [from, to] = [length * 0.2, length * 0.7];
    const seen = new Uint8Array(begin.length);
    let emitted = 0;
    merged(begin, until, from, to, pixel, 2.5, (first, last, x0, x1) => {
      emitted++;
      for (let i = first; i <= last; i++) seen[i]++;
      if (until[first] - begin[first] >= 2.5 * pixel) assert.equal(first, last, "a wide one alone");
      assert.ok(x0 <= begin[first] && x1 >= until[last], "a bar covers its items");
    });
    for (let i = 0; i < begin.length; i++) {
      const inView = until[i] >= from && begin[i] <= to;
      // What shares the last pixel may be drawn with it.
      if (begin[i] > to && begin[i] <= to + pixel * 2) continue;
      assert.equal(seen[i], inView ? 1 : 0, `item ${i} at ${pixel} us a pixel`);
    }
    assert.ok(emitted <= 2 * ((to - from) / pixel) + 2, `${emitted} bars`);
  }
});

test("an item that began long before the view is still in it", () => {
  const spans: [number, number][] = [];
  merged([0, 10, 20], [1000, 15, 25], 500, 600, 1, 2.5, (first, last) => spans.push([first, last]));
  assert.deepEqual(spans[0], [0, 0]);
});

test("bins add up to what is in them", () => {
  const roll = dice(3);
  const column = Array.from({ length: 5000 }, () => roll() * 1000).sort((a, b) => a - b);
  const bins = counted(column, 100, 900, 37);
  const inside = column.filter((v) => v >= 100 && v < 900).length;
  assert.equal(
    bins.reduce((a, b) => a + b, 0),
    inside,
  );
});

test("rows hold no two at once, and are no more than needed", () => {
  const spans = [
    { from: 0, to: 10 },
    { from: 2, to: 4 },
    { from: 5, to: 7 },
    { from: 10, to: 12 },
  ];
  assert.deepEqual(rows(spans), [0, 1, 1, 0]);
  assert.deepEqual(rows(spans, 2), [0, 1, 2, 1], "and keep a distance");
});
