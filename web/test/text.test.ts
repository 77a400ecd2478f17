import assert from "node:assert/strict";
import test from "node:test";
import { gzipSync } from "node:zlib";
import { places } from "../src/evidence";
import { plain, unpack } from "../src/unpack";

test("what would act on the text around it is shown as its number", () => {
  assert.equal(plain("n1 → ok\n\tnext"), "n1 → ok\n\tnext");
  assert.equal(plain("a\u202eb\u0000\u2066\u001b[31m"), "a⟨U+202E⟩b⟨U+0000⟩⟨U+2066⟩⟨U+001B⟩[31m");
});

test("a story is unpacked with all its texts made plain, wherever they are", async () => {
  const story = {
    version: 1,
    nodes: [{ name: "a\u202eb", roles: [] }],
    texts: ["\u0007"],
    calls: { begin: [1, 2] },
  };
  const packed = gzipSync(JSON.stringify(story)).toString("base64");
  const got = await unpack(`${packed}\n`);
  assert.equal(got.nodes[0].name, "a⟨U+202E⟩b");
  assert.deepEqual(got.texts, ["⟨U+0007⟩"]);
  assert.deepEqual(got.calls.begin, [1, 2]);
});

test("a story of another version is refused", async () => {
  const packed = gzipSync(JSON.stringify({ version: 2 })).toString("base64");
  await assert.rejects(unpack(packed), /version 2/);
});

test("a contradiction is drawn in the exact order of begins and answers", () => {
  const line = (process: string, begin: number, end: number) => ({
    process,
    begin,
    end,
    node: null,
    text: "",
    blamed: false,
    call: -1,
  });
  const { places: at, rows } = places([
    line("a", 5, 1_000_000),
    line("b", 7, 9),
    line("a", 1_000_001, -1),
  ]);
  assert.deepEqual(rows, ["a", "b"]);
  assert.deepEqual(at, [
    { row: 0, x0: 0, x1: 3 },
    { row: 1, x0: 1, x1: 2 },
    { row: 0, x0: 4, x1: Infinity },
  ]);
});
