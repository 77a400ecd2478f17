// Latencies: exact percentiles where calls are few, a log histogram where they are many.

import { lowerBound, type Column } from "./scan";

// 96 buckets a decade: a value is told to 2.4 %. From 1 us to 1,000 s.
const A_DECADE = 96;
const DECADES = 9;
export const BUCKETS = A_DECADE * DECADES;

export function bucket(us: number): number {
  const b = Math.floor(Math.log10(Math.max(1, us)) * A_DECADE + 1e-9);
  return Math.min(BUCKETS - 1, b);
}

/** The middle of a bucket. */
export function ofBucket(b: number): number {
  return 10 ** ((b + 0.5) / A_DECADE);
}

/** The q-quantile by nearest rank: the least value that q of all do not exceed. */
export function quantile(sorted: Column, q: number): number {
  if (sorted.length === 0) return NaN;
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

/** The same of counts by bucket. */
export function quantileOf(counts: Column, total: number, q: number): number {
  let left = Math.max(1, Math.ceil(q * total));
  for (let b = 0; b < counts.length; b++) {
    left -= counts[b];
    if (left <= 0) return ofBucket(b);
  }
  return NaN;
}

export interface Percentiles {
  p50: (number | null)[];
  p90: (number | null)[];
  p99: (number | null)[];
}

/** The same of values that each stand for so many. */
export function quantileWeighed(values: Column, weights: Column, q: number): number {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i);
  order.sort((a, b) => values[a] - values[b]);
  const total = order.reduce((sum, i) => sum + weights[i], 0);
  let left = Math.max(1, Math.ceil(q * total));
  for (const i of order) {
    left -= weights[i];
    if (left <= 0) return values[i];
  }
  return NaN;
}

const EXACT_MAX = 4096;
// Sorted by way of their places, which takes its time.
const EXACT_WEIGHED_MAX = 256;
const BINS = 1024;

/** Latencies of answered calls, by the time of their answer; built once, asked at each zoom. */
export class Latencies {
  readonly at: Float64Array;
  readonly took: Float64Array;
  private readonly weight: Float64Array | null;
  private readonly width: number;
  private readonly bins: { place: number; count: number }[][];

  /** `weight` says how many calls each stands for; null where each stands for itself. */
  constructor(at: Float64Array, took: Float64Array, length: number, weight: Column | null = null) {
    const order = Uint32Array.from(at.keys()).sort((a, b) => at[a] - at[b]);
    this.at = Float64Array.from(order, (i) => at[i]);
    this.took = Float64Array.from(order, (i) => took[i]);
    this.weight = weight && Float64Array.from(order, (i) => weight[i]);
    this.width = Math.max(1, length / BINS);
    // Sparse: a bin of a few milliseconds knows a handful of latencies.
    const maps = Array.from({ length: BINS }, () => new Map<number, number>());
    for (let i = 0; i < this.at.length; i++) {
      const bin = Math.min(BINS - 1, Math.max(0, Math.floor(this.at[i] / this.width)));
      const b = bucket(this.took[i]);
      maps[bin].set(b, (maps[bin].get(b) ?? 0) + (this.weight?.[i] ?? 1));
    }
    this.bins = maps.map((m) => Array.from(m, ([place, count]) => ({ place, count })));
  }

  /**
   * Where bins may begin and end, so that the histogram serves: multiples of `width` for wide
   * ones. Gives the edges of about `most` bins over `[from, to]`.
   */
  edges(from: number, to: number, most: number): number[] {
    let width = (to - from) / most;
    if (width > this.width) width = Math.ceil(width / this.width) * this.width;
    const edges: number[] = [];
    for (let i = Math.floor(from / width); i * width < to + width; i++) edges.push(i * width);
    return edges;
  }

  /** Of each bin between two edges; null where nothing was answered. */
  percentiles(edges: number[]): Percentiles {
    const out: Percentiles = { p50: [], p90: [], p99: [] };
    for (let i = 0; i + 1 < edges.length; i++) {
      const [p50, p90, p99] = this.between(edges[i], edges[i + 1], [0.5, 0.9, 0.99]);
      out.p50.push(p50);
      out.p90.push(p90);
      out.p99.push(p99);
    }
    return out;
  }

  /** Quantiles of what was answered in `[from, to)`; null where nothing was. */
  between(from: number, to: number, qs: number[]): (number | null)[] {
    const first = lowerBound(this.at, from);
    const last = lowerBound(this.at, to, first);
    if (first === last) return qs.map(() => null);
    if (this.weight && last - first <= EXACT_WEIGHED_MAX) {
      const [values, weights] = [this.took, this.weight].map((all) => all.subarray(first, last));
      return qs.map((q) => quantileWeighed(values, weights, q));
    }
    if (!this.weight && last - first <= EXACT_MAX) {
      const sorted = this.took.slice(first, last).sort();
      return qs.map((q) => quantile(sorted, q));
    }
    const counts = new Float64Array(BUCKETS);
    let total = 0;
    // Of bins that are cut by an edge the calls themselves are counted.
    const whole = [Math.ceil(from / this.width - 1e-9), Math.floor(to / this.width + 1e-9)];
    const lo = lowerBound(this.at, whole[0] * this.width, first, last);
    const hi = Math.max(lo, lowerBound(this.at, whole[1] * this.width, first, last));
    for (let b = Math.max(0, whole[0]); b < Math.min(BINS, whole[1]); b++) {
      for (const { place, count } of this.bins[b]) {
        counts[place] += count;
        total += count;
      }
    }
    for (let i = first; i < last; i++) {
      if (i === lo) i = hi;
      if (i >= last) break;
      const weight = this.weight?.[i] ?? 1;
      counts[bucket(this.took[i])] += weight;
      total += weight;
    }
    return qs.map((q) => quantileOf(counts, total, q));
  }
}

/** Points of a scatter, thinned: one a cell of time, latency and kind, at several resolutions. */
export class Cloud {
  private readonly levels: {
    cell: number;
    at: Float64Array;
    took: Float64Array;
    kind: Uint8Array;
  }[] = [];

  /** `at` is sorted. The finest level is the calls themselves. */
  constructor(at: Float64Array, took: Float64Array, kind: Uint8Array, length: number) {
    let level = { cell: 0, at, took, kind };
    this.levels.push(level);
    for (let cells = 1 << 18; cells >= 256; cells >>= 1) {
      const cell = Math.max(1, length / cells);
      const thin = thinned(level, cell);
      // A level that saves nothing is not kept.
      if (thin.at.length < level.at.length * 0.8) {
        level = thin;
        this.levels.push(level);
      }
    }
  }

  /** The powers of ten that hold every point, and the percentiles of any of them. */
  range(): [number, number] {
    const { took } = this.levels[0];
    let [least, most] = [Infinity, 0];
    for (const us of took) [least, most] = [Math.min(least, us), Math.max(most, us)];
    if (!took.length) return [100, 1e6];
    // A percentile is told as the middle of its bucket, which may be above the highest point.
    return [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most * 1.02))];
  }

  /** The level for pixels of `pixel` microseconds, and which of its points are in the view. */
  points(from: number, to: number, pixel: number) {
    let level = this.levels[0];
    for (const coarser of this.levels) if (coarser.cell <= pixel * 1.5) level = coarser;
    const first = lowerBound(level.at, from);
    return { ...level, first, last: lowerBound(level.at, to, first) };
  }
}

function thinned(
  from: { at: Float64Array; took: Float64Array; kind: Uint8Array },
  cell: number,
): { cell: number; at: Float64Array; took: Float64Array; kind: Uint8Array } {
  const keep: number[] = [];
  const seen = new Set<number>();
  let now = -1;
  for (let i = 0; i < from.at.length; i++) {
    const at = Math.floor(from.at[i] / cell);
    if (at !== now) seen.clear();
    now = at;
    // A quarter of the histogram's buckets: 24 a decade, about as high as a point.
    const place = (bucket(from.took[i]) >> 2) * 4 + from.kind[i];
    if (seen.has(place)) continue;
    seen.add(place);
    keep.push(i);
  }
  return {
    cell,
    at: Float64Array.from(keep, (i) => from.at[i]),
    took: Float64Array.from(keep, (i) => from.took[i]),
    kind: Uint8Array.from(keep, (i) => from.kind[i]),
  };
}
