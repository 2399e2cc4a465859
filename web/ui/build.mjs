// Bundles the scripts into dist/, each named by its content, and fails where one is heavier than a page may be.
import { build } from "esbuild";
import { readFile, readdir, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";

/** Most bytes, compressed, of what each page loads, and of what is loaded where it is used. */
const PAGE = 20 * 1024;
const LATER = 120 * 1024;

const dist = new URL("dist/", import.meta.url);
for (const file of await readdir(dist)) {
  if (file.endsWith(".js")) await rm(new URL(file, dist));
}
await build({
  absWorkingDir: new URL(".", import.meta.url).pathname,
  entryPoints: ["src/main.ts"],
  outdir: "dist",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
});
for (const file of (await readdir(dist)).filter((file) => file.endsWith(".js"))) {
  const bytes = gzipSync(await readFile(new URL(file, dist)), { level: 6 }).length;
  const most = file.startsWith("main-") ? PAGE : LATER;
  console.log(`${file}: ${bytes} bytes compressed, of ${most}`);
  if (bytes > most) process.exitCode = 1;
}
