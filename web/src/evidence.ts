// A contradiction, drawn: a row a process, a bar a call. The order of begins and answers is exact;
// distances are not, since a call of a millisecond would vanish beside a second of waiting.

import { h, section, svg } from "./dom";
import type { Model } from "./model";
import { clock, duration } from "./time";
import { time, type Goto } from "./glance";

type Evidence = Model["story"]["evidence"][number];
type Line = Evidence["lines"][number];

const ROW = 40;
const LEFT = 96;
const LETTER = 6.6;

export interface Place {
  row: number;
  x0: number;
  /** Infinite: open, since the call was never answered as far as this needs it. */
  x1: number;
}

/** Where each call's bar is, in steps of the order in which calls began and were answered. */
export function places(lines: Line[]): { places: Place[]; rows: string[]; times: number[] } {
  const times = [...new Set(lines.flatMap((l) => (l.end < 0 ? [l.begin] : [l.begin, l.end])))];
  times.sort((a, b) => a - b);
  const step = new Map(times.map((t, i) => [t, i]));
  const rows = [...new Set(lines.map((line) => line.process))];
  return {
    times,
    rows,
    places: lines.map((line) => ({
      row: rows.indexOf(line.process),
      x0: step.get(line.begin) ?? 0,
      x1: line.end < 0 ? Infinity : (step.get(line.end) ?? 0),
    })),
  };
}

export function contradictions(m: Model, go: Goto): HTMLElement | null {
  const { evidence } = m.story;
  if (!evidence.length) return null;
  return section(
    "contradictions",
    evidence.length > 1 ? "Contradictions" : "The contradiction",
    h(
      "p",
      { class: "soft" },
      "A bar is a call, from when it began to when it was answered. Each row is a " +
        "process. The order of begins and answers is exact; distances are not to scale. " +
        "Nothing can have happened that explains all of these answers together.",
    ),
    ...evidence.map((one, i) => contradiction(one, i, go)),
  );
}

function contradiction(one: Evidence, i: number, go: Goto): HTMLElement {
  const rows = one.lines.map((line) =>
    h(
      "tr",
      { class: line.blamed ? "blamed" : "" },
      h(
        "td",
        {},
        time(go, line.begin, line.end < 0 ? line.begin : line.end, clock(line.begin, 100)),
      ),
      h("td", {}, line.end < 0 ? "open" : duration(line.end - line.begin)),
      h("td", {}, line.process),
      h("td", {}, line.node ?? "–"),
      h("td", {}, line.text, line.blamed ? h("strong", {}, " ◀ cannot be placed") : null),
    ),
  );
  return h(
    "article",
    { class: "contradiction" },
    h(
      "h3",
      {},
      `${one.check}, `,
      h("bdi", {}, one.object),
      h("span", { class: "soft" }, ` in ${one.history}`),
    ),
    h("p", {}, one.summary),
    h(
      "div",
      {
        class: "scroll",
        tabindex: 0,
        role: "region",
        "aria-label": `Diagram of contradiction ${i + 1}`,
      },
      diagram(one),
    ),
    h(
      "details",
      { open: one.lines.length <= 12 },
      h("summary", {}, `The ${one.lines.length} calls as a table`),
      h(
        "div",
        {
          class: "scroll",
          tabindex: 0,
          role: "region",
          "aria-label": "Calls of the contradiction",
        },
        h(
          "table",
          { class: "calls" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ...["Began", "Took", "Process", "Node", "Call"].map((name) =>
                h("th", { scope: "col" }, name),
              ),
            ),
          ),
          h("tbody", {}, ...rows),
        ),
      ),
    ),
  );
}

/** How wide a step has to be for the texts to stand on their bars, within reason. */
function stepWidth(lines: Line[], at: Place[], steps: number): number {
  // Few calls have all the room that their words want; many are to be seen together.
  const most = steps <= 10 ? 230 : steps <= 24 ? 140 : 90;
  let need = 26;
  lines.forEach((line, i) => {
    const end = Math.min(at[i].x1, steps);
    const wide = Math.min(line.text.length, 34) * LETTER + 16;
    need = Math.max(need, Math.min(most, wide / Math.max(1, end - at[i].x0)));
  });
  return need;
}

function diagram(one: Evidence): SVGElement {
  const { places: at, rows, times } = places(one.lines);
  const steps = times.length;
  const w = stepWidth(one.lines, at, steps);
  const x = (step: number) => LEFT + 12 + step * w;
  const width = x(steps) + 24;
  const height = rows.length * ROW + 34;
  return svg(
    "svg",
    {
      class: "diagram",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `${one.summary}. The table below tells the same.`,
    },
    ...times.map((_, i) =>
      svg("line", { class: "tick", x1: x(i), x2: x(i), y1: 4, y2: height - 28 }),
    ),
    ...rows.map((name, row) =>
      svg("text", { class: "process", x: 4, y: row * ROW + 30 }, cut(name, LEFT)),
    ),
    ...one.lines.map((line, i) => bar(line, at[i], x, steps)),
    ...axis(times, x, w, height),
  );
}

function bar(line: Line, at: Place, x: (step: number) => number, steps: number): SVGElement {
  const open = at.x1 === Infinity;
  const x0 = x(at.x0);
  const x1 = open ? x(steps) + 12 : x(at.x1);
  const y = at.row * ROW + 12;
  const edge = open
    ? `M${x1} ${y} H${x0} V${y + 26} H${x1}`
    : `M${x0} ${y} H${x1} V${y + 26} H${x0} Z`;
  return svg(
    "g",
    { class: line.blamed ? "call blamed" : open ? "call open" : "call" },
    svg("title", {}, `${line.process}: ${line.text}`),
    svg("path", { class: "bar", d: edge }),
    line.blamed ? svg("path", { class: "mark", d: `M${x0 + 4} ${y - 8} h10 l-5 7 z` }) : null,
    svg("text", { x: x0 + 7, y: y + 17 }, cut(line.text, x1 - x0 - 10)),
  );
}

/** Times below, as many as fit beside each other. */
function axis(
  times: number[],
  x: (step: number) => number,
  w: number,
  height: number,
): SVGElement[] {
  const each = Math.max(1, Math.ceil(74 / w));
  return times.flatMap((t, i) =>
    i % each
      ? []
      : [
          svg(
            "text",
            { class: "at", x: x(i), y: height - 10, "text-anchor": "middle" },
            clock(t, 100),
          ),
        ],
  );
}

function cut(text: string, room: number): string {
  const letters = Math.floor(room / LETTER);
  return text.length <= letters ? text : `${text.slice(0, Math.max(1, letters - 1))}…`;
}
