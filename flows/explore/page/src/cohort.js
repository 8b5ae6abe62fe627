// A cohort: verdicts first, then the tables that they stand in, then its cases.
import { asked, get, link } from "./api.js";
import { casesSection } from "./cases.js";
import { count, ends, fill, h, number, spanOf, table, verdict, whisker } from "./dom.js";
import { retrainButton } from "./prefect.js";

export async function cohort(overview) {
  const { cohort: name, head } = asked();
  document.title = `${name}: verdicts and cases`;
  const verdicts = h("section", { "aria-labelledby": "verdicts" }, h("h2", { id: "verdicts" }, "Is it guidance?"), h("p", { class: "soft", role: "status" }, "Reading predictions …"));
  const cases = h("section", { id: "cases", "aria-labelledby": "cases-title" });
  Promise.all([get("verdicts", { cohort: name }), overview]).then(
    ([told, about]) => fill(verdicts, h("h2", { id: "verdicts" }, "Is it guidance?"), verdictSection(name, told, head), retrainButton(about, name, told)),
    (error) => fill(verdicts, h("h2", { id: "verdicts" }, "Is it guidance?"), h("p", { class: "refused", role: "alert" }, error.message)),
  );
  casesSection(cases, name);
  return [
    h("h1", {}, name),
    h("p", { class: "ways" },
      h("a", { href: link({ page: "map", cohort: name, head }) }, "Map of its codes"),
      h("a", { href: link({ page: "compare", cohort: name }) }, "Compare two heads"),
      h("a", { href: "#cases" }, "Its cases")),
    verdicts,
    cases,
  ];
}

const titleOf = (row) => `${row.inferior} guided by ${row.superior}`;

function verdictSection(name, told, chosen) {
  if (!told.verdicts.length) {
    return [h("p", {}, told.blocks.length ? "No guided row here was scored on test, so no gain can be told." : "No head was trained yet: `guidestore guide`."), ...told.blocks.map((block) => blockTable(block, told))];
  }
  const span = spanOf(told.verdicts);
  const pairs = new Set(told.verdicts.map((row) => [row.inferior, row.superior, row.mode, row.labelled, row.split].join()));
  const ways = (row) => row.turns ? [["turned wrong", "turned = 'turned wrong'", ""], ["turned right", "turned = 'turned right'", ""]] : [["made worse", "gain < 0", "gain"], ["made better", "gain > 0", "-gain"]];
  return [
    table(`Verdicts on test cases, in ${[...new Set(told.verdicts.map((row) => row.metric))].join(" or ")}; gains with 95 % intervals`, [
      { title: "verdict", head: true, class: "word", cell: (row) => verdict(row.verdict) },
      { title: "target", cell: (row) => row.target },
      { title: "row", cell: (row) => row.row },
      { title: "gain over I", number: true, class: "gain", cell: (row) => [whisker(row.gain, span), h("span", {}, ends(row.gain))] },
      { title: "gain over the nearest control", number: true, class: "gain", cell: (row) => [whisker(row.over_control, span), h("span", {}, ends(row.over_control)), row.control ? h("small", {}, row.control) : null] },
      { title: "I", number: true, cell: (row) => number(row.I) },
      { title: "guided", number: true, cell: (row) => number(row.guided) },
      { title: "p, Holm", number: true, cell: (row) => (row.p_holm === null ? "–" : row.p_holm < 0.001 ? "< .001" : row.p_holm.toFixed(3).replace(/^0/, "")) },
      { title: "heads", class: "models", cell: (row) => [`${row.guidance || "no G"}, ${row.decoder}`, pairs.size > 1 ? h("small", {}, `${titleOf(row)}, ${row.mode}${row.labelled === "all" ? "" : `, ${row.labelled} labels`}`) : null] },
      { title: "cases", cell: (row) => h("span", { class: "ways" },
        ways(row).map(([way, where, order]) => h("a", { href: link({ page: "cohort", cohort: name, head: row.key, where, order }) + "#cases", "aria-label": `${way} by ${row.row}, ${row.target}` }, way)),
        h("a", { href: link({ page: "map", cohort: name, head: row.key, colour: row.turns ? "turned" : "gain" }), "aria-label": `map of ${row.row}, ${row.target}` }, "map")) },
    ], told.verdicts, { key: (row) => row.key }),
    h("p", { class: "soft" }, `Test was looked at ${told.looks === 1 ? "once" : `${told.looks} times`} before, as the store counts; this page writes nothing and so counts none. Choose heads on val.`),
    h("details", {}, h("summary", {}, "How to read it"),
      h("p", {}, "Row I predicts from the cheap image alone, S and S+I from the invasive one too (the ceiling). A guided row has the cheap image alone again, and guesses what the invasive one would say. “Guidance helps” where it beats I and every control whose guidance cannot know anything; “turned wrong” are the cases that I had right and the guided row has wrong; of values, survival and several labels, “made worse” are those of which it says less well than I did, the worst first."),
      h("ul", { class: "notes" }, told.notes.map((note) => h("li", {}, note)))),
    ...told.blocks.map((block) => blockTable(block, told)),
  ];
}

function blockTable(block, told) {
  const metrics = Object.keys(told.metrics ?? {}).filter((metric) => block.rows.some((row) => (row.mean[metric] ?? null) !== null));
  return h("details", { class: "block" }, h("summary", {}, `Table ${block.number}: ${block.title}`),
    table(`Table ${block.number}: ${block.title}; mean ± sd over folds and seeds`, [
      { title: "row", head: true, cell: (row) => row.label, value: (row) => row.label },
      { title: "verdict", class: "word", cell: (row) => (row.verdict ? verdict(row.verdict) : "") },
      ...metrics.map((metric) => ({
        title: told.metrics[metric], number: true, value: (row) => row.mean[metric],
        cell: (row) => ((row.mean[metric] ?? null) === null ? "–" : number(row.mean[metric]) + (row.sd[metric] === null ? "" : ` ± ${number(row.sd[metric])}`)),
      })),
      { title: "runs", number: true, cell: (row) => count(row.n), value: (row) => row.n },
    ], block.rows, { sortable: true }));
}
