// At a glance: what was done to the cluster, who led when, what clients felt.

import { h } from "./dom";
import { nodeName } from "./items";
import type { Model } from "./model";
import { clock, count, duration, plural } from "./time";

/** Shows a stretch of time on the timeline, and brings the reader there. */
export type Goto = (from: number, to: number) => void;

const MOST = 8;

export function glance(m: Model, go: Goto): HTMLElement {
  return h("div", { class: "glance" }, done(m, go), led(m, go), felt(m, go));
}

/** A time that can be pressed. */
export function time(go: Goto, from: number, to: number, text = clock(from, 1e4)): HTMLElement {
  return h(
    "button",
    {
      type: "button",
      class: "time",
      title: "Show it on the timeline",
      onclick: () => go(from, to),
    },
    text,
  );
}

function part(title: string, ...children: (Node | string | null)[]): HTMLElement {
  return h("section", {}, h("h3", {}, title), ...children);
}

function list(rows: HTMLElement[], more: string): HTMLElement {
  const left = rows.length - MOST;
  return h(
    "ul",
    {},
    ...rows.slice(0, MOST),
    left > 0 && h("li", { class: "soft" }, `and ${count(left)} more ${more}`),
  );
}

function stretch({ from, to }: { from: number; to: number }): string {
  return to > from ? `${clock(from, 1e4)} for ${duration(to - from)}` : clock(from, 1e4);
}

function done(m: Model, go: Goto): HTMLElement {
  const { bands, rules } = m.story;
  const names = [
    ...new Set([...bands.map((band) => band.rule), ...rules.map((rule) => rule.name)]),
  ];
  const rows = names.map((name) => {
    const own = bands.filter((band) => band.rule === name);
    const sum = rules.find((rule) => rule.name === name);
    const does = [...new Set(own.flatMap((band) => band.does))].join(", ");
    const times = own
      .slice(0, 4)
      .flatMap((band, i) => [
        i ? ", " : "",
        time(go, band.from, band.to, stretch(band)),
      ]);
    const counters =
      sum && own.every((band) => band.kind === "packets")
        ? `: ${count(sum.matched)} packets matched, ${count(sum.acted)} acted on`
        : "";
    return h(
      "li",
      {},
      h("strong", {}, h("bdi", {}, name)),
      does ? `: ${does}` : "",
      own.length ? " (" : ", never active",
      ...times,
      own.length > 4 ? ` and ${plural(own.length - 4, "time")} more` : "",
      own.length ? ")" : "",
      counters,
    );
  });
  return part("Done to the cluster", rows.length ? list(rows, "below") : h("p", {}, "Nothing."));
}

function led(m: Model, go: Goto): HTMLElement {
  const reigns = m.story.nodes.flatMap((node, i) =>
    node.roles.filter((role) => role.role === "leader").map((role) => ({ ...role, i })),
  );
  reigns.sort((a, b) => a.from - b.from);
  // A term that is told late makes two spans of one reign.
  const whole: typeof reigns = [];
  for (const reign of reigns) {
    const last = whole.at(-1);
    const same =
      last &&
      last.i === reign.i &&
      last.to === reign.from &&
      (last.term === reign.term || last.term === null);
    if (same) Object.assign(last, { to: reign.to, term: reign.term });
    else whole.push({ ...reign });
  }
  const rows = whole.map((reign) =>
    h(
      "li",
      {},
      h("strong", {}, h("bdi", {}, nodeName(m, reign.i))),
      reign.term === null ? " led from " : ` led in term ${reign.term} from `,
      time(go, reign.from, reign.to),
      ` for ${duration(reign.to - reign.from)}`,
    ),
  );
  const lost = m.story.elections.filter((election) => election.leader < 0).length;
  return part(
    "Who led",
    rows.length ? list(rows, "on the timeline") : h("p", {}, "Nobody is known to have led."),
    lost ? h("p", {}, `${plural(lost, "election")} came to nothing.`) : null,
  );
}

function felt(m: Model, go: Goto): HTMLElement {
  const { loads, unavailable, recovery } = m.story;
  const rows = loads.map((load) => {
    const often = load.errors[0];
    return h(
      "li",
      {},
      h("strong", {}, load.workload),
      ` (${plural(load.clients, "client")}): `,
      `${count(load.ok)} answered, ${count(load.failed)} failed, ${count(load.unknown)} unknown`,
      load.ok ? `; half took under ${duration(load.p50)}, 99 % under ${duration(load.p99)}.` : ".",
      often ? ` Most often: ${often.why} (${count(often.times)}×).` : "",
    );
  });
  const longest = [...unavailable].sort((a, b) => b.to - b.from - (a.to - a.from));
  for (const outage of longest.slice(0, 4)) {
    rows.push(
      h(
        "li",
        {},
        "No node took a write for ",
        h("strong", {}, duration(outage.to - outage.from)),
        outage.ended ? ", from " : ", to the end, from ",
        time(go, outage.from, outage.to),
      ),
    );
  }
  if (longest.length > 4) {
    const rest = longest.slice(4).reduce((sum, o) => sum + o.to - o.from, 0);
    rows.push(
      h("li", {}, `${plural(longest.length - 4, "shorter outage")}, together ${duration(rest)}`),
    );
  }
  if (recovery) {
    const limit = duration(recovery.limit);
    rows.push(
      recovery.after < 0
        ? h("li", {}, `Writes never succeeded again after healing; ${limit} were allowed.`)
        : h(
            "li",
            {},
            `A write succeeded ${duration(recovery.after)} after `,
            time(go, recovery.healed, recovery.healed + recovery.after, "healing"),
            ` (${limit} allowed).`,
          ),
    );
  }
  return part(
    "What clients felt",
    rows.length ? h("ul", {}, ...rows) : h("p", {}, "No clients of raftq's own."),
  );
}
