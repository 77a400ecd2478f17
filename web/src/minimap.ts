// The whole run in a strip, and in it a window: what the timeline shows.

import { h } from "./dom";
import { hatch, onTheme, palette, type Palette } from "./theme";
import type { Model } from "./model";
import type { View } from "./view";

const HEIGHT = 40;
const EDGE = 7;

type Grip = "from" | "to" | "window" | "brush";

/** `margins` says where the timeline's own lanes begin and end, so that both are in line. */
export class Minimap {
  readonly canvas = h("canvas", { class: "minimap", "aria-hidden": true });
  private began = 0;
  private grip: Grip | null = null;
  private from = 0;
  private waiting = false;

  constructor(
    private readonly m: Model,
    private readonly view: View,
    private readonly margins: () => { left: number; right: number },
  ) {
    view.listen(() => this.schedule());
    onTheme(() => this.schedule());
    this.canvas.addEventListener("pointerdown", (event) => this.down(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, () => (this.grip = null));
    }
  }

  attach(): void {
    new ResizeObserver(() => this.schedule()).observe(this.canvas);
    this.draw();
  }

  private schedule(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  private plot(): { left: number; width: number } {
    const { left, right } = this.margins();
    return { left, width: Math.max(1, this.canvas.clientWidth - left - right) };
  }

  private time(event: PointerEvent): number {
    const { left, width } = this.plot();
    const x = event.clientX - this.canvas.getBoundingClientRect().left - left;
    return (Math.min(width, Math.max(0, x)) / width) * this.view.length;
  }

  private down(event: PointerEvent): void {
    const { width } = this.plot();
    const at = this.time(event);
    const edge = (EDGE / width) * this.view.length;
    const { from, to, whole } = this.view;
    if (whole) this.grip = "brush";
    else if (Math.abs(at - from) < edge) this.grip = "from";
    else if (Math.abs(at - to) < edge) this.grip = "to";
    else this.grip = at > from && at < to ? "window" : "brush";
    this.began = at;
    this.from = from;
    this.canvas.setPointerCapture(event.pointerId);
  }

  private move(event: PointerEvent): void {
    if (!this.grip) return;
    const at = this.time(event);
    const { view } = this;
    const span = view.span;
    if (this.grip === "window") {
      const from = this.from + at - this.began;
      view.show(from, from + span);
      return;
    }
    const fixed = this.grip === "brush" ? this.began : this.grip === "from" ? view.to : view.from;
    view.show(Math.min(fixed, at), Math.max(fixed, at));
  }

  draw(): void {
    const c = this.canvas.getContext("2d");
    if (!c) return;
    const scale = Math.min(3, Math.max(1, window.devicePixelRatio));
    const width = this.canvas.clientWidth;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = HEIGHT * scale;
    c.scale(scale, scale);
    const p = palette();
    const plot = this.plot();
    c.fillStyle = p.panel;
    c.fillRect(plot.left, 0, plot.width, HEIGHT);
    const x = (at: number) => plot.left + (at / this.view.length) * plot.width;
    this.contents(c, p, x, plot);
    this.window(c, p, x, plot);
  }

  private contents(
    c: CanvasRenderingContext2D,
    p: Palette,
    x: (at: number) => number,
    plot: { left: number; width: number },
  ): void {
    const { story } = this.m;
    c.globalAlpha = 0.35;
    c.fillStyle = hatch(c, p.fault, "/");
    for (const band of story.bands) {
      c.fillRect(x(band.from), 0, Math.max(1, x(band.to) - x(band.from)), HEIGHT);
    }
    c.globalAlpha = 1;
    // Answers at each time, as a hill.
    const bins = Math.max(1, Math.floor(plot.width / 2));
    const counts = this.m.done[0].counted(0, this.view.length, bins);
    const most = counts.reduce((a, b) => Math.max(a, b), 1);
    c.fillStyle = p.ok;
    c.globalAlpha = 0.55;
    counts.forEach((n, i) => {
      const high = (n / most) * (HEIGHT - 10);
      c.fillRect(plot.left + (i * plot.width) / bins, HEIGHT - high, plot.width / bins, high);
    });
    c.globalAlpha = 1;
    c.fillStyle = p.violated;
    for (const outage of story.unavailable) {
      c.fillRect(x(outage.from), HEIGHT - 4, Math.max(1, x(outage.to) - x(outage.from)), 4);
    }
    for (const at of [
      ...story.alarms.map((a) => a.at),
      ...story.blamed.map((b) => this.m.begin[b]),
    ]) {
      c.fillRect(x(at) - 1, 0, 2, HEIGHT);
    }
    c.fillStyle = p.candidate;
    for (const election of story.elections) c.fillRect(x(election.at), 0, 1.5, 8);
  }

  private window(
    c: CanvasRenderingContext2D,
    p: Palette,
    x: (at: number) => number,
    plot: { left: number; width: number },
  ): void {
    const from = x(this.view.from);
    const to = Math.max(from + 3, x(this.view.to));
    c.fillStyle = p.paper;
    c.globalAlpha = 0.72;
    c.fillRect(plot.left, 0, from - plot.left, HEIGHT);
    c.fillRect(to, 0, plot.left + plot.width - to, HEIGHT);
    c.globalAlpha = 1;
    c.strokeStyle = p.soft;
    c.lineWidth = 1;
    c.strokeRect(Math.round(from) + 0.5, 0.5, Math.round(to - from) - 1, HEIGHT - 1);
    c.fillStyle = p.soft;
    if (this.view.whole) return;
    for (const edge of [from, to]) c.fillRect(edge - 2, HEIGHT / 2 - 8, 4, 16);
  }
}
