// More clients than fit on a page are looked at page by page.

import { h } from "./dom";
import { CLIENTS_A_PAGE } from "./layout";
import type { Timeline } from "./timeline";

export function clientPages(timeline: Timeline): HTMLElement | null {
  const { lanes, calls, blamed } = timeline.m.story;
  if (lanes.length <= CLIENTS_A_PAGE) return null;
  let first = 0;
  const said = h("span", { "aria-live": "polite" });
  const show = (lane: number) => {
    first = Math.max(0, Math.min(lane, lanes.length - CLIENTS_A_PAGE));
    timeline.showClients(first);
    said.textContent = `Clients ${first + 1}–${first + CLIENTS_A_PAGE} of ${lanes.length}`;
  };
  const turn = (text: string, by: number) =>
    h("button", { type: "button", onclick: () => show(first + by * CLIENTS_A_PAGE) }, text);
  // Whoever a violation is about is on the first page that is seen.
  show(blamed.length ? calls.lane[blamed[0]] : 0);
  return h(
    "div",
    { class: "tools" },
    turn("Earlier clients", -1),
    turn("Further clients", 1),
    " ",
    said,
  );
}
