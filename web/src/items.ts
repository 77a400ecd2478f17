// Everything that happened at a time and has a name: what lists show, keys step through, and
// details are told of.

import { clock, count, duration } from "./time";
import type { Model } from "./model";

export type Kind =
  | "fault"
  | "election"
  | "alarm"
  | "died"
  | "done"
  | "switched"
  | "told"
  | "term"
  | "leader"
  | "outage"
  | "violation";

export interface Item {
  kind: Kind;
  from: number;
  to: number;
  title: string;
  lines: string[];
  nodes: number[];
  /** Its place in the story's own list. */
  place: number;
}

/** Most telling first; what a list leaves out is from the end. */
export const RANK: Record<Kind, number> = {
  violation: 0,
  alarm: 1,
  fault: 2,
  outage: 3,
  died: 4,
  election: 5,
  done: 6,
  switched: 7,
  leader: 8,
  term: 9,
  told: 10,
};

export const WORDS: Record<Kind, string> = {
  violation: "violation",
  alarm: "invariant",
  fault: "fault",
  outage: "no writes",
  died: "died",
  election: "election",
  done: "done",
  switched: "switched",
  leader: "leader",
  term: "term",
  told: "told",
};

export function items(m: Model): Item[] {
  const all = [
    ...faults(m),
    ...elections(m),
    ...moments(m),
    ...alarms(m),
    ...outages(m),
    ...violations(m),
  ];
  return all.sort((a, b) => a.from - b.from || RANK[a.kind] - RANK[b.kind]);
}

export function nodeName(m: Model, node: number): string {
  return m.story.nodes[node]?.name ?? "an unknown node";
}

/** `n1 → n2, n1 ↔ n3`: links in words, both directions of a pair as one. */
export function links(m: Model, pairs: [number, number][]): string {
  const has = new Set(pairs.map(([from, to]) => `${from} ${to}`));
  const words = pairs.flatMap(([from, to]) => {
    const both = has.has(`${to} ${from}`);
    if (both && from > to) return [];
    return [`${nodeName(m, from)} ${both ? "↔" : "→"} ${nodeName(m, to)}`];
  });
  return words.length > 12
    ? `${words.slice(0, 12).join(", ")} and ${words.length - 12} more`
    : words.join(", ");
}

function faults(m: Model): Item[] {
  return m.story.bands.map((band, place) => {
    const nodes = new Set([...band.nodes, ...band.links.flat()]);
    const counters =
      band.matched < 0
        ? "matched and acted are not known of this activation"
        : `${count(band.matched)} matched, ${count(band.acted)} acted on` +
          (band.leaked > 0 ? `, ${count(band.leaked)} leaked` : "");
    return {
      kind: "fault",
      place,
      from: band.from,
      to: band.to,
      nodes: [...nodes],
      title: band.rule,
      lines: [
        band.does.join(", "),
        band.links.length ? links(m, band.links) : band.nodes.map((n) => nodeName(m, n)).join(", "),
        band.ended ? `for ${duration(band.to - band.from)}` : "never ended",
        band.kind === "packets" ? counters : "",
        band.why,
      ].filter(Boolean),
    };
  });
}

function elections(m: Model): Item[] {
  return m.story.elections.map((e, place) => {
    const stood = e.candidates.map((n) => nodeName(m, n)).join(", ");
    const won = e.leader < 0 ? "nobody won" : `${nodeName(m, e.leader)} won`;
    return {
      kind: "election",
      place,
      from: e.at,
      to: e.took > 0 ? e.at + e.took : e.at,
      nodes: e.leader < 0 ? e.candidates : [...new Set([...e.candidates, e.leader])],
      title: `term ${e.term}${e.group ? ` of ${e.group}` : ""}: ${won}`,
      lines: [stood ? `stood: ${stood}` : "", e.took >= 0 ? `took ${duration(e.took)}` : ""].filter(
        Boolean,
      ),
    };
  });
}

function moments(m: Model): Item[] {
  return m.story.moments.map((moment, place) => ({
    kind: moment.kind,
    place,
    from: moment.at,
    to: moment.at,
    nodes: moment.node < 0 ? [] : [moment.node],
    title: moment.text,
    lines: [],
  }));
}

function alarms(m: Model): Item[] {
  return m.story.alarms.map((alarm, place) => ({
    kind: "alarm",
    place,
    from: alarm.at,
    to: alarm.at,
    nodes: alarm.nodes,
    title: alarm.invariant,
    lines: [alarm.said],
  }));
}

function outages(m: Model): Item[] {
  return m.story.unavailable.map((outage, place) => ({
    kind: "outage",
    place,
    from: outage.from,
    to: outage.to,
    nodes: [],
    title: `no node took a write for ${duration(outage.to - outage.from)}`,
    lines: outage.ended ? [] : ["until the end"],
  }));
}

function violations(m: Model): Item[] {
  return m.story.blamed.map((call) => ({ ...ofCall(m, call), kind: "violation" as const }));
}

const OUTCOMES = ["answered", "surely not done", "unknown whether it was done"];

/** A call, told as an item. */
export function ofCall(m: Model, call: number): Item {
  const { calls, texts, functions, keys, lanes } = m.story;
  const begin = m.begin[call];
  const end = m.end[call];
  const node = calls.node[call];
  const key = calls.key[call] >= 0 ? ` ${keys[calls.key[call]]}` : "";
  const asked = node < 0 ? "" : ` asked ${nodeName(m, node)}`;
  const took = end < 0 ? "never answered" : `after ${duration(end - begin)}`;
  return {
    kind: "told",
    place: call,
    from: begin,
    to: end < 0 ? begin : end,
    nodes: node < 0 ? [] : [node],
    title: texts[calls.text[call]] ?? `${functions[calls.f[call]] ?? "call"}${key}`,
    lines: [
      `${lanes[calls.lane[call]]?.name ?? "a client"}${asked}`,
      `${OUTCOMES[calls.outcome[call]] ?? ""}, ${took}`,
      m.blamed[call] ? "part of a violation" : "",
    ].filter(Boolean),
  };
}

const FATES = ["passed", "delayed", "dropped", "reset", "changed"];

/** A message, told as an item. */
export function ofMessage(m: Model, i: number): Item {
  const { messages, kinds } = m.story;
  const t = m.messages;
  const delay = t.delay[i];
  const late = delay > 0 ? ` by ${duration(delay)}` : "";
  const term = messages.term[i] >= 0 ? `term ${messages.term[i]}` : "";
  return {
    kind: "told",
    place: i,
    from: t.at[i],
    to: t.at[i] + Math.max(0, delay),
    nodes: [t.from[i], t.to[i]].filter((n) => n >= 0),
    title: (kinds[messages.kind[i]] ?? "message").replaceAll("_", " "),
    lines: [
      `${nodeName(m, t.from[i])} → ${nodeName(m, t.to[i])}`,
      term,
      `${FATES[t.fate[i]] ?? ""}${late}`,
    ].filter(Boolean),
  };
}

/** When, in words, so precise as the shown span asks for. */
export function when(item: { from: number; to: number }, span: number): string {
  const step = span / 1000;
  const from = clock(item.from, Math.min(1000, step));
  return item.to > item.from ? `${from} – ${clock(item.to, Math.min(1000, step))}` : from;
}
