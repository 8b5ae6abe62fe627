// All snapshots, and what changed between two.
import { asked, get, link } from "./api.js";
import { field } from "./cases.js";
import { count, day, h, short, table, told } from "./dom.js";

const CALLED = { cases: "Cases", codes: "Codes and bags", labels: "Labels", images: "Images", quarantine: "Quarantine", runs: "Trained heads" };

export async function snapshots() {
  document.title = "snapshots";
  const { a = "", b = "" } = asked();
  const rows = await get("snapshots");
  const names = rows.flatMap((row) => [...row.tags, ...row.aliases]);
  const field_ = (name, value) => field(`snapshot ${name}`, h("input", { name, value, size: "10", list: "names", required: true, autocomplete: "off" }));
  const form = h("form", { class: "ask", method: "get" }, h("input", { type: "hidden", name: "page", value: "snapshots" }),
    field_("a", a || (rows[1]?.version ?? "")), field_("b", b || (rows[0]?.version ?? "")), h("datalist", { id: "names" }, names.map((name) => h("option", { value: name }))),
    h("button", { type: "submit" }, "What changed from a to b"));
  const parts = [h("h1", {}, "Snapshots"), form];
  if (a && b) parts.push(await difference(a, b));
  parts.push(table("The newest snapshots", [
    { title: "snapshot", head: true, cell: (row) => h("a", { href: `?at=${row.version}` }, row.version) },
    { title: "names", cell: (row) => [...row.tags, ...row.aliases.map((name) => `${name} (alias)`)].join(", ") || "" },
    { title: "what", cell: (row) => short(row.message, 90) },
    { title: "added", number: true, cell: (row) => count(row.artifacts) },
    { title: "when (UTC)", class: "time", cell: (row) => day(row.created_at) },
    { title: "difference", cell: (row) => (row.version > 1 ? h("a", { href: link({ page: "snapshots", a: row.version - 1, b: row.version }) }, "what it changed") : "") },
  ], rows));
  return parts;
}

async function difference(a, b) {
  try {
    const found = await get("difference", { a, b });
    const { n } = found.predictions;
    const sums = Object.entries(found.changes).map(([kind, { came, went }]) => ({ kind, came: came.n, went: went.n }));
    return [
      h("h2", {}, `From snapshot ${found.a} to ${found.b}`),
      table("What changed", [
        { title: "what", head: true, cell: (row) => CALLED[row.kind] },
        { title: "came", number: true, cell: (row) => count(row.came) },
        { title: "went", number: true, cell: (row) => count(row.went) },
      ], sums),
      h("p", {}, `Predictions that changed, of heads that were trained anew: ${count(n)}.`),
      ...Object.entries(found.changes).flatMap(([kind, change]) => ["came", "went"].filter((what) => change[what].n).map((what) =>
        h("details", {}, h("summary", {}, `${CALLED[kind]} that ${what} (${count(change[what].n)})`), anyTable(`${CALLED[kind]} that ${what}`, change[what].rows, change[what].n)))),
      n ? h("details", { open: true }, h("summary", {}, `Predictions that changed (${count(n)})`), anyTable("Predictions that changed", found.predictions.rows, n)) : null,
    ];
  } catch (error) {
    return h("p", { class: "refused", role: "alert" }, error.message);
  }
}

function anyTable(caption, rows, n) {
  const columns = Object.keys(rows[0] ?? {}).filter((name) => rows.some((row) => row[name] !== null && row[name] !== ""));
  return [
    table(caption, columns.map((name) => ({
      title: name, class: name === "artifact" ? "id" : null,
      cell: (row) => (name === "case_id" && row.cohort ? h("a", { href: link({ page: "case", cohort: row.cohort, case: row.case_id }) }, row.case_id) : short(told(row[name]), name === "artifact" ? 13 : 80)),
    })), rows),
    n > rows.length ? h("p", { class: "soft" }, `The first ${count(rows.length)} of ${count(n)}.`) : null,
  ];
}
