// A lane per node: what it was to the others, with the term, and whether its process ran.

import { hatch } from "./theme";
import { duration } from "./time";
import { glyph, type Pen } from "./pen";
import type { Lane } from "./layout";
import type { Item } from "./items";
import { firstWhere } from "./scan";
import type { Story } from "./story";

type Node = Story["nodes"][number];
type Role = Node["roles"][number];
type State = Node["states"][number];

export const BAR = 22;

/** Where a lane's bar is. */
export function bar(lane: Lane): { top: number; bottom: number } {
  const top = lane.top + (lane.height - BAR) / 2;
  return { top, bottom: top + BAR };
}

export function nodes(pen: Pen): void {
  pen.m.story.nodes.forEach((node, i) => {
    const lane = pen.l.nodes[i];
    roles(pen, i, node, lane);
    states(pen, i, node, lane);
    alarms(pen, i, lane);
  });
}

/** Spans in view that a pixel does not hide; of those within one, the leader's. */
function spans<T extends { from: number; to: number }>(
  pen: Pen,
  all: T[],
  first: (a: T) => boolean,
  draw: (span: T, x0: number, x1: number) => void,
): void {
  let waiting: { span: T; x0: number; x1: number } | null = null;
  const from = firstWhere(all, (span) => span.to >= pen.view.from);
  for (let i = from; i < all.length && all[i].from <= pen.view.to; i++) {
    const at = pen.stretch(all[i].from, all[i].to);
    if (!at) continue;
    const next = { span: all[i], x0: at[0], x1: at[1] };
    if (waiting && next.x0 < waiting.x0 + 1) {
      if (first(next.span) || !first(waiting.span)) waiting = next;
      continue;
    }
    if (waiting)
      draw(waiting.span, waiting.x0, Math.max(waiting.x1, Math.min(waiting.x0 + 2, next.x0)));
    waiting = next;
  }
  if (waiting) draw(waiting.span, waiting.x0, waiting.x1);
}

function roles(pen: Pen, node: number, of: Node, lane: Lane): void {
  spans(
    pen,
    of.roles,
    (r) => r.role === "leader",
    (role, x0, x1) => {
      if (!ranAll(of, role)) return drawParts(pen, node, of, role, lane);
      roleBar(pen, node, role, lane, x0, x1);
    },
  );
}

/** Whether a node with this state has a role at all. */
function hasRole(state: State): boolean {
  return state.state === "up" || state.state === "paused";
}

/** A role while its process did not run is nobody's: only the parts in between are drawn. */
function drawParts(pen: Pen, node: number, of: Node, role: Role, lane: Lane): void {
  for (const state of of.states) {
    if (!hasRole(state)) continue;
    const from = Math.max(role.from, state.from);
    const to = Math.min(role.to, state.to);
    const at = to > from && pen.stretch(from, to);
    if (at) roleBar(pen, node, role, lane, at[0], at[1]);
  }
}

function ranAll(of: Node, role: Role): boolean {
  return !of.states.some((s) => !hasRole(s) && s.from < role.to && s.to > role.from);
}

function roleBar(pen: Pen, node: number, role: Role, lane: Lane, x0: number, x1: number): void {
  const { c, p } = pen;
  const { top, bottom } = bar(lane);
  const w = Math.max(1, x1 - x0);
  const gap = w > 4 ? 1 : 0;
  const term = role.term === null ? "" : `term ${role.term}`;
  pen.font(12, role.role === "leader" ? 650 : 400);
  c.textBaseline = "middle";
  const y = (top + bottom) / 2 + 0.5;
  if (role.role === "leader") {
    pen.fill(p.leader, x0, top, w - gap, BAR);
    inBar(pen, p["on-leader"], ["leader", term], x0, y, w);
  } else if (role.role === "candidate") {
    pen.fill(p.paper, x0, top, w - gap, BAR);
    pen.fill(hatch(c, p.candidate, "|", 5), x0, top, w - gap, BAR);
    pen.box(p.candidate, x0, top, w - gap, BAR);
    const need = pen.measure("candidate") + 12;
    if (w > need)
      pen.fill(
        p.paper,
        x0 + 4,
        top + 4,
        Math.min(w - 8, pen.measure(`candidate · ${term}`) + 8),
        BAR - 8,
      );
    if (w > need) inBar(pen, p.ink, ["candidate", term], x0, y, w);
  } else if (role.role === "follower") {
    pen.fill(p.follower, x0, top + 3, w - gap, BAR - 6);
    inBar(pen, p.soft, ["follower", term], x0, y, w);
  } else {
    pen.line(p.soft, x0, y, x1 - gap, y, [2, 4]);
    inBar(pen, p.soft, [], x0, y, w);
  }
  const named = role.role === "unknown" ? "role unknown" : role.role;
  pen.hit(x0, top, x1, bottom, () => ({
    kind: "told",
    from: role.from,
    to: role.to,
    place: -1,
    nodes: [node],
    title: `${pen.m.story.nodes[node].name}: ${named}`,
    lines: [term, duration(role.to - role.from)].filter(Boolean),
  }));
}

/** As many of the words as there is room for, the last one first. */
function inBar(pen: Pen, style: string, words: string[], x: number, y: number, w: number): void {
  const there = words.filter(Boolean);
  const all = there.join(" · ");
  const one = there.at(-1) ?? "";
  const number = one.replace("term ", "");
  const text = [all, one, number].find((t) => t && pen.measure(t) + 12 <= w);
  if (text) pen.text(style, text, x + 6, y, w - 6);
}

function states(pen: Pen, node: number, of: Node, lane: Lane): void {
  spans(
    pen,
    of.states,
    (s) => s.state !== "up",
    (state, x0, x1) => {
      if (state.state === "up") return;
      stateBar(pen, state, lane, x0, x1);
      const { top, bottom } = bar(lane);
      pen.hit(x0, top, x1, bottom, () => stateItem(pen, node, state));
    },
  );
}

function stateItem(pen: Pen, node: number, state: State): Item {
  return {
    kind: "told",
    from: state.from,
    to: state.to,
    place: -1,
    nodes: [node],
    title: `${pen.m.story.nodes[node].name}: ${state.state}`,
    lines: [state.why, duration(state.to - state.from)].filter(Boolean),
  };
}

function stateBar(pen: Pen, state: State, lane: Lane, x0: number, x1: number): void {
  const { c, p } = pen;
  const { top } = bar(lane);
  const w = Math.max(2, x1 - x0);
  const kinds = { down: "x", removed: "x", paused: "-", starting: "\\", up: "/" } as const;
  if (state.state !== "paused") pen.fill(p.paper, x0, top, w, BAR);
  else {
    c.globalAlpha = 0.88;
    pen.fill(p.paper, x0, top, w, BAR);
    c.globalAlpha = 1;
  }
  const starting = state.state === "starting";
  pen.fill(
    hatch(c, starting ? p.soft : p.down, kinds[state.state], starting ? 7 : 6),
    x0,
    top,
    w,
    BAR,
  );
  pen.box(p.down, x0, top, w, BAR);
  pen.font(12, 600);
  const why = state.why && state.why !== state.state ? `${state.state}: ${state.why}` : state.state;
  const text = [why, state.state].find((t) => pen.measure(t) + 16 <= w);
  if (!text) return;
  pen.fill(p.paper, x0 + 4, top + 3, pen.measure(text) + 8, BAR - 6);
  c.textBaseline = "middle";
  pen.text(p.ink, text, x0 + 8, top + BAR / 2 + 0.5, w);
}

function alarms(pen: Pen, node: number, lane: Lane): void {
  let drawn = -10;
  for (const item of pen.items) {
    if (item.kind !== "alarm" || !item.nodes.includes(node)) continue;
    if (item.from < pen.view.from || item.from > pen.view.to) continue;
    const x = pen.x(item.from);
    if (x < drawn + 6) continue;
    drawn = x;
    glyph(pen, "diamond", x, bar(lane).top - 6, pen.p.violated, 5);
    pen.hit(x - 5, lane.top, x + 5, bar(lane).top, item);
  }
}
