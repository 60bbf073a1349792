// Builds what the browser loads into app/hecto/static/dist: one script, one style sheet, one icon sprite and the fonts.
// Every name carries a hash of its content, so nginx may let browsers keep the files for ever; manifest.json maps
// the plain names to the hashed ones. The build fails when a bundle is over its budget.
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import esbuild from "esbuild";
import * as sass from "sass";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src");
const modules = join(here, "node_modules");
const target = join(here, "..", "hecto", "static", "dist");

// What a first visit may download, compressed, in bytes. The script budget leaves a 3G phone usable within two
// seconds; the style budget is what Tabler costs once the components that we do not use are left out.
const budgets = { "app.js": 90_000, "app.css": 60_000, "icons.svg": 12_000 };

const scss = {
  name: "scss",
  setup(build) {
    build.onLoad({ filter: /\.scss$/ }, async ({ path }) => {
      const result = await sass.compileAsync(path, { loadPaths: [modules], quietDeps: true });
      return { contents: result.css, loader: "css", resolveDir: dirname(path), watchFiles: result.loadedUrls.map(fileURLToPath) };
    });
  },
};

const options = {
  absWorkingDir: here,
  entryPoints: [join(source, "app.js"), join(source, "app.css")],
  plugins: [scss],
  bundle: true,
  format: "esm",
  splitting: true,
  minify: true,
  metafile: true,
  outdir: target,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".woff2": "file" },
  // Relative URLs in the style sheet work under any public path.
  publicPath: "./",
  // The first versions with light-dark(), which both themes are written in; all of 2024 or older.
  target: ["chrome123", "firefox120", "safari17.5"],
  legalComments: "none",
  logLevel: "warning",
};


/** One SVG file with a <symbol> for every icon named in src/icons.json. */
async function sprite() {
  const names = JSON.parse(await readFile(join(source, "icons.json"), "utf8"));
  const symbols = await Promise.all(names.map(async (name) => {
    const svg = await readFile(join(modules, "@tabler", "icons", "icons", "outline", `${name}.svg`), "utf8");
    const paths = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.lastIndexOf("</svg>"));
    return `<symbol id="${name}" viewBox="0 0 24 24">${paths.replace(/\s*\n\s*/g, "")}</symbol>`;
  }));
  const text = `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`;
  return emit("icons.svg", text);
}

/** Write a file under a name that carries the hash of its content, as esbuild does with its own; returns the name. */
async function emit(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8).toUpperCase();
  const file = name.replace(".", `-${hash}.`);
  await writeFile(join(target, file), content);
  return file;
}

/** The plain name of each entry point's output. */
function entries(metafile) {
  const found = {};
  for (const [path, output] of Object.entries(metafile.outputs)) {
    if (!output.entryPoint) continue;
    found[basename(output.entryPoint)] = basename(path);
  }
  return found;
}

async function build() {
  await mkdir(target, { recursive: true });
  const { metafile } = await esbuild.build(options);
  const manifest = {
    ...entries(metafile),
    "icons.svg": await sprite(),
    "favicon.svg": await emit("favicon.svg", await readFile(join(source, "favicon.svg"))),
  };
  const keep = new Set(["manifest.json", ...Object.keys(metafile.outputs).map((path) => basename(path))]);
  // The font that every page needs first is preloaded by the base template, so it has a plain name as well.
  manifest["inter.woff2"] = [...keep].find((name) => /^inter-latin-wght-normal-/.test(name));
  Object.values(manifest).forEach((name) => keep.add(name));

  const sorted = Object.fromEntries(Object.entries(manifest).sort());
  // Written aside and renamed: a page rendered during a build sees the old names or the new ones, never half a file.
  await writeFile(join(target, "manifest.json.new"), `${JSON.stringify(sorted, null, 2)}\n`);
  await rename(join(target, "manifest.json.new"), join(target, "manifest.json"));
  for (const name of await readdir(target)) if (!keep.has(name)) await rm(join(target, name), { force: true });
  return sorted;
}

async function checkBudgets(manifest) {
  let over = false;
  for (const [name, budget] of Object.entries(budgets)) {
    const size = gzipSync(await readFile(join(target, manifest[name])), { level: 9 }).length;
    const verdict = size > budget ? "OVER BUDGET" : "ok";
    over ||= size > budget;
    console.log(`${name.padEnd(10)} ${(size / 1000).toFixed(1).padStart(6)} kB gzip of ${(budget / 1000).toFixed(0)} kB  ${verdict}`);
  }
  if (over) {
    console.error("A bundle is over its budget, so pages would load too slowly. Remove code from it, or load the code only on the pages that need it (import()).");
    process.exitCode = 1;
  }
}

await checkBudgets(await build());
