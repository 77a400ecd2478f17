// Points in time: elections and whatever else happened, each with a sign of its own shape.

import type { Item, Kind } from "./items";
import type { Lane } from "./layout";
import { glyph, type Glyph, type Pen } from "./pen";
import type { Colour } from "./theme";
import { plural } from "./time";

export const SIGNS: Record<Kind, [Glyph, Colour]> = {
  violation: ["diamond", "violated"],
  alarm: ["diamond", "violated"],
  died: ["cross", "violated"],
  fault: ["square", "fault"],
  outage: ["bar", "violated"],
  election: ["triangle", "candidate"],
  leader: ["star", "leader"],
  term: ["bar", "soft"],
  done: ["square", "fault"],
  switched: ["square", "ink"],
  told: ["disc", "soft"],
};

// Signs nearer to each other than this are one sign with a number.
const APART = 11;

const EVENTS = new Set<Kind>(["alarm", "died", "leader", "term", "done", "switched", "told"]);

export function elections(pen: Pen): void {
  if (pen.l.elections) signs(pen, pen.l.elections, (item) => item.kind === "election");
}

export function events(pen: Pen): void {
  if (pen.l.events) signs(pen, pen.l.events, (item) => EVENTS.has(item.kind));
}

interface Group {
  x: number;
  items: Item[];
}

function signs(pen: Pen, lane: Lane, wanted: (item: Item) => boolean): void {
  const groups: Group[] = [];
  for (const item of pen.items) {
    if (!wanted(item) || item.from < pen.view.from || item.from > pen.view.to) continue;
    const x = pen.x(item.from);
    const last = groups.at(-1);
    if (last && x - last.x < APART) last.items.push(item);
    else groups.push({ x, items: [item] });
  }
  const y = lane.top + lane.height / 2;
  groups.forEach((group, i) => {
    // Who is asked for by keys is shown even where it shares its place.
    const first = group.items.find((item) => item === pen.focused) ?? mostTelling(group.items);
    const [shape, colour] = SIGNS[first.kind];
    glyph(pen, shape, group.x, y, pen.p[colour]);
    const next = groups[i + 1]?.x ?? pen.l.left + pen.plotWidth;
    said(pen, group, first, y, next - group.x - 18);
    const item =
      group.items.length > 1 && first !== pen.focused ? () => several(group.items) : first;
    pen.hit(group.x - 6, lane.top, group.x + 6, lane.top + lane.height, item);
  });
}

function said(pen: Pen, group: Group, first: Item, y: number, room: number): void {
  const n = group.items.length;
  pen.font(11, n > 1 ? 600 : 400);
  pen.c.textBaseline = "middle";
  const text = n > 1 ? `×${n}` : first.title;
  // A few letters say nothing; the sign can be asked.
  if (room < Math.min(70, pen.measure(text))) return;
  pen.text(n > 1 ? pen.p.ink : pen.p.soft, text, group.x + 9, y, Math.min(room, 240));
}

const ORDER: Kind[] = ["alarm", "died", "election", "done", "switched", "leader", "term", "told"];

function mostTelling(items: Item[]): Item {
  return items.reduce((a, b) => (ORDER.indexOf(b.kind) < ORDER.indexOf(a.kind) ? b : a));
}

function several(items: Item[]): Item {
  const [first, last] = [items[0], items[items.length - 1]];
  const lines = items.slice(0, 8).map((item) => item.title);
  if (items.length > 8) lines.push(`and ${items.length - 8} more; zoom in`);
  return {
    ...mostTelling(items),
    from: first.from,
    to: last.from,
    lines,
    title: plural(items.length, "event"),
  };
}
