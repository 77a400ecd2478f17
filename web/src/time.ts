// Times for people: microseconds to text, and where an axis has its ticks.

const MICROS = 1e6;

/** How many digits after the point tell `step` microseconds apart, in seconds. */
export function digits(step: number): number {
  return Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / MICROS) - 1e-9)));
}

/** A point in time, in seconds since the start, so precise that `step` microseconds show. */
export function clock(at: number, step = 1000): string {
  return `${(at / MICROS).toFixed(digits(step))} s`;
}

/** How long, to three figures: `180 µs`, `1.20 ms`, `3.40 s`, `2 min 5 s`. */
export function duration(us: number): string {
  if (us < 0) return `−${duration(-us)}`;
  if (us < 999.5) return `${Math.round(us)} µs`;
  if (us < 999.5e3) return `${figures(us / 1e3)} ms`;
  if (us < 120e6) return `${figures(us / 1e6)} s`;
  const minutes = Math.floor(us / 60e6 + 1e-9);
  const seconds = Math.round(us / 1e6 - minutes * 60);
  if (minutes < 120) return seconds ? `${minutes} min ${seconds} s` : `${minutes} min`;
  const rest = minutes % 60;
  return rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${minutes / 60} h`;
}

function figures(value: number): string {
  if (value < 9.995) return value.toFixed(2);
  return value < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

/** A count with its thousands set apart. */
export function count(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** `1 call`, `2 calls`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A distance of ticks of 1, 2 or 5 times a power of ten, at least `least`. */
export function step(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = [1, 2, 5, 10].find((f) => f * power >= least * (1 - 1e-9)) ?? 10;
  return Math.max(1, factor * power);
}

/** Ticks from `from` to `to`, at most `most` of them, and their distance. */
export function ticks(from: number, to: number, most: number): { at: number[]; step: number } {
  const distance = step((to - from) / Math.max(1, most));
  const at: number[] = [];
  for (let i = Math.ceil(from / distance); i * distance <= to; i++) at.push(i * distance);
  return { at, step: distance };
}
