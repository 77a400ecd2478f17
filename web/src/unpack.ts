// From the page's text to the story: base64, gzip, JSON, and every text made safe to look at.

import type { Story } from "./story";

export async function unpack(base64: string): Promise<Story> {
  const packed = atob(base64.trim());
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const gunzip = new DecompressionStream("gzip");
  const stream = new Blob([bytes]).stream().pipeThrough(gunzip);
  const story = JSON.parse(await new Response(stream).text()) as Story;
  if (story.version !== 1) throw new Error(`the story is of version ${story.version}, not 1`);
  return visible(story);
}

// Controls, and what turns the direction of text around: a name must not rearrange the page.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Shows what would act on the text around it as its number. */
export function plain(text: string): string {
  return text.replace(HIDDEN, (c) => {
    const number = c.charCodeAt(0).toString(16).toUpperCase();
    return `⟨U+${number.padStart(4, "0")}⟩`;
  });
}

/** All texts of a tree, in place. Columns of numbers are passed by. */
function visible<T>(tree: T): T {
  if (typeof tree === "string") return plain(tree) as T;
  if (Array.isArray(tree)) {
    if (typeof tree[0] === "number") return tree;
    for (let i = 0; i < tree.length; i++) tree[i] = visible(tree[i]);
  } else if (tree !== null && typeof tree === "object") {
    const fields = tree as Record<string, unknown>;
    for (const name of Object.keys(fields)) fields[name] = visible(fields[name]);
  }
  return tree;
}
