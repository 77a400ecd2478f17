// The part of the run that is shown. Everything that draws listens to it.

export class View {
  from = 0;
  to: number;
  readonly length: number;
  // Shorter than this nothing happens: a round trip inside a machine is 50 us.
  readonly least: number;
  private readonly listeners: (() => void)[] = [];

  constructor(length: number) {
    this.length = Math.max(1, length);
    this.to = this.length;
    this.least = Math.min(50, this.length);
  }

  get span(): number {
    return this.to - this.from;
  }

  get whole(): boolean {
    return this.from <= 0 && this.to >= this.length;
  }

  listen(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Shows from `from` to `to`, moved into the run, or as much of it as there is. */
  show(from: number, to: number): void {
    const span = Math.min(this.length, Math.max(this.least, to - from));
    const middle = (from + to) / 2;
    const begin = Math.min(this.length - span, Math.max(0, middle - span / 2));
    if (begin === this.from && begin + span === this.to) return;
    this.from = begin;
    this.to = begin + span;
    for (const listener of this.listeners) listener();
  }

  all(): void {
    this.show(0, this.length);
  }

  /** `factor` below 1 zooms in; what is at `at` stays where it is. */
  zoom(factor: number, at = (this.from + this.to) / 2): void {
    const span = Math.min(this.length, Math.max(this.least, this.span * factor));
    const share = (at - this.from) / this.span;
    const from = at - share * span;
    this.show(from, from + span);
  }

  /** Moves by a share of what is shown. */
  pan(share: number): void {
    const by = Math.min(this.length - this.to, Math.max(-this.from, share * this.span));
    this.show(this.from + by, this.to + by);
  }

  /** Shows a stretch with some room around it; a moment, with 100 ms at most. */
  around(from: number, to: number): void {
    const room = to > from ? (to - from) * 0.25 : Math.min(50_000, this.length / 20);
    this.show(from - room, to + room);
  }

  /** Moves as little as shows `from`, at the same zoom. */
  reveal(from: number, to: number): void {
    if (from >= this.from && to <= this.to) return;
    if (to - from > this.span) this.around(from, to);
    else this.show((from + to - this.span) / 2, (from + to + this.span) / 2);
  }
}
