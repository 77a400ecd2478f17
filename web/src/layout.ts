// Where on the timeline each lane is: pure numbers, from how many of each there are.

import { rows } from "./scan";
import type { Story } from "./story";

export interface Lane {
  top: number;
  height: number;
}

export interface Layout {
  /** Left of this are names, right of `width - right` is air. */
  left: number;
  right: number;
  axis: Lane;
  phases: Lane | null;
  faults: Lane | null;
  /** The row of each band within `faults`, and the height of one. */
  faultRow: number[];
  faultHeight: number;
  outages: Lane | null;
  elections: Lane | null;
  events: Lane | null;
  messages: Lane | null;
  packets: Lane | null;
  nodes: Lane[];
  clients: Lane[];
  /** The first client that is shown; of more than a page's worth the others are a page away. */
  firstClient: number;
  height: number;
}

export const CLIENTS_A_PAGE = 48;
const FAULT_ROWS_MAX = 8;
const GAP = 10;

export function layout(story: Story, width: number, firstClient = 0): Layout {
  const left = width < 560 ? 76 : 112;
  let top = 0;
  const lane = (height: number, gap = 0): Lane => {
    const at = { top, height };
    top += height + gap;
    return at;
  };
  const maybe = (there: boolean, height: number, gap = 2) => (there ? lane(height, gap) : null);
  const axis = lane(24, 2);
  const phases = maybe(story.phases.length > 0, 18, 4);

  const faultRow = faultRows(story, width - left);
  const needed = Math.max(0, ...faultRow.map((row) => row + 1));
  const shown = Math.min(needed, FAULT_ROWS_MAX);
  const faultHeight = 20;
  const faults = maybe(shown > 0, shown * faultHeight, 4);
  const outages = maybe(story.unavailable.length > 0, 18);
  const elections = maybe(story.elections.length > 0, 20);
  const events = maybe(story.moments.length + story.alarms.length > 0, 20);
  const messages = maybe(story.messages.at.length > 0, 30);
  const packets = maybe((story.packets?.at.length ?? 0) > 0, 30);
  top += GAP;

  const n = story.nodes.length;
  const pitch = n <= 3 ? 58 : n <= 5 ? 50 : n <= 9 ? 42 : 30;
  const nodes = story.nodes.map(() => lane(pitch));
  top += nodes.length ? GAP : 0;

  const first = Math.max(0, Math.min(firstClient, story.lanes.length - 1));
  const page = story.lanes.slice(first, first + CLIENTS_A_PAGE);
  const height = page.length <= 12 ? 24 : page.length <= 24 ? 20 : 16;
  const clients = page.map(() => lane(height));
  return {
    left,
    right: 18,
    axis,
    phases,
    faults,
    outages,
    elections,
    events,
    messages,
    packets,
    nodes,
    clients,
    faultHeight,
    firstClient: first,
    height: top + 4,
    faultRow: faultRow.map((row) => Math.min(row, FAULT_ROWS_MAX - 1)),
  };
}

const LETTER = 6.8;

/** A row a rule, where rules are few and do not meet themselves; else as few rows as can be, with
 *  room for names where that does not take too many. */
function faultRows(story: Story, width: number): number[] {
  const { bands, run } = story;
  const names = [...new Set(bands.map((band) => band.rule))];
  const own = bands.map((band) => names.indexOf(band.rule));
  const meets = bands.some((a, i) =>
    bands.some((b, j) => i < j && own[i] === own[j] && a.from < b.to && b.from < a.to),
  );
  if (names.length <= 5 && !meets) return own;
  const pixel = run.length / Math.max(1, width);
  const named = bands.map(({ rule, from, to }) => {
    const name = rule.length * LETTER * pixel;
    return { from, to: to - from > name + 14 * pixel ? to : to + name + 10 * pixel };
  });
  const roomy = rows(named);
  return Math.max(0, ...roomy) < 5 ? roomy : rows(bands, 2 * pixel);
}

/** From the highest to the lowest lane of those that a band touches. */
export function touched(nodes: number[], links: [number, number][]): number[] {
  return [...new Set([...nodes, ...links.flat()])].sort((a, b) => a - b);
}

/** A text, shortened to fit into `room` pixels, or nothing where that would say nothing. */
export function fitted(text: string, room: number, measure: (text: string) => number): string {
  if (measure(text) <= room) return text;
  const one = measure("m") * 0.8;
  if (room < one * 3) return "";
  let keep = Math.min(text.length - 1, Math.floor(room / (one * 0.7)));
  while (keep > 1 && measure(`${text.slice(0, keep)}…`) > room) keep--;
  return keep > 1 ? `${text.slice(0, keep).trimEnd()}…` : "";
}
