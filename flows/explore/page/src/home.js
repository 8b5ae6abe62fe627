// The page that one comes in by: what the store has.
import { asked, link } from "./api.js";
import { count, day, h, short, table, told } from "./dom.js";

export async function home(overview) {
  const about = await overview;
  document.title = "guidestore: codes and cases";
  const cohorts = table("Cohorts", [
    { title: "cohort", head: true, cell: (row) => h("a", { href: link({ page: "cohort", cohort: row.cohort }) }, row.cohort), value: (row) => row.cohort },
    { title: "cases", number: true, cell: (row) => count(row.cases), value: (row) => row.cases },
    { title: "images", number: true, cell: (row) => count(row.images), value: (row) => row.images },
    { title: "heads trained", number: true, cell: (row) => count(row.runs), value: (row) => row.runs },
    { title: "targets", cell: (row) => told(row.targets) },
    { title: "map", cell: (row) => h("a", { href: link({ page: "map", cohort: row.cohort }), "aria-label": `its codes: map of ${row.cohort}` }, "its codes") },
    { title: "state", cell: (row) => [
      row.pseudonymized ? h("span", { class: "tag" }, "pseudonymized") : null,
      row.quarantined ? h("a", { class: "tag warn", href: link({ page: "cohort", cohort: row.cohort, where: "quarantined" }) + "#cases" }, `${row.quarantined} in quarantine`) : null,
    ] },
    { title: "last trained", class: "time", cell: (row) => day(row.last_run) },
  ], about.cohorts, { sortable: true, quiet: true, empty: "No cohort yet: `guidestore cohort add`, or `guidestore import` for codes that you have." });
  const sets = table("Code sets", [
    { title: "code set", head: true, class: "id", cell: (row) => row.name, value: (row) => row.name },
    { title: "kind", cell: (row) => (row.kind === "bag" ? "bags of patch codes" : "case codes") },
    { title: "width", number: true, cell: (row) => row.d, value: (row) => row.d },
    { title: "cases", number: true, cell: (row) => count(row.cases), value: (row) => row.cases },
    { title: "encoder trained on", cell: (row) => row.trained_on, value: (row) => row.trained_on },
  ], about.code_sets, { sortable: true, quiet: true, empty: "No codes yet." });
  const newest = table("Newest snapshots", [
    { title: "snapshot", head: true, cell: (row) => h("a", { href: `?at=${row.version}` }, row.version) },
    { title: "what", cell: (row) => short(row.message, 80) },
    { title: "added", number: true, cell: (row) => count(row.artifacts) },
    { title: "when (UTC)", class: "time", cell: (row) => day(row.created_at) },
  ], about.snapshots, { quiet: true });
  return [
    h("h1", {}, "Codes and cases"),
    about.behind ? h("p", { class: "notice" }, `The index is ${about.behind === 1 ? "1 commit" : `${about.behind} commits`} behind the store: \`guidestore index\` brings it up to date.`) : null,
    cohorts,
    about.sweeps.length ? [h("h2", {}, "Sweeps"), sweepTable(about.sweeps)] : null,
    h("h2", {}, "Code sets"), sets,
    h("h2", {}, "Snapshots"), newest,
    h("p", {}, h("a", { href: "?page=snapshots" }, "All snapshots, and what changed between two")),
    about.names.length ? table("Tags and aliases", [
      { title: "name", head: true, cell: (row) => row.name },
      { title: "kind", cell: (row) => row.kind },
      { title: "snapshot", cell: (row) => h("a", { href: `?at=${row.snapshot}` }, row.snapshot) },
      { title: "run", class: "id", cell: (row) => row.run.slice(0, 12) || "–" },
    ], about.names) : null,
  ];
}

export function sweepTable(sweeps) {
  return table("Sweeps", [
    { title: "sweep", head: true, cell: (row) => h("a", { href: link({ page: "sweep", cohort: row.cohort, name: row.name }) }, row.name) },
    { title: "cohort", cell: (row) => row.cohort },
    { title: "heads", number: true, cell: (row) => count(row.runs) },
    { title: "when (UTC)", class: "time", cell: (row) => day(row.created_at) },
  ], sweeps, { quiet: true });
}
