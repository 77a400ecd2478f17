// The links: who sent how much to whom, and what became of it, as matrices with shaded cells.

import { h, section, table } from "./dom";
import { nodeName } from "./items";
import type { Model } from "./model";
import { count } from "./time";

type Link = Model["story"]["links"][number];

interface Matrix {
  title: string;
  value: (link: Link) => number | null;
  text: (value: number) => string;
}

const MATRICES: Matrix[] = [
  { title: "Packets", value: (link) => link.packets, text: count },
  { title: "Dropped", value: (link) => link.dropped, text: count },
  { title: "Trimmed to their acknowledgement", value: (link) => link.trimmed, text: count },
  { title: "Delayed", value: (link) => link.delayed, text: count },
  {
    title: "Lateness behind the due time, 99th percentile, µs",
    value: (link) => link.late?.p99 ?? null,
    text: (v) => v.toFixed(v < 10 ? 1 : 0),
  },
  {
    title: "Lateness, the latest, µs",
    value: (link) => link.late?.max ?? null,
    text: (v) => v.toFixed(v < 10 ? 1 : 0),
  },
];

export function network(m: Model): HTMLElement | null {
  const { links, totals } = m.story;
  if (!links.length && !totals.length) return null;
  // What happened on no link needs no matrix; how many packets there were is always told.
  const some = MATRICES.filter(
    (matrix, i) => i === 0 || links.some((link) => (matrix.value(link) ?? 0) > 0),
  );
  return section(
    "network",
    "Links",
    links.length ? h("div", { class: "matrices" }, ...some.map((matrix) => draw(m, matrix))) : null,
    totals.length
      ? table(
          "Sums of the network",
          ["", ""],
          totals.map((t) => [t.name, count(t.value)]),
          "totals",
        )
      : null,
  );
}

function draw(m: Model, matrix: Matrix): HTMLElement {
  const { nodes, links } = m.story;
  const most = Math.max(1e-9, ...links.map((link) => matrix.value(link) ?? 0));
  const cell = (from: number, to: number) => {
    const link = links.find((one) => one.from === from && one.to === to);
    const value = link ? matrix.value(link) : null;
    const td = h("td", {}, from === to ? "" : value === null ? "–" : matrix.text(value));
    if (value) td.style.setProperty("--heat", `${Math.round(8 + (value / most) * 62)}%`);
    if (value) td.classList.add("heat");
    if (from === to) td.classList.add("none");
    return td;
  };
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": matrix.title },
    h(
      "table",
      { class: "matrix" },
      h("caption", {}, matrix.title),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "from \\ to"),
          ...nodes.map((_, to) => h("th", { scope: "col" }, h("bdi", {}, nodeName(m, to)))),
        ),
      ),
      h(
        "tbody",
        {},
        ...nodes.map((_, from) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, h("bdi", {}, nodeName(m, from))),
            ...nodes.map((__, to) => cell(from, to)),
          ),
        ),
      ),
    ),
  );
}
