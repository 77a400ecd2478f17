// Bundles src/ into dist/, which is committed, so that a build of raftq needs no npm.
// `--check` bundles into a scratch place and fails where dist/ is not what comes out.

import { build } from "esbuild";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const names = ["report.js", "report.css"];

async function bundle(outdir) {
  await build({
    absWorkingDir: here,
    entryPoints: ["src/report.ts", "src/report.css"],
    bundle: true,
    minify: true,
    outdir,
    format: "iife",
    // The first that know light-dark().
    target: ["es2022", "chrome123", "firefox120", "safari17.5"],
    charset: "utf8",
    legalComments: "inline",
    // uPlot's own banner is not marked as a legal comment everywhere, and has to stay.
    banner: { js: await licence() },
    logLevel: "warning",
  });
}

async function licence() {
  const folder = join(here, "node_modules", "uplot");
  const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const text = await readFile(join(folder, "LICENSE"), "utf8");
  return `/*! This bundle contains uPlot ${version}:\n\n${text.trim()}\n*/`;
}

async function same(scratch, name) {
  const committed = await readFile(join(here, "dist", name)).catch(() => Buffer.alloc(0));
  return committed.equals(await readFile(join(scratch, name)));
}

if (process.argv.includes("--check")) {
  const scratch = await mkdtemp(join(tmpdir(), "raftq-web-"));
  try {
    await bundle(scratch);
    for (const name of names) {
      if (!(await same(scratch, name))) {
        console.error(
          `web/dist/${name} is not what web/src makes; run \`make page\` and commit it.`,
        );
        process.exitCode = 1;
      }
    }
  } finally {
    await rm(scratch, { recursive: true });
  }
} else {
  await bundle(join(here, "dist"));
}
