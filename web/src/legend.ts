// What the timeline's signs mean, drawn as they are drawn there.

import { h, svg } from "./dom";
import type { Model } from "./model";

const SIZE = { width: 26, height: 16, viewBox: "0 0 26 16", "aria-hidden": true } as const;

function entry(text: string, ...shapes: SVGElement[]): HTMLElement {
  return h("li", {}, svg("svg", { ...SIZE }, ...shapes), text);
}

const path = (d: string, kind: string) => svg("path", { d, class: kind });

export function legend(m: Model): HTMLElement {
  const { story } = m;
  const out = [
    entry("leader", path("M0 1h26v14H0z", "leader")),
    entry("follower", path("M0 5h26v6H0z", "follower")),
    entry(
      "candidate",
      path("M.5 1.5h25v13H.5z", "candidate"),
      path("M4 2v12M9 2v12M14 2v12M19 2v12M24 2v12", "candidate"),
    ),
    entry(
      "down",
      path("M.5 1.5h25v13H.5z", "down"),
      path("M2 14 14 2M10 14 22 2M18 14l7-7M2 2l12 12M10 2l12 12", "down"),
    ),
    entry("paused", path("M.5 1.5h25v13H.5z", "down"), path("M1 5h24M1 8h24M1 11h24", "down")),
    entry(
      "fault",
      path("M.5 1.5h25v13H.5z", "fault"),
      path("M2 14 14 2M8 14 20 2M14 14l10-10", "fault"),
    ),
  ];
  if (story.unavailable.length)
    out.push(
      entry(
        "no node took a write",
        path("M.5 3.5h25v9H.5z", "violated"),
        path("M1 6.5h24M1 9.5h24", "violated"),
      ),
    );
  if (story.elections.length)
    out.push(entry("election", path("M13 2l6 11H7z", "candidate filled")));
  if (story.moments.some((moment) => moment.kind === "died"))
    out.push(entry("died", path("M8 3l10 10M18 3 8 13", "violated thick")));
  if (story.alarms.length)
    out.push(entry("invariant violated", path("M13 1l6 7-6 7-6-7z", "violated filled")));
  if (story.messages.at.length) {
    out.push(entry("message", path("M8 1v11", "soft"), path("M5 9h6l-3 6z", "soft filled")));
    out.push(
      entry("dropped", path("M13 0v7", "violated"), path("M9 7l8 8M17 7l-8 8", "violated thick")),
    );
  }
  if (story.lanes.length) {
    out.push(entry("answered", path("M1 4.5h23v7H1z", "ok filled")));
    out.push(
      entry("failed", path("M1 4.5h23v7H1z", "failed"), path("M17 5l6 6M23 5l-6 6", "failed")),
    );
    out.push(
      entry(
        "unknown",
        path("M1 4h2v8H1z", "unknown filled"),
        path("M2 4.5h23M2 11.5h23", "unknown dash"),
      ),
    );
  }
  if (story.blamed.length)
    out.push(
      entry(
        "part of a violation",
        path("M3 7h20v8H3z", "violated thick"),
        path("M9 0h8l-4 5z", "violated filled"),
      ),
    );
  return h("ul", { class: "legend", "aria-label": "Legend" }, ...out);
}
