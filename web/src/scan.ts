// Sorted columns, searched: what keeps a redraw a matter of pixels and not of calls.

export type Column = ArrayLike<number>;

/** The first place in `[lo, hi)` whose value is not below `value`. */
export function lowerBound(column: Column, value: number, lo = 0, hi = column.length): number {
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (column[mid] < value) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** The first place whose value is above `value`. */
export function upperBound(column: Column, value: number, lo = 0, hi = column.length): number {
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (column[mid] <= value) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** The first item for which `past` holds; it holds for all behind it as well. */
export function firstWhere<T>(items: ArrayLike<T>, past: (item: T) => boolean): number {
  let lo = 0;
  let hi = items.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (past(items[mid])) hi = mid;
    else lo = mid + 1;
  }
  return lo;
}

/** Something to draw: items `first` to `last`, which take the time from `from` to `to`. */
export type Emit = (first: number, last: number, from: number, to: number) => void;

// An item that began before the view is looked for among so many before it; lanes are nearly
// sequential, so one is the rule.
const BACK = 64;

/**
 * The items of a lane that are seen between `from` and `to`, those narrower than `wide` pixels
 * merged with what begins within a pixel after them. Emits a bounded number for any number of
 * items: each merge searches its next item instead of walking there.
 */
export function merged(
  begin: Column,
  until: Column,
  from: number,
  to: number,
  pixel: number,
  wide: number,
  emit: Emit,
): void {
  const n = begin.length;
  let i = Math.max(0, lowerBound(begin, from) - BACK);
  while (i < n && begin[i] < from && until[i] < from) i++;
  while (i < n && begin[i] <= to) {
    if (until[i] - begin[i] >= wide * pixel) {
      emit(i, i, begin[i], until[i]);
      i++;
      continue;
    }
    const first = i;
    let end = Math.max(begin[i] + pixel, until[i]);
    for (;;) {
      // Not beyond the view: calls may be as close as this to the end of the run.
      const next = end <= to ? lowerBound(begin, end, i + 1) : upperBound(begin, to, i + 1);
      if (next === i + 1) break;
      const last = next - 1;
      if (until[last] - begin[last] >= wide * pixel) {
        i = last - 1;
        break;
      }
      i = last;
      end = Math.max(begin[i] + pixel, until[i]);
    }
    emit(first, i, begin[first], end);
    i++;
  }
}

/** How many values of a sorted column fall into each of `bins` equal parts of `[from, to)`. */
export function counted(column: Column, from: number, to: number, bins: number): Uint32Array {
  const counts = new Uint32Array(bins);
  const width = (to - from) / bins;
  let at = lowerBound(column, from);
  for (let bin = 0; bin < bins; bin++) {
    const next = lowerBound(column, from + (bin + 1) * width, at);
    counts[bin] = next - at;
    at = next;
  }
  return counts;
}

/** Times in order, each of which may stand for several. */
export class Weighed {
  /** How much stands before each; null where each stands for itself. */
  private readonly before: Float64Array | null;

  /** Both columns in order of time; `weight` is null where each stands for itself. */
  constructor(
    readonly at: Float64Array,
    weight: Column | null,
  ) {
    this.before = weight && new Float64Array(at.length + 1);
    if (!weight || !this.before) return;
    for (let i = 0; i < at.length; i++) this.before[i + 1] = this.before[i] + weight[i];
  }

  /** How many fall into `[from, to)`. */
  between(from: number, to: number): number {
    const first = lowerBound(this.at, from);
    return this.sum(first, lowerBound(this.at, to, first));
  }

  /** How many fall into each of `bins` equal parts of `[from, to)`. */
  counted(from: number, to: number, bins: number): Float64Array {
    const counts = Float64Array.from(counted(this.at, from, to, bins));
    if (!this.before) return counts;
    let at = lowerBound(this.at, from);
    for (let bin = 0; bin < bins; bin++) {
      const next = at + counts[bin];
      counts[bin] = this.sum(at, next);
      at = next;
    }
    return counts;
  }

  private sum(first: number, last: number): number {
    return this.before ? this.before[last] - this.before[first] : last - first;
  }
}

/** Puts intervals into as few rows as possible, in order of their begin; gives each one's row. */
export function rows(intervals: { from: number; to: number }[], gap = 0): number[] {
  const order = intervals.map((_, i) => i).sort((a, b) => intervals[a].from - intervals[b].from);
  const ends: number[] = [];
  const row = new Array<number>(intervals.length).fill(0);
  for (const i of order) {
    let at = ends.findIndex((end) => end + gap <= intervals[i].from);
    if (at < 0) at = ends.push(0) - 1;
    ends[at] = intervals[i].to;
    row[i] = at;
  }
  return row;
}
