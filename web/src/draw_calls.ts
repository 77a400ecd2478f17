// A lane per client. Outcomes differ by place and shape as well as by colour: answered calls are
// bars on the line, failed ones hollow and hanging below it, unknown ones open and standing above.

import { ofCall, type Item } from "./items";
import type { Lane } from "./layout";
import type { ClientLane, Strip } from "./model";
import type { Pen } from "./pen";
import { lowerBound, merged } from "./scan";
import { callsOf } from "./counts";

const WIDE = 2.5;

export function calls(pen: Pen): void {
  pen.l.clients.forEach((lane, i) => {
    const client = pen.m.clients[pen.l.firstClient + i];
    const y = lane.top + lane.height / 2;
    pen.line(pen.p.faint, pen.l.left, y + 0.5, pen.l.left + pen.plotWidth, y + 0.5);
    const high = Math.min(9, lane.height * 0.42);
    answered(pen, y, high, client.ok);
    failed(pen, y, high, client.failed);
    unknown(pen, y, high, client.unknown);
    pen.hit(pen.l.left, lane.top, pen.l.left + pen.plotWidth, lane.top + lane.height, (at) =>
      under(pen, client, at),
    );
    blamed(pen, lane, client);
  });
}

type Put = (x0: number, x1: number, many: boolean, begins: boolean) => void;

/** Bars of a strip, in pixels, and whether they begin in view; all of a lane become one path, which
 *  is drawn at once. */
function bars(pen: Pen, calls: Strip, put: Put): void {
  const { view, pixel } = pen;
  merged(calls.begin, calls.until, view.from, view.to, pixel, WIDE, (first, last, from, to) => {
    const at = pen.stretch(from, to);
    if (!at) return;
    put(at[0], at[1], last > first, from >= view.from);
    pen.primitives++;
  });
}

function answered(pen: Pen, y: number, high: number, calls: Strip): void {
  const one = new Path2D();
  const several = new Path2D();
  bars(pen, calls, (x0, x1, many) => {
    const w = x1 - x0;
    (many ? several : one).rect(x0, y - high / 2, !many && w > 3 ? w - 1 : w, high);
  });
  const { c, p } = pen;
  c.fillStyle = p.ok;
  c.fill(one);
  c.globalAlpha = 0.6;
  c.fill(several);
  c.globalAlpha = 1;
}

function failed(pen: Pen, y: number, high: number, calls: Strip): void {
  const boxes = new Path2D();
  const crosses = new Path2D();
  bars(pen, calls, (x0, x1) => {
    const w = Math.max(2, x1 - x0);
    boxes.rect(x0 + 0.5, y + 0.5, w - 1, high - 1);
    if (w < 10) return;
    crosses.moveTo(x1 - high, y);
    crosses.lineTo(x1 - 1, y + high);
    crosses.moveTo(x1 - high, y + high);
    crosses.lineTo(x1 - 1, y);
  });
  const { c, p } = pen;
  c.fillStyle = p.paper;
  c.fill(boxes);
  c.strokeStyle = p.failed;
  c.lineWidth = 1;
  c.stroke(boxes);
  c.stroke(crosses);
}

/** Open at their end: nobody knows when, or whether, they took effect. */
function unknown(pen: Pen, y: number, high: number, calls: Strip): void {
  const posts = new Path2D();
  const rails = new Path2D();
  const marks: number[] = [];
  const top = y - high - 0.5;
  bars(pen, calls, (x0, x1, _, begins) => {
    const w = Math.max(2, x1 - x0);
    if (begins) posts.rect(x0, top, 2, high + 1);
    if (w < 4) return;
    rails.moveTo(x0, top + 0.5);
    rails.lineTo(x1, top + 0.5);
    rails.moveTo(x0, y - 0.5);
    rails.lineTo(x1, y - 0.5);
    if (w >= 16) marks.push(x0 + 5);
  });
  const { c, p } = pen;
  c.fillStyle = c.strokeStyle = p.unknown;
  c.fill(posts);
  c.lineWidth = 1;
  c.setLineDash([4, 3]);
  c.stroke(rails);
  c.setLineDash([]);
  pen.font(Math.min(10, high + 1), 700);
  c.textBaseline = "middle";
  for (const x of marks) pen.text(p.unknown, "?", x, y - high / 2, 12);
}

/** The call at a time, of those that differ most from the rest first. */
function under(pen: Pen, client: ClientLane, at: number): Item | null {
  const near = 2 * pen.pixel;
  for (const calls of [client.unknown, client.failed, client.ok]) {
    const last = lowerBound(calls.begin, at + near) - 1;
    if (last < 0 || calls.until[last] < at - near) continue;
    const first = lowerBound(calls.begin, at - near);
    if (first >= last) return ofCall(pen.m, calls.index[last]);
    const one = ofCall(pen.m, calls.index[first]);
    return {
      ...one,
      to: Math.max(calls.until[last], one.to),
      title: `${client.name}: ${callsOf(pen.m, calls.index, first, last + 1)}`,
      lines: [one.lines[1].split(",")[0], "zoom in to tell them apart"],
    };
  }
  return null;
}

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
    pen.hit(
      at[0] - 3,
      lane.top,
      Math.max(at[1], at[0] + 5),
      lane.top + lane.height,
      item ?? (() => ofCall(pen.m, call)),
    );
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
