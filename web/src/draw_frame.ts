// The timeline's frame: axis, phases, the faults' own rows, and times without a write.

import { hatch } from "./theme";
import { hatchOfRule } from "./hatching";
import { clock, duration, ticks } from "./time";
import type { Pen } from "./pen";
import { touched } from "./layout";

export function axis(pen: Pen): void {
  const { l, p, view } = pen;
  for (const tick of ticks(view.from, view.to, pen.plotWidth / 100).at) {
    const x = Math.round(pen.x(tick)) + 0.5;
    pen.line(p.faint, x, l.axis.top + l.axis.height - 4, x, l.height);
  }
}

/** The ticks' times; they may reach into the margins. */
export function times(pen: Pen): void {
  const { l, p, view } = pen;
  const { at, step } = ticks(view.from, view.to, pen.plotWidth / 100);
  pen.font(11);
  pen.c.textBaseline = "middle";
  for (const tick of at) {
    const text = clock(tick, step);
    const wide = pen.measure(text);
    const x = Math.max(l.left, Math.min(pen.width - wide - 2, pen.x(tick) - wide / 2));
    pen.text(p.soft, text, x, l.axis.top + 10, wide + 1);
  }
}

export function phases(pen: Pen): void {
  const { l, p, m } = pen;
  if (!l.phases) return;
  const y = l.phases.top;
  pen.font(11);
  pen.c.textBaseline = "middle";
  let drawn = -1;
  for (const phase of m.story.phases) {
    const at = pen.stretch(phase.from, phase.to);
    if (!at || at[1] <= drawn + 1) continue;
    drawn = at[1];
    pen.fill(p.panel, at[0], y, at[1] - at[0] - 1, l.phases.height - 2);
    pen.fill(p.line, at[0], y, 1, l.phases.height - 2);
    pen.text(p.soft, phase.name, at[0] + 6, y + l.phases.height / 2 - 1, at[1] - at[0] - 10);
    pen.hit(at[0], y, at[1], y + l.phases.height, () => ({
      kind: "told",
      from: phase.from,
      to: phase.to,
      place: -1,
      nodes: [],
      title: `phase: ${phase.name}`,
      lines: [duration(phase.to - phase.from)],
    }));
  }
}

/** One bar a band, named in it where there is room, else behind it. */
export function faults(pen: Pen): void {
  const { l, p, m } = pen;
  if (!l.faults) return;
  const nextInRow = nexts(pen);
  const drawn = new Map<number, number>();
  pen.font(11.5, 600);
  pen.c.textBaseline = "middle";
  for (const item of pen.items) {
    if (item.kind !== "fault") continue;
    const at = pen.stretch(item.from, item.to);
    const row = l.faultRow[item.place];
    if (!at || at[1] <= (drawn.get(row) ?? -1) + 0.5) continue;
    drawn.set(row, at[1]);
    const y = l.faults.top + row * l.faultHeight + 1;
    const h = l.faultHeight - 3;
    const w = Math.max(2, at[1] - at[0]);
    const { c } = pen;
    pen.fill(p.paper, at[0], y, w, h);
    c.globalAlpha = 0.45;
    pen.fill(hatch(c, p.fault, hatchOfRule(m.story, item.title)), at[0], y, w, h);
    c.globalAlpha = 1;
    pen.box(p.fault, at[0], y, w, h);
    if (item.from >= pen.view.from) pen.fill(p.fault, at[0], y, Math.min(3, w), h);
    label(pen, item.title, at, y + h / 2 + 0.5, nextInRow[item.place]);
    pen.hit(at[0], y, at[1], y + h, item);
  }
}

function label(pen: Pen, text: string, [x0, x1]: [number, number], y: number, next: number): void {
  const { c, p } = pen;
  const inside = x1 - x0 - 14;
  const right = Math.min(next - 8, pen.l.left + pen.plotWidth);
  if (pen.measure(text) <= inside || inside > right - x1) {
    const room = Math.min(pen.measure(text), inside);
    if (room < 18) return;
    // The hatching must not run through the letters.
    pen.fill(p.paper, x0 + 5, y - 7, room + 4, 14);
    pen.text(p.ink, text, x0 + 7, y, inside);
  } else {
    c.textAlign = "left";
    pen.text(p.ink, text, x1 + 5, y, right - x1 - 6);
  }
}

/** Where the next band of the same row begins, in pixels. */
function nexts(pen: Pen): number[] {
  const out = new Array<number>(pen.m.story.bands.length).fill(Infinity);
  const last = new Map<number, number>();
  for (let i = pen.items.length - 1; i >= 0; i--) {
    const item = pen.items[i];
    if (item.kind !== "fault") continue;
    const row = pen.l.faultRow[item.place];
    out[item.place] = last.get(row) ?? Infinity;
    last.set(row, pen.x(item.from));
  }
  return out;
}

/** Tints the lanes that a band is about, and marks when it began and ended. */
export function tints(pen: Pen): void {
  const { c, l, p, m } = pen;
  const drawn = new Map<string, number>();
  for (const band of m.story.bands) {
    const at = pen.stretch(band.from, band.to);
    if (!at) continue;
    const kind = hatchOfRule(m.story, band.rule);
    for (const node of touched(band.nodes, band.links)) {
      const lane = l.nodes[node];
      const key = `${node} ${kind}`;
      if (!lane || at[1] <= (drawn.get(key) ?? -1) + 0.5) continue;
      drawn.set(key, at[1]);
      c.globalAlpha = 0.1;
      pen.fill(p.fault, at[0], lane.top, at[1] - at[0], lane.height);
      c.globalAlpha = 0.3;
      pen.fill(hatch(c, p.fault, kind), at[0], lane.top, at[1] - at[0], lane.height);
      c.globalAlpha = 0.7;
      for (const [t, there] of [
        [band.from, true],
        [band.to, band.ended],
      ] as const) {
        if (!there || t < pen.view.from || t > pen.view.to) continue;
        const x = Math.round(pen.x(t)) + 0.5;
        pen.line(p.fault, x, lane.top, x, lane.top + lane.height, [3, 3]);
      }
      c.globalAlpha = 1;
    }
  }
}

/** Where the next time without a write begins, in pixels. */
function outagesAfter(pen: Pen, place: number): number {
  const next = pen.m.story.unavailable[place + 1];
  return next ? pen.x(next.from) : pen.l.left + pen.plotWidth;
}

export function outages(pen: Pen): void {
  const { c, l, p } = pen;
  if (!l.outages) return;
  const { top, height } = l.outages;
  let drawn = -1;
  pen.font(11);
  c.textBaseline = "middle";
  for (const item of pen.items) {
    if (item.kind !== "outage") continue;
    const at = pen.stretch(item.from, item.to);
    if (!at || at[1] <= drawn + 0.5) continue;
    drawn = at[1];
    const w = at[1] - at[0];
    c.globalAlpha = 0.18;
    pen.fill(p.violated, at[0], top + 2, w, height - 5);
    c.globalAlpha = 1;
    pen.fill(hatch(c, p.violated, "-", 5), at[0], top + 2, w, height - 5);
    pen.box(p.violated, at[0], top + 2, w, height - 5);
    const text = duration(item.to - item.from);
    const need = pen.measure(text);
    const place = outagesAfter(pen, item.place);
    if (need + 8 <= w) {
      const x = (at[0] + at[1] - need) / 2;
      pen.fill(p.paper, x - 3, top + 3, need + 6, height - 7);
      pen.text(p.ink, text, x, top + height / 2, need + 1);
    } else if (at[1] + need + 12 < place) {
      pen.text(p.ink, text, at[1] + 5, top + height / 2, need + 1);
    }
    pen.hit(at[0], top + 2, at[1], top + height - 3, item);
  }
}
