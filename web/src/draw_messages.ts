// Messages: how many at each time, and, where there is room for each, an arrow from lane to lane.

import { sample } from "./counts";
import { fates, ofMessage } from "./items";
import type { Lane } from "./layout";
import { DELAYED, DROPPED, RESET, type Traffic } from "./model";
import { glyph, type Pen } from "./pen";
import { counted, lowerBound } from "./scan";
import { bar } from "./draw_nodes";
import { hatch } from "./theme";
import { count, duration } from "./time";

const BIN = 3;
const STUB = 14;

/** How many came at each time; those that were stopped stand out by colour and by hatching. */
export function density(
  pen: Pen,
  lane: Lane | null,
  traffic: Traffic | null,
  what: "messages" | "packets",
): void {
  if (!lane || !traffic) return;
  const { c, p, l, view } = pen;
  const bins = Math.max(1, Math.floor(pen.plotWidth / BIN));
  const all = counted(traffic.at, view.from, view.to, bins);
  const stopped = counted(traffic.stopped, view.from, view.to, bins);
  const delayed = counted(traffic.delayed, view.from, view.to, bins);
  const most = all.reduce((a, b) => Math.max(a, b), 1);
  const room = lane.height - 4;
  // By the square root: a few that were dropped still show beside many that were not.
  const high = (n: number) => (n ? Math.max(1.5, Math.sqrt(n / most) * room) : 0);
  const w = pen.plotWidth / bins;
  const base = lane.top + lane.height - 2;
  const red = hatch(c, p.violated, "/", 4);
  for (let i = 0; i < bins; i++) {
    const x = l.left + i * w;
    if (all[i]) pen.fill(p.line, x, base - high(all[i]), w - 0.5, high(all[i]));
    if (delayed[i]) pen.fill(p.delayed, x, base - high(delayed[i]), w - 0.5, high(delayed[i]));
    if (stopped[i]) pen.fill(p.paper, x, base - high(stopped[i]), w - 0.5, high(stopped[i]));
    if (stopped[i]) pen.fill(red, x, base - high(stopped[i]), w - 0.5, high(stopped[i]));
  }
  pen.line(p.line, l.left, base + 0.5, l.left + pen.plotWidth, base + 0.5);
  const untold = lowerBound(traffic.untold, view.to) - lowerBound(traffic.untold, view.from);
  const bin = view.span / bins;
  pen.hit(l.left, lane.top, l.left + pen.plotWidth, base, () => ({
    kind: "told",
    from: view.from,
    to: view.to,
    place: -1,
    nodes: [],
    title: `${count(sum(all))} ${what} in view${sample(pen.m, what)}`,
    lines: [
      fates(pen.m, sum(all), sum(stopped), sum(delayed), untold),
      `at most ${count(most)} in ${duration(bin)}; height by square root`,
    ],
  }));
}

function sum(counts: Uint32Array): number {
  return counts.reduce((a, b) => a + b, 0);
}

/** How many arrows may be drawn before they are a thicket. */
export function limit(plotWidth: number): number {
  return Math.max(40, Math.floor(plotWidth / 3));
}

/** Which messages are in view, of how many of them the fate is not known, and whether each is
 *  drawn. */
export function inView(pen: Pen): { first: number; last: number; untold: number; drawn: boolean } {
  const { at, untold } = pen.m.messages;
  const first = lowerBound(at, pen.view.from);
  const last = lowerBound(at, pen.view.to, first);
  return {
    first,
    last,
    untold: lowerBound(untold, pen.view.to) - lowerBound(untold, pen.view.from),
    drawn: last - first <= limit(pen.plotWidth),
  };
}

export function arrows(pen: Pen): void {
  const { first, last, drawn } = inView(pen);
  if (!drawn) return;
  const labelled = last - first <= pen.plotWidth / 22;
  const taken: Box[] = [];
  // What was sent before may arrive in view; of those, too, no more than there is room for.
  const { at, delay, longest } = pen.m.messages;
  const before = Math.max(lowerBound(at, pen.view.from - longest), first - limit(pen.plotWidth));
  for (let i = before; i < first; i++) if (at[i] + delay[i] >= pen.view.from) arrow(pen, i, null);
  for (let i = first; i < last; i++) arrow(pen, i, labelled ? taken : null);
}

function arrow(pen: Pen, i: number, taken: Box[] | null): void {
  const { p, l, m } = pen;
  const t = m.messages;
  const from = l.nodes[t.from[i]];
  const to = l.nodes[t.to[i]];
  if (!from || !to || from === to) return;
  const down = to.top > from.top;
  const y0 = down ? bar(from).bottom : bar(from).top;
  const end = down ? bar(to).top : bar(to).bottom;
  const stopped = t.fate[i] === DROPPED || t.fate[i] === RESET;
  // Where nobody knows when, or whether, it arrived, nothing is drawn at the receiver's lane.
  const stub = !stopped && t.delay[i] < 0;
  const x0 = pen.x(t.at[i]);
  const x1 = stopped ? x0 : pen.x(t.at[i] + Math.max(0, t.delay[i]));
  const y1 = y0 + (end - y0) * (stopped ? 0.62 : stub ? STUB / Math.abs(end - y0) : 1);
  const kind = m.story.kinds[m.story.messages.kind[i]] ?? "";
  const colour = stopped
    ? p.violated
    : t.fate[i] === DELAYED
      ? p.delayed
      : kind.includes("vote")
        ? p.vote
        : p.soft;
  pen.c.lineWidth = 1;
  const dash = stopped ? [4, 3] : stub ? [3, 3] : kind.includes("answer") ? [1, 2] : [];
  pen.line(colour, x0, y0, x1, y1, dash);
  if (stopped) glyph(pen, "cross", x1, y1, colour, 5);
  else if (!stub) head(pen, x0, y0, x1, y1, colour);
  if (taken) name(pen, kind, x0, y0, down, colour, taken, x1 - x0 > 8);
  const near = 4;
  pen.hit(
    Math.min(x0, x1) - near,
    Math.min(y0, y1),
    Math.max(x0, x1) + near,
    Math.max(y0, y1),
    () => ofMessage(m, i),
  );
}

function head(pen: Pen, x0: number, y0: number, x1: number, y1: number, colour: string): void {
  const { c } = pen;
  const angle = Math.atan2(y1 - y0, x1 - x0);
  c.beginPath();
  c.moveTo(x1, y1);
  for (const side of [-0.4, 0.4]) {
    c.lineTo(x1 - 8 * Math.cos(angle + side), y1 - 8 * Math.sin(angle + side));
  }
  c.closePath();
  c.fillStyle = colour;
  c.fill();
  pen.primitives++;
}

type Box = [number, number, number, number];

/** The kind, beside the arrow's begin, where no other word stands: behind it, or, where the arrow
 *  leans that way, before it. */
function name(
  pen: Pen,
  kind: string,
  x: number,
  y: number,
  down: boolean,
  colour: string,
  taken: Box[],
  leans: boolean,
): void {
  pen.font(10.5);
  const text = kind.replaceAll("_", " ");
  const w = pen.measure(text);
  const at = down ? y + 8 : y - 8;
  const left = leans ? x - w - 9 : x + 4;
  const box: Box = [left, at - 6, left + w + 4, at + 6];
  const clash = taken.some((t) => t[0] < box[2] && t[2] > box[0] && t[1] < box[3] && t[3] > box[1]);
  if (clash || box[0] < pen.l.left || box[2] > pen.l.left + pen.plotWidth) return;
  taken.push(box);
  pen.c.textBaseline = "middle";
  // Words stay readable above hatching.
  pen.c.strokeStyle = pen.p.paper;
  pen.c.lineWidth = 3;
  pen.c.lineJoin = "round";
  pen.c.strokeText(text, left + 2, at);
  pen.text(colour, text, left + 2, at, w + 1);
}
