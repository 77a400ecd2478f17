import assert from "node:assert/strict";
import test from "node:test";
import { lowerBound } from "../src/scan";
import { bucket, Cloud, Latencies, ofBucket, quantile } from "../src/stats";

function dice(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** Calls of ten minutes whose latencies span five decades. */
function calls(n: number) {
  const roll = dice(n);
  const at = Float64Array.from({ length: n }, () => Math.floor(roll() * 600e6)).sort();
  const took = Float64Array.from({ length: n }, () => Math.floor(10 ** (1 + 5 * roll())));
  const kind = Uint8Array.from({ length: n }, () => (roll() < 0.01 ? 2 : roll() < 0.03 ? 1 : 0));
  return { at, took, kind };
}

test("quantiles are by nearest rank", () => {
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.99), 4);
  assert.equal(quantile([7], 0), 7);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

test("a bucket tells a value to a few percent", () => {
  for (const us of [1, 9, 10, 99, 1000, 123_456, 9e8]) {
    assert.ok(Math.abs(ofBucket(bucket(us)) / us - 1) < 0.025, `${us}`);
  }
});

test("percentiles of many agree with sorting them, whatever stretch is asked for", () => {
  const { at, took } = calls(60_000);
  const latencies = new Latencies(at, took, 600e6);
  const roll = dice(9);
  for (let i = 0; i < 40; i++) {
    const from = roll() * 500e6;
    const to = from + roll() * 100e6 * (i % 2 ? 1 : 0.01);
    const inside = took.filter((_, k) => at[k] >= from && at[k] < to).sort();
    const told = latencies.between(from, to, [0.5, 0.99]);
    [0.5, 0.99].forEach((q, k) => {
      if (!inside.length) return assert.equal(told[k], null);
      const exact = quantile(inside, q);
      assert.ok(
        Math.abs((told[k] ?? 0) / exact - 1) < 0.025,
        `${told[k]} for ${exact} of ${inside.length}`,
      );
    });
  }
});

test("edges cover the view, and fall on the histogram's own where bins are wide", () => {
  const { at, took } = calls(1000);
  const latencies = new Latencies(at, took, 600e6);
  for (const [from, to, most] of [
    [0, 600e6, 120],
    [100e6, 100.2e6, 50],
    [17, 400e6, 8],
  ]) {
    const edges = latencies.edges(from, to, most);
    assert.ok(edges[0] <= from && edges[edges.length - 1] >= to);
    assert.ok(edges.length <= most + 3, `${edges.length} for ${most}`);
  }
});

test("a thinned cloud is small, lies within the whole one and keeps what is rare", () => {
  const { at, took, kind } = calls(100_000);
  const cloud = new Cloud(at, took, kind, 600e6);
  const whole = cloud.points(0, 600e6, 600e6 / 1000);
  const shown = whole.last - whole.first;
  assert.ok(shown > 1000 && shown < 100_000, `${shown} points`);
  // Every failed or unknown call has a point of its kind within a cell or two of it.
  const pixel = 600e6 / 1000;
  for (let i = 0; i < at.length; i++) {
    if (kind[i] === 0) continue;
    let near = false;
    for (let k = lowerBound(whole.at, at[i] - 3 * pixel); k < whole.last && !near; k++) {
      if (whole.at[k] > at[i] + 3 * pixel) break;
      near = whole.kind[k] === kind[i] && Math.abs(Math.log10(whole.took[k] / took[i])) < 0.1;
    }
    assert.ok(near, `call ${i} left no point`);
  }
  const near = cloud.points(100e6, 100.1e6, 100);
  const exact = at.filter((t) => t >= 100e6 && t < 100.1e6).length;
  assert.equal(near.last - near.first, exact, "zoomed in, each call is a point");
});
