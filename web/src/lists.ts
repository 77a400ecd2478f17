// Lists of what the timeline shows, so that nothing of it needs eyes or a mouse; and node logs.

import { h, section, table } from "./dom";
import { RANK, WORDS, nodeName, when, type Item } from "./items";
import type { Model } from "./model";
import { clock, count, duration } from "./time";
import { time, type Goto } from "./glance";

const MOST = 300;

/** Everything that has a name and a time; of too much the most telling, in order of time. */
export function happened(m: Model, items: Item[], choose: (item: Item) => void): HTMLElement {
  const kept = [...items]
    .sort((a, b) => RANK[a.kind] - RANK[b.kind] || a.from - b.from)
    .slice(0, MOST);
  kept.sort((a, b) => a.from - b.from || RANK[a.kind] - RANK[b.kind]);
  const rows = kept.map((item) => [
    h(
      "button",
      { type: "button", class: "time", onclick: () => choose(item) },
      when(item, m.length),
    ),
    h("span", { class: `kind ${item.kind}` }, WORDS[item.kind]),
    h(
      "span",
      {},
      h("strong", {}, h("bdi", {}, item.title)),
      item.lines.length ? ` — ${item.lines.join("; ")}` : "",
    ),
  ]);
  const left = items.length - kept.length;
  return section(
    "events",
    "What happened",
    rows.length
      ? table("Everything with a time and a name", ["When", "What", ""], rows, "events")
      : h("p", {}, "Nothing is known to have happened."),
    left > 0 && h("p", { class: "soft" }, `${count(left)} more are on the timeline only.`),
  );
}

export function rules(m: Model, go: Goto): HTMLElement | null {
  if (!m.story.rules.length) return null;
  const at = (t: number) => (t < 0 ? "–" : time(go, t, t));
  const rows = m.story.rules.map((rule) => [
    h("bdi", {}, rule.name),
    `${count(rule.activations)}×`,
    count(rule.matched),
    count(rule.acted),
    count(rule.leaked),
    at(rule.first),
    at(rule.last),
    rule.matched || rule.optional ? "" : "never matched",
  ]);
  return section(
    "rules",
    "Rules",
    table(
      "What each rule came to, in segments",
      ["Rule", "Active", "Matched", "Acted", "Leaked", "First", "Last", ""],
      rows,
      "numbers",
    ),
  );
}

/** What went on in the calls' own words, where something is to be said of errors. */
export function errors(m: Model): HTMLElement | null {
  const rows = m.story.loads.flatMap((load) =>
    load.errors.map((error) => [load.workload, count(error.times), error.why]),
  );
  if (!rows.length) return null;
  return section(
    "errors",
    "Errors that clients met",
    table("By workload, the most frequent first", ["Workload", "Times", "Error"], rows, "errors"),
  );
}

export function alarms(m: Model, go: Goto): HTMLElement | null {
  if (!m.story.alarms.length) return null;
  const each = m.story.alarms.map((alarm) =>
    h(
      "article",
      { class: "alarm" },
      h("h3", {}, alarm.invariant, " at ", time(go, alarm.at, alarm.at)),
      h(
        "p",
        {},
        alarm.said,
        alarm.nodes.length ? ` (${alarm.nodes.map((n) => nodeName(m, n)).join(", ")})` : "",
      ),
      alarm.evidence.length
        ? h("ol", { class: "mono" }, ...alarm.evidence.map((line) => h("li", {}, line)))
        : null,
    ),
  );
  return section("invariants", "Raft's invariants, violated on the wire", ...each);
}

/** One excerpt. */
export function excerpt(
  m: Model,
  log: Model["story"]["logs"][number],
  go: Goto,
  open: boolean,
): HTMLElement {
  return h(
    "details",
    { open },
    h(
      "summary",
      {},
      h("strong", {}, h("bdi", {}, nodeName(m, log.node))),
      ` at ${clock(log.at, 1000)}: ${log.why}`,
    ),
    h(
      "p",
      {},
      time(go, log.at, log.at, "Show on the timeline"),
      " ",
      h("span", { class: "soft" }, log.file),
    ),
    h("pre", { tabindex: 0 }, log.lines.join("\n")),
    log.cut ? h("p", { class: "soft" }, "There are more lines in the file.") : null,
  );
}

export function logs(m: Model, go: Goto): HTMLElement | null {
  if (!m.story.logs.length) return null;
  return section(
    "logs",
    "Node logs around events",
    ...m.story.logs.map((log) => excerpt(m, log, go, false)),
  );
}

export function leftOut(m: Model): HTMLElement | null {
  if (!m.story.left_out.length) return null;
  return section(
    "left-out",
    "What this page leaves out",
    h("ul", {}, ...m.story.left_out.map((line) => h("li", {}, line))),
  );
}

export function phases(m: Model): string {
  return m.story.phases.map((p) => `${p.name} ${duration(p.to - p.from)}`).join(", ");
}
