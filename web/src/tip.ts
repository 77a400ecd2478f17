// The small note beside what a pointer or the keys are at.

import { h } from "./dom";
import { when, type Item } from "./items";

export class Tip {
  readonly element = h("div", { class: "tip", role: "tooltip", hidden: true });

  /** Beside (x, y) of the canvas, on the side on which there is room. */
  show(item: Item, span: number, x: number, y: number, canvas: HTMLElement): void {
    const { element } = this;
    element.replaceChildren(
      h("strong", {}, item.title),
      ...item.lines.map((line) => h("span", {}, line)),
      h("span", { class: "when" }, when(item, span)),
    );
    element.hidden = false;
    const width = canvas.clientWidth;
    const own = element.offsetWidth;
    const left = x + 14 + own > width ? Math.max(0, x - 14 - own) : x + 14;
    element.style.transform = `translate(${Math.round(left)}px, ${Math.round(y)}px)`;
  }

  hide(): void {
    this.element.hidden = true;
  }
}
