// Wheel, pinch, drag and keys on the timeline.

import type { Timeline } from "./timeline";

const IN = 0.8;
const STEP = 0.15;

export function hands(t: Timeline): void {
  wheel(t);
  pointers(t);
  t.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !key(t, event.key)) return;
    event.preventDefault();
  });
  t.canvas.addEventListener("blur", () => t.tip.hide());
}

/** The time under a pointer, and its place on the canvas. */
function under(t: Timeline, event: MouseEvent): { x: number; y: number; at: number } {
  const box = t.canvas.getBoundingClientRect();
  const x = event.clientX - box.left;
  const plot = Math.max(1, box.width - t.plan.left - t.plan.right);
  const share = Math.min(1, Math.max(0, (x - t.plan.left) / plot));
  return { x, y: event.clientY - box.top, at: t.view.from + share * t.view.span };
}

/** The wheel zooms once the timeline was clicked or reached by keys, or with Ctrl; else the page
 *  scrolls, as everywhere. A pinch on a touchpad comes as a wheel with Ctrl. */
function wheel(t: Timeline): void {
  t.canvas.addEventListener(
    "wheel",
    (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      const mine = document.activeElement === t.canvas || event.ctrlKey || event.metaKey;
      if (!mine && !sideways) {
        t.element.classList.add("hint");
        return;
      }
      event.preventDefault();
      // Lines and pages, as some mice count, in pixels.
      const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
      const by = Math.max(
        -240,
        Math.min(240, (sideways && !event.deltaY ? event.deltaX : event.deltaY) * unit),
      );
      if (sideways) t.view.pan(((event.deltaX || event.deltaY) * unit) / 1200);
      else t.view.zoom(Math.exp(by * (event.ctrlKey ? 0.008 : 0.0025)), under(t, event).at);
      t.tip.hide();
    },
    { passive: false },
  );
  t.canvas.addEventListener("pointerleave", () => t.element.classList.remove("hint"));
}

function pointers(t: Timeline): void {
  const down = new Map<number, PointerEvent>();
  let moved = 0;
  t.canvas.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, event);
    t.canvas.setPointerCapture(event.pointerId);
    moved = 0;
  });
  t.canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return hover(t, event);
    if (down.size === 2) pinch(t, down, event);
    else drag(t, before, event);
    moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
    down.set(event.pointerId, event);
  });
  const up = (event: PointerEvent) => {
    down.delete(event.pointerId);
    if (event.type !== "pointerup" || moved > 6) return;
    const { x, y, at } = under(t, event);
    const item = t.at(x, y, at);
    if (item) t.chosen(item);
  };
  t.canvas.addEventListener("pointerup", up);
  t.canvas.addEventListener("pointercancel", up);
  t.canvas.addEventListener("pointerleave", () => {
    if (!t.focused) t.tip.hide();
  });
  t.canvas.addEventListener("dblclick", (event) => t.view.zoom(1 / 3, under(t, event).at));
}

function hover(t: Timeline, event: PointerEvent): void {
  const { x, y, at } = under(t, event);
  const item = t.at(x, y, at);
  t.canvas.style.cursor = item ? "pointer" : "grab";
  if (item) t.tip.show(item, t.view.span, x, y + 12, t.canvas);
  else t.tip.hide();
}

function drag(t: Timeline, before: PointerEvent, event: PointerEvent): void {
  const plot = t.canvas.clientWidth - t.plan.left - t.plan.right;
  t.tip.hide();
  t.canvas.style.cursor = "grabbing";
  t.view.pan((before.clientX - event.clientX) / plot);
}

/** Two fingers: what was under them stays under them. */
function pinch(t: Timeline, down: Map<number, PointerEvent>, event: PointerEvent): void {
  const other = [...down.values()].find((one) => one.pointerId !== event.pointerId);
  const before = down.get(event.pointerId);
  if (!other || !before) return;
  const then = Math.max(10, Math.abs(before.clientX - other.clientX));
  const now = Math.max(10, Math.abs(event.clientX - other.clientX));
  t.view.zoom(then / now, under(t, other).at);
}

/** Whether the key was one of ours. */
function key(t: Timeline, name: string): boolean {
  const { view } = t;
  switch (name) {
    case "+":
    case "=":
      view.zoom(IN * IN);
      return true;
    case "-":
    case "_":
      view.zoom(1 / (IN * IN));
      return true;
    case "ArrowLeft":
      view.pan(-STEP);
      return true;
    case "ArrowRight":
      view.pan(STEP);
      return true;
    case "PageUp":
      view.pan(-1);
      return true;
    case "PageDown":
      view.pan(1);
      return true;
    case "Home":
    case "0":
      view.all();
      return true;
    case "n":
    case "p":
      step(t, name === "n" ? 1 : -1, () => true);
      return true;
    case "v":
    case "V":
      step(t, name === "v" ? 1 : -1, (kind) => kind === "violation");
      return true;
    case "Enter":
      if (t.focused) t.chosen(t.focused);
      return t.focused !== null;
    case "z":
      if (t.focused) view.around(t.focused.from, t.focused.to);
      t.focus(t.focused);
      return true;
    case "Escape":
      t.focus(null);
      return true;
    default:
      return false;
  }
}

/** To the next thing that happened, or the one before; from nowhere, to the first in view. */
function step(t: Timeline, by: 1 | -1, wanted: (kind: string) => boolean): void {
  const list = t.items.filter((item) => wanted(item.kind));
  if (!list.length) return;
  const now = t.focused ? list.indexOf(t.focused) : -1;
  let next = now + by;
  if (now < 0) {
    const after = list.findIndex((item) => item.from >= (t.focused?.from ?? t.view.from));
    next = after < 0 ? list.length - 1 : by > 0 ? after : Math.max(0, after - 1);
  }
  t.focus(list[Math.min(list.length - 1, Math.max(0, next))]);
}
