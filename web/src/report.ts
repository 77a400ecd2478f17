// The page comes alive: the story is unpacked, and everything that is drawn of it put in place.

import { alarms, errors, happened, leftOut, logs, rules } from "./lists";
import { charts } from "./charts";
import { clientPages } from "./clients";
import { contradictions } from "./evidence";
import { Details } from "./details";
import { glance } from "./glance";
import { h, section } from "./dom";
import { items } from "./items";
import { legend } from "./legend";
import { Minimap } from "./minimap";
import { model } from "./model";
import { network } from "./network";
import { printing, themeButton } from "./theming";
import { Timeline } from "./timeline";
import { unpack } from "./unpack";
import { View } from "./view";

const KEYS =
  "Keys on the timeline: + and − zoom, arrows move, Home shows all; n and p step through what " +
  "happened, v through violations, z zooms to it, Enter tells more, Escape lets go.";

async function start(): Promise<void> {
  const packed = document.getElementById("story")?.textContent ?? "";
  const m = model(await unpack(packed));
  const all = items(m);
  const view = new View(m.length);
  const timeline = new Timeline(m, view, all);
  const go = (from: number, to: number) => {
    view.around(from, to);
    // Where both are in sight nothing needs to move.
    const top = timeline.canvas.getBoundingClientRect().top;
    if (top < 0 || top > window.innerHeight * 0.6) scrollTo(timeline.element);
  };
  const details = new Details(m, go, () => timeline.focus(null));
  timeline.chosen = (item) => {
    timeline.focus(item);
    details.show(item);
  };
  const choose = (item: (typeof all)[number]) => {
    go(item.from, item.to);
    timeline.chosen(item);
    timeline.canvas.focus({ preventScroll: true });
  };
  const minimap = new Minimap(m, view, () => timeline.plan);
  const drawn = charts(m, view, () => timeline.plan);
  const hasCalls = m.story.calls.begin.length > 0;

  document.getElementById("glance")?.replaceWith(glance(m, go));
  const parts = [
    section(
      "timeline",
      "Timeline",
      tools(view),
      minimap.canvas,
      timeline.status,
      timeline.element,
      h(
        "p",
        { id: "timeline-keys", class: "soft small" },
        KEYS,
        " The wheel zooms once the timeline was clicked, or with Ctrl; drag moves; ",
        "double click zooms in.",
      ),
      clientPages(timeline),
      legend(m),
      details.element,
    ),
    hasCalls ? section("clients", "What clients saw", drawn.element) : null,
    contradictions(m, go),
    alarms(m, go),
    happened(m, all, choose),
    rules(m, go),
    errors(m),
    network(m),
    logs(m, go),
    leftOut(m),
  ].filter((part) => part !== null);
  document.getElementById("report")?.replaceChildren(...parts);
  document.getElementById("contents")?.append(...links(parts));
  document.getElementById("tools")?.append(themeButton());
  timeline.attach();
  minimap.attach();
  if (hasCalls) drawn.attach();
  printing(() => {
    timeline.draw();
    minimap.draw();
    if (hasCalls) drawn.draw();
  });
  document.documentElement.dataset.ready = "yes";
}

function links(parts: HTMLElement[]): HTMLElement[] {
  return parts.map((part) =>
    h("a", { href: `#${part.id}` }, part.querySelector("h2")?.textContent ?? part.id),
  );
}

function scrollTo(element: HTMLElement): void {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

function tools(view: View): HTMLElement {
  const button = (text: string, label: string, press: () => void) =>
    h("button", { type: "button", "aria-label": label, title: label, onclick: press }, text);
  return h(
    "div",
    { class: "tools", role: "toolbar", "aria-label": "Zoom" },
    button("+", "Zoom in", () => view.zoom(0.5)),
    button("−", "Zoom out", () => view.zoom(2)),
    button("◀", "Earlier", () => view.pan(-0.5)),
    button("▶", "Later", () => view.pan(0.5)),
    button("Whole run", "Show the whole run", () => view.all()),
  );
}

start().catch((error: unknown) => {
  const report = document.getElementById("report");
  const why = error instanceof Error ? error.message : String(error);
  report?.replaceChildren(
    h(
      "p",
      { class: "broken", role: "alert" },
      `This browser could not draw the rest of the report (${why}). The verdict above stands; ` +
        "the run's files hold everything. Browsers since 2023 can.",
    ),
  );
  document.documentElement.dataset.ready = "broken";
  console.error(error);
});
