// Which hatching a rule's bands have: the same everywhere, however often it is active.

import type { Story } from "./story";
import type { Hatch } from "./theme";

const HATCHES: Hatch[] = ["/", "\\", "x", "|", "-", "."];

export function hatchOfRule(story: Story, rule: string): Hatch {
  const place = story.rules.findIndex((one) => one.name === rule);
  return HATCHES[Math.max(0, place) % HATCHES.length];
}
