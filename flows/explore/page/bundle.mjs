// Builds the page's code into ../bundle, with the licences of what it is made of. The same sources give the same bytes.
import { build } from "esbuild";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

const out = process.argv[2] ?? "../bundle";
await build({
  entryPoints: { explore: "src/main.js" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  charset: "utf8",
});
await build({ entryPoints: { explore: "src/explore.css" }, outdir: out, minify: true });
copyFileSync("src/index.html", `${out}/index.html`);
const wanted = JSON.parse(readFileSync("package.json", "utf8"));
const parts = Object.keys(wanted.dependencies).sort().map((name) => {
  const folder = `node_modules/${name}`;
  const made = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = ["LICENSE.txt", "LICENSE.md", "LICENSE"].find((one) => {
    try {
      readFileSync(`${folder}/${one}`);
      return true;
    } catch {
      return false;
    }
  });
  if (!file) throw new Error(`${name} has no licence file`);
  return `${name} ${made.version}\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
});
writeFileSync(`${out}/LICENSES.txt`, `explore.js holds code of others, under these licences.\n\n${parts.join("\n----\n\n")}`);
