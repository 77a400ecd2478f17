// The story in the shape that drawing wants: typed columns, one set a lane, sorted and searchable.

import type { Story } from "./story";
import { Weighed } from "./scan";
import { Cloud, Latencies } from "./stats";

export const OK = 0;
export const FAILED = 1;
export const UNKNOWN = 2;
export const PASSED = 0;
export const DELAYED = 1;
export const DROPPED = 2;
export const RESET = 3;

/** Calls of one client and outcome, or all of it. */
export interface Strip {
  index: Uint32Array;
  begin: Float64Array;
  /** Where its bar ends: of a call without an answer, where the client's next one begins. */
  until: Float64Array;
}

export interface ClientLane {
  name: string;
  load: number;
  ok: Strip;
  failed: Strip;
  unknown: Strip;
  blamed: number[];
}

/** Messages or packets: their times, and those times again of the disturbed ones. */
export interface Traffic {
  at: Float64Array;
  from: Int32Array;
  to: Int32Array;
  fate: Uint8Array;
  delay: Float64Array;
  stopped: Float64Array;
  /** The longest delay. */
  longest: number;
  delayed: Float64Array;
  /** Those of which nobody knows what became. */
  untold: Float64Array;
}

export interface Model {
  story: Story;
  length: number;
  clients: ClientLane[];
  begin: Float64Array;
  end: Float64Array;
  until: Float64Array;
  blamed: Uint8Array;
  /** How many calls each stands for; null where none is left out. */
  weight: Float64Array | null;
  messages: Traffic;
  packets: Traffic | null;
  latencies: Latencies;
  cloud: Cloud;
  /** When calls ended, by outcome; of those without an answer, when they began. */
  done: [Weighed, Weighed, Weighed];
}

export function model(story: Story): Model {
  const { calls } = story;
  const length = Math.max(1, story.run.length);
  const begin = Float64Array.from(calls.begin);
  const end = Float64Array.from(calls.end);
  const byLane = lanes(calls.lane, story.lanes.length);
  const until = ends(begin, end, byLane, length);
  const blamed = new Uint8Array(begin.length);
  for (const call of story.blamed) blamed[call] = 1;
  const weight = calls.weight.length ? Float64Array.from(calls.weight) : null;
  const [latencies, cloud] = latency(story, begin, end, weight, length);
  return {
    story,
    length,
    begin,
    end,
    until,
    blamed,
    weight,
    latencies,
    cloud,
    clients: story.lanes.map((lane, i) => {
      const of = (outcome: number) =>
        strip(
          byLane[i].filter((call) => calls.outcome[call] === outcome),
          begin,
          until,
        );
      return {
        ...lane,
        ok: of(OK),
        failed: of(FAILED),
        unknown: of(UNKNOWN),
        blamed: Array.from(byLane[i].filter((call) => blamed[call] === 1)),
      };
    }),
    messages: traffic(story.messages),
    packets: story.packets && traffic(story.packets),
    done: [OK, FAILED, UNKNOWN].map((outcome) =>
      finished(story, begin, end, weight, outcome),
    ) as Model["done"],
  };
}

/** Which calls each lane has, in order of their begin, as the columns are. */
function lanes(lane: number[], n: number): Uint32Array[] {
  const sizes = new Uint32Array(n);
  for (const l of lane) sizes[l]++;
  const out = Array.from(sizes, (size) => new Uint32Array(size));
  sizes.fill(0);
  lane.forEach((l, call) => (out[l][sizes[l]++] = call));
  return out;
}

function ends(
  begin: Float64Array,
  end: Float64Array,
  byLane: Uint32Array[],
  length: number,
): Float64Array {
  const until = Float64Array.from(end);
  for (const calls of byLane) {
    for (let i = 0; i < calls.length; i++) {
      if (end[calls[i]] >= 0) continue;
      until[calls[i]] = i + 1 < calls.length ? begin[calls[i + 1]] : length;
    }
  }
  return until;
}

function strip(index: Uint32Array, begin: Float64Array, until: Float64Array): Strip {
  return {
    index,
    begin: Float64Array.from(index, (i) => begin[i]),
    until: Float64Array.from(index, (i) => until[i]),
  };
}

function finished(
  story: Story,
  begin: Float64Array,
  end: Float64Array,
  weight: Float64Array | null,
  outcome: number,
): Weighed {
  const when = (i: number) => (end[i] >= 0 ? end[i] : begin[i]);
  const of = Uint32Array.from(begin.keys()).filter((i) => story.calls.outcome[i] === outcome);
  of.sort((a, b) => when(a) - when(b));
  const weights = weight && Float64Array.from(of, (i) => weight[i]);
  return new Weighed(Float64Array.from(of, when), weights);
}

function latency(
  story: Story,
  begin: Float64Array,
  end: Float64Array,
  weight: Float64Array | null,
  length: number,
): [Latencies, Cloud] {
  const answered = Uint32Array.from(begin.keys()).filter((i) => end[i] >= 0);
  answered.sort((a, b) => end[a] - end[b]);
  const { outcome } = story.calls;
  const at = Float64Array.from(answered, (i) => end[i]);
  const took = Float64Array.from(answered, (i) => Math.max(1, end[i] - begin[i]));
  const kind = Uint8Array.from(answered, (i) => outcome[i]);
  // Percentiles are of answers; how soon a failure is told says nothing of the cluster's work.
  const ok = answered.filter((i) => outcome[i] === OK);
  return [
    new Latencies(
      Float64Array.from(ok, (i) => end[i]),
      Float64Array.from(ok, (i) => Math.max(1, end[i] - begin[i])),
      length,
      weight && Float64Array.from(ok, (i) => weight[i]),
    ),
    new Cloud(at, took, kind, length),
  ];
}

/** What passed has its delay, 0 where there was none; where that is missing, too, it is not known
 *  whether it passed. */
export function isTold(fate: number, delay: number): boolean {
  return fate !== PASSED || delay >= 0;
}

export function traffic(columns: {
  at: number[];
  from: number[];
  to: number[];
  fate: number[];
  delay: number[];
}): Traffic {
  const at = Float64Array.from(columns.at);
  const fate = Uint8Array.from(columns.fate);
  return {
    at,
    fate,
    from: Int32Array.from(columns.from),
    to: Int32Array.from(columns.to),
    delay: Float64Array.from(columns.delay),
    longest: columns.delay.reduce((a, b) => Math.max(a, b), 0),
    stopped: at.filter((_, i) => fate[i] === DROPPED || fate[i] === RESET),
    delayed: at.filter((_, i) => fate[i] === DELAYED),
    untold: at.filter((_, i) => !isTold(fate[i], columns.delay[i])),
  };
}
