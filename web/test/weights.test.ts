import assert from "node:assert/strict";
import test from "node:test";
import { callsInView, callsOf, sample } from "../src/counts";
import { model, OK, type Model } from "../src/model";
import { counted, lowerBound, Weighed } from "../src/scan";
import { Latencies, quantile, quantileWeighed } from "../src/stats";
import type { Story } from "../src/story";

const S = 1e6;

/** A run of 60 s with a call each millisecond, of which each fourth is kept, but all of 20 s to
 *  25 s, around a fault. Calls of odd milliseconds take ten times as long. */
function story(weighed: boolean): Story {
  const begin: number[] = [];
  const weight: number[] = [];
  for (let i = 0; i < 60_000; i++) {
    const near = i >= 20_000 && i < 25_000;
    if (!near && i % 4 !== 3) continue;
    begin.push(i * 1000);
    weight.push(near ? 1 : 4);
  }
  const column = (value: number) => begin.map(() => value);
  return {
    run: { length: 60 * S },
    calls: {
      begin,
      end: begin.map((at) => at + ((at / 1000) % 2 ? 5000 : 500)),
      lane: column(0),
      f: column(0),
      key: column(-1),
      outcome: column(OK),
      node: column(-1),
      text: column(0),
      weight: weighed ? weight : [],
    },
    lanes: [{ name: "client 1", load: 0 }],
    blamed: [],
    left_out: [],
    messages: { at: [], from: [], to: [], fate: [], delay: [], kind: [], term: [] },
    packets: null,
  } as unknown as Story;
}

const rate = (m: Model, from: number, to: number) =>
  (m.done[OK].between(from, to) * 1e6) / (to - from);

test("a stretch of which every call is kept has no higher rate than the rest", () => {
  const m = model(story(true));
  for (const from of [0, 10 * S, 21 * S, 22 * S, 40 * S])
    assert.ok(Math.abs(rate(m, from, from + 2 * S) / 1000 - 1) < 0.01, `${from}`);
  // Without weights it would.
  const bare = model(story(false));
  assert.ok(rate(bare, 21 * S, 23 * S) > 3 * rate(bare, 40 * S, 42 * S));
  const hill = m.done[OK].counted(0, 60 * S, 60);
  assert.ok(hill.slice(1, -1).every((n) => Math.abs(n / 1000 - 1) < 0.02), `${hill}`);
});

test("percentiles are of all calls and not of those kept", () => {
  // Those kept of the first half stand for 5,000 slow calls, and of the 5,000 of the second half
  // 2,500 are slow: a quarter is fast. The same around the edge, in few calls.
  const m = model(story(true));
  for (const [from, to] of [
    [15 * S, 25 * S],
    [19.98 * S, 20.02 * S],
  ]) {
    const told = m.latencies.between(from, to, [0.2, 0.3]);
    assert.ok(Math.abs((told[0] ?? 0) / 500 - 1) < 0.025, `${told} from ${from}`);
    assert.ok(Math.abs((told[1] ?? 0) / 5000 - 1) < 0.025, `${told} from ${from}`);
    // Of those kept alone, four of ten are fast.
    const bare = model(story(false)).latencies.between(from, to, [0.3]);
    assert.ok(Math.abs((bare[0] ?? 0) / 500 - 1) < 0.025, `${bare} from ${from}`);
  }
});

test("a weight is as good as so many values", () => {
  let state = 7;
  const roll = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const n = 3000;
  const at = Float64Array.from({ length: n }, () => Math.floor(roll() * 600e6)).sort();
  const took = Float64Array.from({ length: n }, () => Math.floor(10 ** (1 + 5 * roll())));
  const weight = Float64Array.from({ length: n }, () => 2 ** Math.floor(roll() * 5));
  const places = Array.from(at.keys()).flatMap((i) => Array<number>(weight[i]).fill(i));
  const all = (column: Float64Array) => Float64Array.from(places, (i) => column[i]);
  const [weighed, each] = [new Weighed(at, weight), all(at)];
  const latencies = new Latencies(at, took, 600e6, weight);
  for (const [from, to] of [
    [0, 600e6],
    [17e6, 300e6],
    [100e6, 101e6],
  ]) {
    const n = lowerBound(each, to) - lowerBound(each, from);
    assert.equal(weighed.between(from, to), n);
    assert.deepEqual(
      Array.from(weighed.counted(from, to, 37)),
      Array.from(counted(each, from, to, 37)),
    );
    const inside = all(took).filter((_, i) => each[i] >= from && each[i] < to).sort();
    for (const q of [0.5, 0.9, 0.99]) {
      const [told] = latencies.between(from, to, [q]);
      assert.ok(Math.abs((told ?? 0) / quantile(inside, q) - 1) < 0.025, `${told} at ${from}`);
    }
  }
  for (const q of [0, 0.01, 0.5, 0.99, 1])
    assert.equal(quantileWeighed(took, weight, q), quantile(all(took).sort(), q));
});

test("what is estimated is said to be", () => {
  const m = model(story(true));
  assert.equal(
    callsInView(m, 21 * S, 21.2 * S),
    "In view: about 200 answered, 0 failed, 0 unknown; answers took 500 µs (half), " +
      "5.00 ms (90 %), 5.00 ms (99 %), at most 5.00 ms in the sample; estimated from a sample",
  );
  assert.equal(callsOf(m, [0, 1, 2], 1, 3), "about 8 calls");
  const whole = model(story(false));
  assert.match(callsInView(whole, 21 * S, 21.1 * S), /^In view: 100 answered.*5\.00 ms$/);
  assert.equal(callsOf(whole, [0, 1, 2], 1, 3), "2 calls");
});

test("a count of some messages or packets is said to be a sample", () => {
  const m = { story: { left_out: ["12 packets", "3 moments", "messages of a group"] } };
  assert.equal(sample(m as unknown as Model, "packets"), " (a sample)");
  assert.equal(sample(m as unknown as Model, "messages"), "");
});
