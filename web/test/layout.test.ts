import assert from "node:assert/strict";
import test from "node:test";
import { CLIENTS_A_PAGE, fitted, layout, type Lane } from "../src/layout";
import type { Story } from "../src/story";

function story(
  nodes: number,
  lanes: number,
  bands: { rule: string; from: number; to: number }[],
): Story {
  return {
    run: { length: 60e6 },
    phases: [{ name: "faults", from: 0, to: 60e6 }],
    unavailable: [{}],
    elections: [{}],
    moments: [{}],
    alarms: [],
    messages: { at: [1] },
    packets: null,
    bands,
    nodes: Array.from({ length: nodes }, () => ({})),
    lanes: Array.from({ length: lanes }, () => ({})),
  } as unknown as Story;
}

test("no two lanes share a pixel, and all are on the canvas", () => {
  for (const nodes of [0, 1, 3, 7, 40]) {
    const l = layout(story(nodes, 30, [{ rule: "a", from: 0, to: 5 }]), 1000);
    const lanes = [
      l.axis,
      l.phases,
      l.faults,
      l.outages,
      l.elections,
      l.events,
      l.messages,
      l.packets,
      ...l.nodes,
      ...l.clients,
    ].filter((lane): lane is Lane => lane !== null);
    for (let i = 1; i < lanes.length; i++)
      assert.ok(lanes[i].top >= lanes[i - 1].top + lanes[i - 1].height);
    const last = lanes[lanes.length - 1];
    assert.ok(last.top + last.height <= l.height);
    assert.equal(l.nodes.length, nodes);
  }
});

test("a rule has a row of its own, until rules are many or meet themselves", () => {
  const own = layout(
    story(3, 0, [
      { rule: "a", from: 0, to: 1e6 },
      { rule: "b", from: 2e6, to: 3e6 },
      { rule: "a", from: 4e6, to: 5e6 },
    ]),
    1000,
  );
  assert.deepEqual(own.faultRow, [0, 1, 0]);
  const meets = layout(
    story(3, 0, [
      { rule: "a", from: 0, to: 9e6 },
      { rule: "a", from: 1e6, to: 2e6 },
    ]),
    1000,
  );
  assert.notEqual(meets.faultRow[0], meets.faultRow[1]);
  const storm = Array.from({ length: 500 }, (_, i) => ({
    rule: `r${i % 90}`,
    from: i * 1e4,
    to: i * 1e4 + 9e6,
  }));
  assert.ok(
    Math.max(...layout(story(3, 0, storm), 1000).faultRow) < 8,
    "a storm does not fill the screen",
  );
});

test("a thousand clients are shown page by page", () => {
  const l = layout(story(3, 1000, []), 1000, 990);
  assert.equal(l.firstClient, 990);
  assert.equal(l.clients.length, 10);
  assert.equal(layout(story(3, 1000, []), 1000).clients.length, CLIENTS_A_PAGE);
});

test("a text is shortened to its room, or left out where nothing would be said", () => {
  const measure = (text: string) => text.length * 7;
  assert.equal(fitted("leader", 100, measure), "leader");
  const short = fitted("a rule with a long name", 80, measure);
  assert.ok(short.endsWith("…") && measure(short) <= 80, short);
  assert.equal(fitted("a rule with a long name", 12, measure), "");
});
