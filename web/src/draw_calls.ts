// A lane per client. Outcomes differ by place and shape as well as by colour: answered calls are
// bars on the line, failed ones hollow and hanging below it, unknown ones open and standing above.

import { ofCall, type Item } from "./items";
import type { Lane } from "./layout";
import type { ClientLane, Strip } from "./model";
import type { Pen } from "./pen";
import { merged } from "./scan";
import { plural } from "./time";

const WIDE = 2.5;

export function calls(pen: Pen): void {
  pen.l.clients.forEach((lane, i) => {
    const client = pen.m.clients[pen.l.firstClient + i];
    const y = lane.top + lane.height / 2;
    pen.line(pen.p.faint, pen.l.left, y + 0.5, pen.l.left + pen.plotWidth, y + 0.5);
    strip(pen, lane, client, client.ok, answered);
    strip(pen, lane, client, client.failed, failed);
    strip(pen, lane, client, client.unknown, unknown);
    blamed(pen, lane, client);
  });
}

type Draw = (pen: Pen, y: number, high: number, x0: number, x1: number, many: boolean) => void;

function strip(pen: Pen, lane: Lane, client: ClientLane, calls: Strip, draw: Draw): void {
  const { view, pixel } = pen;
  const y = lane.top + lane.height / 2;
  const high = Math.min(9, lane.height * 0.42);
  merged(calls.begin, calls.until, view.from, view.to, pixel, WIDE, (first, last, from, to) => {
    const at = pen.stretch(from, to);
    if (!at) return;
    draw(pen, y, high, at[0], at[1], last > first);
    pen.hit(at[0], lane.top, at[1], lane.top + lane.height, () =>
      last > first ? several(pen, client, calls, first, last) : ofCall(pen.m, calls.index[first]));
  });
}

function several(pen: Pen, client: ClientLane, calls: Strip, first: number, last: number): Item {
  const one = ofCall(pen.m, calls.index[first]);
  return {
    ...one, to: Math.max(calls.until[last], one.to),
    title: `${client.name}: ${plural(last - first + 1, "call")}`,
    lines: [one.lines[1].split(",")[0], "zoom in to tell them apart"],
  };
}

const answered: Draw = (pen, y, high, x0, x1, many) => {
  const w = x1 - x0;
  if (many) pen.c.globalAlpha = 0.6;
  pen.fill(pen.p.ok, x0, y - high / 2, !many && w > 3 ? w - 1 : w, high);
  pen.c.globalAlpha = 1;
};

const failed: Draw = (pen, y, high, x0, x1) => {
  const w = Math.max(2, x1 - x0);
  pen.fill(pen.p.paper, x0, y, w, high);
  pen.box(pen.p.failed, x0, y, w, high);
  if (w < 10) return;
  pen.line(pen.p.failed, x1 - high, y, x1 - 1, y + high);
  pen.line(pen.p.failed, x1 - high, y + high, x1 - 1, y);
};

const unknown: Draw = (pen, y, high, x0, x1) => {
  const w = Math.max(2, x1 - x0);
  const top = y - high - 0.5;
  pen.fill(pen.p.unknown, x0, top, Math.min(2, w), high + 1);
  if (w < 4) return;
  // Open at its end: nobody knows when, or whether, it took effect.
  pen.line(pen.p.unknown, x0, top + 0.5, x1, top + 0.5, [4, 3]);
  pen.line(pen.p.unknown, x0, y - 0.5, x1, y - 0.5, [4, 3]);
  if (w < 16) return;
  pen.font(Math.min(10, high + 1), 700);
  pen.c.textBaseline = "middle";
  pen.text(pen.p.unknown, "?", x0 + 5, y - high / 2, 12);
};

/** Those that a violation is about are above everything, however many others there are. */
function blamed(pen: Pen, lane: Lane, client: ClientLane): void {
  let drawn = -10;
  for (const call of client.blamed) {
    const at = pen.stretch(pen.m.begin[call], pen.m.until[call]);
    if (!at) continue;
    const item = pen.violations.get(call);
    if (at[0] < drawn + 2 && item !== pen.focused) continue;
    drawn = at[0];
    const { c, p } = pen;
    c.lineWidth = 2;
    c.strokeStyle = p.violated;
    c.strokeRect(at[0] - 1, lane.top + 2, Math.max(4, at[1] - at[0] + 2), lane.height - 4);
    mark(pen, (at[0] + Math.min(at[1], at[0] + 8)) / 2, lane.top + 2);
    pen.hit(at[0] - 3, lane.top, Math.max(at[1], at[0] + 5), lane.top + lane.height,
      item ?? (() => ofCall(pen.m, call)));
  }
}

/** A small triangle that points down at it. */
function mark(pen: Pen, x: number, y: number): void {
  const { c, p } = pen;
  c.beginPath();
  c.moveTo(x, y + 3);
  c.lineTo(x - 4, y - 4);
  c.lineTo(x + 4, y - 4);
  c.closePath();
  c.fillStyle = p.violated;
  c.fill();
  pen.primitives += 2;
}
