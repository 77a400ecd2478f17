// Colours and hatching for canvases, taken from the page's own style, so that both agree.

const NAMES = [
  "ink",
  "soft",
  "faint",
  "line",
  "paper",
  "panel",
  "leader",
  "on-leader",
  "follower",
  "candidate",
  "down",
  "fault",
  "ok",
  "failed",
  "unknown",
  "violated",
  "vote",
  "delayed",
  "focus",
  "p50",
  "p90",
  "p99",
] as const;

export type Colour = (typeof NAMES)[number];
export type Palette = Record<Colour, string> & { font: string; mono: string };

let now: Palette | null = null;

export function palette(): Palette {
  if (now) return now;
  const style = getComputedStyle(document.documentElement);
  const out = {
    font: style.getPropertyValue("--font"),
    mono: style.getPropertyValue("--mono"),
  } as Palette;
  // What a name means in this theme shows only where it is used.
  const probe = document.documentElement.appendChild(document.createElement("i"));
  probe.hidden = true;
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    out[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  now = out;
  return out;
}

/** The same colour, so much of it: a browser tells colours as `rgb(r, g, b)`. */
export function faded(colour: string, share: number): string {
  return colour.replace("rgb(", "rgba(").replace(")", `, ${share})`);
}

const listeners: (() => void)[] = [];

/** Calls when colours have changed, by the reader's toggle, the system's, or for printing. */
export function onTheme(listener: () => void): void {
  listeners.push(listener);
}

export function retheme(): void {
  now = null;
  hatches.clear();
  for (const listener of listeners) listener();
}

export type Hatch = "/" | "\\" | "-" | "|" | "x" | ".";
const hatches = new Map<string, CanvasPattern>();

/** A pattern of thin lines, so that what a colour says is said without it as well. */
export function hatch(
  context: CanvasRenderingContext2D,
  colour: string,
  kind: Hatch,
  gap = 7,
): CanvasPattern | string {
  const key = `${colour} ${kind} ${gap}`;
  const known = hatches.get(key);
  if (known) return known;
  const tile = document.createElement("canvas");
  const scale = 2;
  tile.width = tile.height = gap * scale;
  const c = tile.getContext("2d");
  if (!c) return colour;
  c.scale(scale, scale);
  c.strokeStyle = c.fillStyle = colour;
  c.lineWidth = 1.2;
  c.beginPath();
  if (kind === "/" || kind === "x") lines(c, gap, 1);
  if (kind === "\\" || kind === "x") lines(c, gap, -1);
  if (kind === "-") horizontal(c, gap);
  if (kind === "|") vertical(c, gap);
  if (kind === ".") c.arc(gap / 2, gap / 2, 1, 0, 7);
  if (kind === ".") c.fill();
  else c.stroke();
  const pattern = context.createPattern(tile, "repeat");
  if (!pattern) return colour;
  pattern.setTransform(new DOMMatrix([1 / scale, 0, 0, 1 / scale, 0, 0]));
  hatches.set(key, pattern);
  return pattern;
}

function lines(c: CanvasRenderingContext2D, gap: number, slope: 1 | -1): void {
  for (let at = -gap; at <= gap * 2; at += gap) {
    c.moveTo(at, slope > 0 ? gap : 0);
    c.lineTo(at + gap, slope > 0 ? 0 : gap);
  }
}

function horizontal(c: CanvasRenderingContext2D, gap: number): void {
  c.moveTo(0, gap / 2);
  c.lineTo(gap, gap / 2);
}

function vertical(c: CanvasRenderingContext2D, gap: number): void {
  c.moveTo(gap / 2, 0);
  c.lineTo(gap / 2, gap);
}
