// Light and dark: as the system says, or as the reader chooses; and paper, which is light.

import { h } from "./dom";
import { retheme } from "./theme";

const CHOICES = ["auto", "light", "dark"] as const;

export function themeButton(): HTMLElement {
  let at = 0;
  const root = document.documentElement;
  const button = h("button", { type: "button", class: "theme" }, "Theme: auto");
  button.addEventListener("click", () => {
    at = (at + 1) % CHOICES.length;
    const choice = CHOICES[at];
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
    button.textContent = `Theme: ${choice}`;
    retheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", retheme);
  return button;
}

/** Before it is printed everything is drawn anew: light, and as wide as the paper. */
export function printing(draw: () => void): void {
  const root = document.documentElement;
  let theme: string | undefined;
  let opened: HTMLDetailsElement[] = [];
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    root.dataset.printing = "yes";
    // Paper cannot be opened; logs stay in their files.
    opened = [...document.querySelectorAll<HTMLDetailsElement>("details:not([open])")].filter(
      (details) => !details.closest("#logs, #details"),
    );
    for (const details of opened) details.open = true;
    retheme();
    draw();
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    delete root.dataset.printing;
    retheme();
    draw();
  });
}
