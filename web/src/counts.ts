// Counts in words; where a page holds only some of what there was, they say so.

import { FAILED, OK, UNKNOWN, type Model } from "./model";
import { count, duration, plural } from "./time";

/** The calls of a stretch in a sentence: the charts, for who does not see them. Where calls are
 *  left out, those that are kept stand for them, but the slowest of all may not be among them. */
export function callsInView(m: Model, from: number, to: number): string {
  const [p50, p90, p99, max] = m.latencies.between(from, to, [0.5, 0.9, 0.99, 1]);
  const told =
    p50 === null
      ? ""
      : `; answers took ${duration(p50)} (half), ${duration(p90 ?? 0)} (90 %), ` +
        `${duration(p99 ?? 0)} (99 %), at most ${duration(max ?? 0)}`;
  const n = m.done.map((done) => done.between(from, to));
  const [ok, failed, unknown] = [n[OK], n[FAILED], n[UNKNOWN]].map(count);
  const about = m.weight ? "about " : "";
  const sample = m.weight ? `${told ? " in the sample" : ""}; estimated from a sample` : "";
  return `In view: ${about}${ok} answered, ${failed} failed, ${unknown} unknown${told}${sample}`;
}

/** How many calls these stand for, in words. */
export function callsOf(m: Model, index: ArrayLike<number>, first: number, last: number): string {
  const { weight } = m;
  if (!weight) return plural(last - first, "call");
  let n = 0;
  for (let i = first; i < last; i++) n += weight[index[i]];
  return `about ${plural(n, "call")}`;
}

/** Said beside a count of messages or packets of which some are left out. */
export function sample(m: Model, what: "messages" | "packets"): string {
  // The words of whoever left them out: how many, and of what.
  const some = m.story.left_out.some((line) => new RegExp(`^\\d+ ${what}$`).test(line));
  return some ? " (a sample)" : "";
}
