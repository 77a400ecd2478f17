// What every part of the timeline draws with: the canvas, the scale, and a note of what is where.

import { fitted, type Lane, type Layout } from "./layout";
import type { Model } from "./model";
import type { Item } from "./items";
import type { Palette } from "./theme";
import type { View } from "./view";

/** Something under the pointer: an item, or what tells of it when it is asked, by the time that the
 *  pointer is at. */
export interface Hit {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  item: Item | ((at: number) => Item | null);
}

export class Pen {
  readonly hits: Hit[] = [];
  /** How many shapes this redraw took; bounded by pixels, whatever the run has. */
  primitives = 0;

  constructor(
    readonly c: CanvasRenderingContext2D,
    readonly m: Model,
    readonly l: Layout,
    readonly p: Palette,
    readonly view: View,
    readonly width: number,
    readonly focused: Item | null,
    readonly items: Item[],
    /** Those of kind `violation`, by their call. */
    readonly violations: Map<number, Item>,
  ) {}

  get plotWidth(): number {
    return Math.max(1, this.width - this.l.left - this.l.right);
  }

  /** Microseconds a pixel. */
  get pixel(): number {
    return this.view.span / this.plotWidth;
  }

  x(at: number): number {
    return this.l.left + (at - this.view.from) / this.pixel;
  }

  /** The part of a stretch that is in view, in pixels; null where none is. */
  stretch(from: number, to: number): [number, number] | null {
    if (to < this.view.from || from > this.view.to) return null;
    const x0 = Math.max(this.l.left, this.x(from));
    return [x0, Math.max(x0 + 1, Math.min(this.l.left + this.plotWidth, this.x(to)))];
  }

  fill(style: string | CanvasPattern, x: number, y: number, w: number, h: number): void {
    this.c.fillStyle = style;
    this.c.fillRect(x, y, w, h);
    this.primitives++;
  }

  box(style: string, x: number, y: number, w: number, h: number): void {
    this.c.strokeStyle = style;
    this.c.lineWidth = 1;
    this.c.strokeRect(x + 0.5, y + 0.5, Math.max(1, w - 1), h - 1);
    this.primitives++;
  }

  line(style: string, x0: number, y0: number, x1: number, y1: number, dash: number[] = []): void {
    const { c } = this;
    c.strokeStyle = style;
    c.lineWidth = 1;
    c.setLineDash(dash);
    c.beginPath();
    c.moveTo(x0, y0);
    c.lineTo(x1, y1);
    c.stroke();
    c.setLineDash([]);
    this.primitives++;
  }

  font(size: number, weight = 400, mono = false): void {
    this.c.font = `${weight} ${size}px ${mono ? this.p.mono : this.p.font}`;
  }

  measure = (text: string): number => this.c.measureText(text).width;

  /** Text within `room` pixels; gives the width it took, 0 where it did not fit. */
  text(style: string, text: string, x: number, y: number, room: number): number {
    const short = fitted(text, room, this.measure);
    if (!short) return 0;
    this.c.fillStyle = style;
    this.c.fillText(short, x, y);
    this.primitives++;
    return this.measure(short);
  }

  /** The name of a lane, in the margin. */
  name(lane: Lane, text: string, strong = false): void {
    this.font(strong ? 13 : 11.5, strong ? 650 : 400);
    this.c.textBaseline = "middle";
    this.text(
      strong ? this.p.ink : this.p.soft,
      text,
      2,
      lane.top + lane.height / 2,
      this.l.left - 10,
    );
  }

  hit(x0: number, y0: number, x1: number, y1: number, item: Hit["item"]): void {
    this.hits.push({ x0: x0 - 1, y0, x1: x1 + 1, y1, item });
    if (item === this.focused) this.ring(x0, y0, x1, y1);
  }

  private ring(x0: number, y0: number, x1: number, y1: number): void {
    const { c } = this;
    c.strokeStyle = this.p.focus;
    c.lineWidth = 2.5;
    c.strokeRect(x0 - 3, y0 - 1, x1 - x0 + 6, y1 - y0 + 2);
    this.primitives++;
  }

  /** Draws only right of the names. */
  clipped(draw: () => void): void {
    const { c } = this;
    c.save();
    c.beginPath();
    c.rect(this.l.left - 0.5, 0, this.plotWidth + 1, this.l.height);
    c.clip();
    draw();
    c.restore();
  }
}

export type Glyph = "triangle" | "diamond" | "cross" | "disc" | "square" | "star" | "bar";

/** A small sign around a point; each differs by shape, not by colour only. */
export function glyph(pen: Pen, kind: Glyph, x: number, y: number, colour: string, r = 5): void {
  const { c } = pen;
  pen.primitives++;
  c.beginPath();
  if (kind === "cross") {
    c.moveTo(x - r * 0.8, y - r * 0.8);
    c.lineTo(x + r * 0.8, y + r * 0.8);
    c.moveTo(x + r * 0.8, y - r * 0.8);
    c.lineTo(x - r * 0.8, y + r * 0.8);
    c.strokeStyle = colour;
    c.lineWidth = 2;
    c.stroke();
    return;
  }
  if (kind === "triangle")
    polygon(c, [
      [x, y - r],
      [x + r, y + r * 0.8],
      [x - r, y + r * 0.8],
    ]);
  if (kind === "diamond")
    polygon(c, [
      [x, y - r * 1.2],
      [x + r * 1.2, y],
      [x, y + r * 1.2],
      [x - r * 1.2, y],
    ]);
  if (kind === "square") c.rect(x - r * 0.8, y - r * 0.8, r * 1.6, r * 1.6);
  if (kind === "bar") c.rect(x - 1, y - r * 1.2, 2, r * 2.4);
  if (kind === "disc") c.arc(x, y, r * 0.7, 0, 7);
  if (kind === "star") star(c, x, y, r * 1.2);
  c.fillStyle = colour;
  c.fill();
}

function polygon(c: CanvasRenderingContext2D, points: [number, number][]): void {
  points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
  c.closePath();
}

function star(c: CanvasRenderingContext2D, x: number, y: number, r: number): void {
  const points: [number, number][] = [];
  for (let i = 0; i < 10; i++) {
    const angle = (i / 5 - 0.5) * Math.PI;
    const at = i % 2 ? r * 0.45 : r;
    points.push([x + Math.cos(angle) * at, y + Math.sin(angle) * at]);
  }
  polygon(c, points);
}
