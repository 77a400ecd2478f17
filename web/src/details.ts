// What was chosen on the timeline or in a list: all that is known of it, and what nodes logged.

import { h } from "./dom";
import { WORDS, when, type Item } from "./items";
import type { Model } from "./model";
import { excerpt } from "./lists";
import type { Goto } from "./glance";

// An excerpt belongs to an event if it was cut out around it; clocks are one, so this is slack for
// events that come in pairs, such as a fault and the death that it causes.
const NEAR = 300_000;

export class Details {
  readonly element = h("section", {
    id: "details",
    "aria-label": "Details",
    hidden: true,
  });

  constructor(
    private readonly m: Model,
    private readonly go: Goto,
    private readonly close: () => void,
  ) {}

  show(item: Item): void {
    const logs = near(this.m, item);
    const evidence = item.kind === "alarm" ? (this.m.story.alarms[item.place]?.evidence ?? []) : [];
    this.element.hidden = false;
    this.element.replaceChildren(
      h(
        "h3",
        {},
        `${WORDS[item.kind] === "told" ? "" : `${WORDS[item.kind]}: `}`,
        h("bdi", {}, item.title),
      ),
      h("p", { class: "soft" }, when(item, 1e6)),
      ...item.lines.map((line) => h("p", {}, line)),
      ...(evidence.length
        ? [h("ol", { class: "mono" }, ...evidence.map((line) => h("li", {}, line)))]
        : []),
      h(
        "p",
        { class: "tools" },
        h("button", { type: "button", onclick: () => this.go(item.from, item.to) }, "Zoom to it"),
        " ",
        h("button", { type: "button", onclick: () => this.hide() }, "Close"),
      ),
      ...logs.map((log, i) => excerpt(this.m, log, this.go, i === 0)),
    );
  }

  hide(): void {
    this.element.hidden = true;
    this.close();
  }
}

/** Excerpts around the begin or the end of it, of its own nodes first. */
function near(m: Model, item: Item): Model["story"]["logs"] {
  const distance = (at: number) => Math.min(Math.abs(at - item.from), Math.abs(at - item.to));
  const own = (node: number) => (item.nodes.length === 0 || item.nodes.includes(node) ? 0 : 1);
  return m.story.logs
    .filter((log) => distance(log.at) <= NEAR)
    .sort((a, b) => own(a.node) - own(b.node) || distance(a.at) - distance(b.at))
    .slice(0, 6);
}
