import assert from "node:assert/strict";
import test from "node:test";
import { clock, count, digits, duration, plural, step, ticks } from "../src/time";

test("durations have three figures and a unit that fits", () => {
  const told: [number, string][] = [
    [0, "0 µs"],
    [7.4, "7 µs"],
    [999, "999 µs"],
    [999.7, "1.00 ms"],
    [1234, "1.23 ms"],
    [41_600, "41.6 ms"],
    [440_000, "440 ms"],
    [999_600, "1.00 s"],
    [1_300_000, "1.30 s"],
    [119e6, "119 s"],
    [125e6, "2 min 5 s"],
    [600e6, "10 min"],
    [3 * 3600e6, "3 h"],
    [-1500, "−1.50 ms"],
  ];
  for (const [us, text] of told) assert.equal(duration(us), text);
});

test("a clock tells apart what is a step apart", () => {
  assert.equal(clock(24_900_000, 100), "24.9000 s");
  assert.equal(clock(5e6, 5e6), "5 s");
  assert.notEqual(clock(1_000_001, 1), clock(1_000_002, 1));
  assert.equal(digits(1), 6);
});

test("ticks are round, inside, and not too many", () => {
  for (const [from, to] of [
    [0, 41e6],
    [9_935_480, 9_964_520],
    [7, 57],
    [0, 7.2e9],
  ]) {
    const { at, step: distance } = ticks(from, to, 11);
    assert.ok(at.length >= 3 && at.length <= 12, `${at.length} from ${from} to ${to}`);
    assert.ok(
      at.every(
        (t) => t >= from && t <= to && Math.abs(t / distance - Math.round(t / distance)) < 1e-6,
      ),
    );
  }
  assert.equal(step(3), 5);
  assert.equal(step(5), 5);
  assert.equal(step(0.01), 1, "no tick between microseconds");
});

test("counts are set in thousands", () => {
  assert.equal(count(1_049_389), "1\u202f049\u202f389");
  assert.equal(plural(1, "call"), "1 call");
  assert.equal(plural(0, "call"), "0 calls");
});
