import assert from "node:assert/strict";
import test from "node:test";
import { View } from "../src/view";

test("whatever is done, the view is a part of the run", () => {
  const view = new View(41e6);
  const within = () =>
    assert.ok(view.from >= 0 && view.to <= view.length && view.span >= view.least * 0.999);
  for (const act of [
    () => view.zoom(0.5, 0),
    () => view.pan(-3),
    () => view.zoom(1e-9, 40e6),
    () => view.pan(1e6),
    () => view.zoom(1e9),
    () => view.show(-5, 60e6),
    () => view.around(41e6, 41e6),
    () => view.reveal(0, 0),
  ]) {
    act();
    within();
  }
});

test("zooming keeps what is under the pointer where it is", () => {
  const view = new View(100e6);
  view.show(20e6, 60e6);
  view.zoom(0.5, 30e6);
  assert.equal((30e6 - view.from) / view.span, 0.25);
});

test("listeners hear of changes and of nothing else", () => {
  const view = new View(100e6);
  let heard = 0;
  view.listen(() => heard++);
  view.all();
  assert.equal(heard, 0);
  view.zoom(0.5);
  view.zoom(1);
  assert.equal(heard, 1);
});

test("a moment is shown with little around it, and what is in sight is left there", () => {
  const view = new View(100e6);
  view.around(50e6, 50e6);
  assert.ok(view.span <= 100_000 && view.from < 50e6 && view.to > 50e6);
  const before = [view.from, view.to];
  view.reveal(50e6, 50e6);
  assert.deepEqual([view.from, view.to], before);
  view.reveal(80e6, 80e6);
  assert.ok(view.from < 80e6 && view.to > 80e6 && Math.abs(view.span - 100_000) < 1);
});
