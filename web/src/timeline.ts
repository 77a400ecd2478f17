// The timeline: one canvas, drawn anew for each view, and what hands can do to it.

import { axis, faults, outages, phases, times, tints } from "./draw_frame";
import { arrows, density, inView } from "./draw_messages";
import { calls } from "./draw_calls";
import { elections, events } from "./draw_events";
import { nodes } from "./draw_nodes";
import { h } from "./dom";
import { hands } from "./hands";
import { layout, type Layout } from "./layout";
import { sample } from "./counts";
import { notKnown, type Item } from "./items";
import type { Model } from "./model";
import { Pen, type Hit } from "./pen";
import { onTheme, palette } from "./theme";
import { Tip } from "./tip";
import { clock, duration, plural } from "./time";
import type { View } from "./view";

export class Timeline {
  readonly canvas = h("canvas", {
    id: "timeline-canvas",
    tabindex: 0,
    role: "application",
    "aria-label": "Timeline of the run",
    "aria-describedby": "timeline-keys",
  });
  readonly status = h("p", { class: "status" });
  readonly said = h("p", { class: "visually-hidden", "aria-live": "polite" });
  readonly element: HTMLElement;
  readonly tip = new Tip();
  plan: Layout;
  hits: Hit[] = [];
  focused: Item | null = null;
  chosen: (item: Item) => void = () => {};
  private firstClient = 0;
  private readonly violations: Map<number, Item>;
  private waiting = false;
  private draws = 0;

  constructor(
    readonly m: Model,
    readonly view: View,
    readonly items: Item[],
  ) {
    this.violations = new Map(
      items.filter((item) => item.kind === "violation").map((item) => [item.place, item]),
    );
    this.plan = layout(m.story, 1000);
    this.element = h("div", { class: "timeline" }, this.canvas, this.tip.element, this.said);
    view.listen(() => this.schedule());
    onTheme(() => this.schedule());
    hands(this);
  }

  /** Begins to follow the size of the page; the element has to stand in it. */
  attach(): void {
    new ResizeObserver(() => this.schedule()).observe(this.element);
    this.draw();
  }

  schedule(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  /** Shows another page of clients, so that the given one is among them. */
  showClients(first: number): void {
    this.firstClient = first;
    this.schedule();
  }

  /** Puts the reader's attention to an item, as a pointer over it would. */
  focus(item: Item | null): void {
    this.focused = item;
    if (item) {
      this.view.reveal(item.from, item.to);
      this.said.textContent = [item.title, ...item.lines, clock(item.from)].join(". ");
      this.revealClient(item);
    }
    this.draw();
    const hit = item && this.hits.find((one) => one.item === item);
    if (item && hit)
      this.tip.show(item, this.view.span, (hit.x0 + hit.x1) / 2, hit.y1, this.canvas);
    else this.tip.hide();
  }

  private revealClient(item: Item): void {
    if (item.kind !== "violation") return;
    const lane = this.m.story.calls.lane[item.place];
    const { firstClient, clients } = this.plan;
    if (lane < firstClient || lane >= firstClient + clients.length) this.firstClient = lane;
  }

  /** What is under a point, the nearest to the reader first. */
  at(x: number, y: number, time: number): Item | null {
    for (let i = this.hits.length - 1; i >= 0; i--) {
      const hit = this.hits[i];
      if (x < hit.x0 || x > hit.x1 || y < hit.y0 || y > hit.y1) continue;
      const item = typeof hit.item === "function" ? hit.item(time) : hit.item;
      if (item) return item;
    }
    return null;
  }

  /** Draws at once. Printing needs it: there is no frame between being told and being printed. */
  draw(): void {
    const began = performance.now();
    const width = Math.max(280, this.element.clientWidth);
    this.plan = layout(this.m.story, width, this.firstClient);
    const pen = this.pen(width);
    if (!pen) return;
    pen.clipped(() => {
      axis(pen);
      phases(pen);
      tints(pen);
      density(pen, this.plan.messages, this.m.messages, "messages");
      density(pen, this.plan.packets, this.m.packets, "packets");
      nodes(pen);
      calls(pen);
      arrows(pen);
      faults(pen);
      outages(pen);
      elections(pen);
      events(pen);
    });
    times(pen);
    names(pen);
    this.hits = pen.hits;
    this.tell(pen, performance.now() - began);
  }

  private pen(width: number): Pen | null {
    const c = this.canvas.getContext("2d");
    if (!c) return null;
    const scale = Math.min(3, Math.max(1, window.devicePixelRatio));
    const height = this.plan.height;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== height * scale) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.height = `${height}px`;
    }
    c.setTransform(scale, 0, 0, scale, 0, 0);
    const p = palette();
    c.fillStyle = p.paper;
    c.fillRect(0, 0, width, height);
    return new Pen(
      c,
      this.m,
      this.plan,
      p,
      this.view,
      width,
      this.focused,
      this.items,
      this.violations,
    );
  }

  /** What tests, and whoever looks into the page, may know of the last redraw. */
  private tell(pen: Pen, took: number): void {
    const { view } = this;
    const { first, last, untold, drawn } = inView(pen);
    const n = last - first;
    const none = n > 0 && untold === n;
    const each = !drawn
      ? "zoom in to see each"
      : none
        ? `each a short line: ${notKnown(this.m, "them")}`
        : "each an arrow";
    const of = `${plural(n, "message")} in view${sample(this.m, "messages")}`;
    const messages = n ? `; ${of}, ${each}` : "";
    this.status.textContent =
      `${clock(view.from, view.span / 500)} – ${clock(view.to, view.span / 500)}` +
      `, ${duration(view.span)} of ${duration(view.length)}${messages}`;
    const { dataset } = this.canvas;
    dataset.from = String(Math.round(view.from));
    dataset.to = String(Math.round(view.to));
    dataset.primitives = String(pen.primitives);
    dataset.arrows = String(drawn ? n : 0);
    dataset.took = took.toFixed(1);
    dataset.drawn = String(++this.draws);
  }
}

/** Names of lanes, in the margin. */
function names(pen: Pen): void {
  const { l, m } = pen;
  if (l.phases) pen.name(l.phases, "Phases");
  if (l.faults) pen.name({ top: l.faults.top, height: l.faultHeight }, "Faults");
  if (l.outages) pen.name(l.outages, "No writes");
  if (l.elections) pen.name(l.elections, "Elections");
  if (l.events) pen.name(l.events, "Events");
  if (l.messages) pen.name(l.messages, "Messages");
  if (l.packets) pen.name(l.packets, "Packets");
  l.nodes.forEach((lane, i) => pen.name(lane, m.story.nodes[i].name, true));
  l.clients.forEach((lane, i) => pen.name(lane, m.clients[l.firstClient + i].name));
}
