// Two heads on the same cases: what one gained over the other, and whom they call otherwise.
import { asked, get, link } from "./api.js";
import { field, headName, select } from "./cases.js";
import { count, ends, fill, h, number, spanOf, table, whisker } from "./dom.js";

export async function compare() {
  const { cohort, a = "", b = "", part = "val", at = "" } = asked();
  document.title = `${cohort}: two heads compared`;
  const heads = await get("comparable", { cohort });
  const found = h("section", { "aria-label": "What the comparison says" });
  const options = heads.map((row) => [row.key, headName(row)]);
  const guided = heads.find((row) => row.row === "G(I)+I") ?? heads.find((row) => row.guidance) ?? heads[1];
  const plain = heads.find((row) => row.row === "I" && row.target === guided?.target) ?? heads[0];
  const parts = [
    h("h1", {}, `${cohort}: two heads compared`),
    h("p", { class: "ways" }, h("a", { href: link({ page: "cohort", cohort }) }, "Verdicts and cases")),
  ];
  if (heads.length < 2) return [...parts, h("p", {}, "There are no two heads to compare yet: `guidestore guide`.")];
  if (a && b) {
    fill(found, h("p", { class: "soft", role: "status" }, "Comparing …"));
    get("comparison", { cohort, a, b, part }).then(
      (told) => fill(found, shown(told, cohort, part)),
      (error) => fill(found, h("p", { class: "refused", role: "alert" }, error.message)));
  }
  return [...parts,
    h("form", { class: "ask", method: "get" },
      h("input", { type: "hidden", name: "page", value: "compare" }), h("input", { type: "hidden", name: "cohort", value: cohort }),
      at ? h("input", { type: "hidden", name: "at", value: at }) : null,
      field("head a", select("a", options, a || plain.key)),
      field("head b, which may be better", select("b", options, b || guided.key)),
      field("on cases of", select("part", [["val", "val"], ["test", "test"]], part)),
      h("button", { type: "submit" }, "What b gained over a")),
    h("p", { class: "soft" }, "Over all folds that both have and all seeds. Choose heads on val: test cases that were used to choose say nothing any more. This page writes nothing, and so counts no look at test. Is it guidance? That the verdicts say, by controls too."),
    found];
}

function shown(told, cohort, part) {
  const rows = told.gains.map((row) => ({ ...row, gain: [row.gain, row.low, row.high] }));
  const span = spanOf(rows);
  const { changed, mcnemar } = told;
  const first = rows[0];
  const says = first.gain[1] > 0 ? "b is better" : first.gain[2] < 0 ? "a is better" : "it cannot be told which is better";
  return [
    h("h2", {}, `In ${first.metric}, ${says}`),
    h("dl", { class: "facts" }, h("dt", {}, "a"), h("dd", {}, told.names[0]), h("dt", {}, "b"), h("dd", {}, told.names[1])),
    table(`What b gained over a on ${count(told.cases)} ${part} cases, with 95 % intervals; above 0 b is better, in every metric`, [
      { title: "metric", head: true, cell: (row) => `${row.metric}${row.better === "higher" ? "" : " (lower is better)"}` },
      { title: "gain", number: true, class: "gain", cell: (row) => [whisker(row.gain, span), h("span", {}, ends(row.gain))] },
      { title: "a", number: true, cell: (row) => number(row.a) },
      { title: "b", number: true, cell: (row) => number(row.b) },
      { title: "p", number: true, cell: (row) => (row.p < 0.001 ? "< .001" : row.p.toFixed(3).replace(/^0/, "")) },
    ], rows),
    h("ul", { class: "notes" },
      mcnemar ? h("li", {}, `Only a is right on ${count(mcnemar.only_a)} cases, only b on ${count(mcnemar.only_b)}; McNemar's p ${mcnemar.p_value.toPrecision(2)}.`) : null,
      told.notes.map((note) => h("li", {}, note))),
    told.decides ? h("h2", {}, `Called otherwise (${count(changed.n)})`) : null,
    told.decides ? table("Cases that a and b call otherwise", [
      { title: "case", head: true, cell: (row) => h("a", { href: link({ page: "case", cohort, case: row.case_id }) }, row.case_id) },
      { title: "label", class: "word", cell: (row) => row.label },
      { title: "a says", class: "word", cell: (row) => says_(row["a says"], row.label) },
      { title: "b says", class: "word", cell: (row) => says_(row["b says"], row.label) },
    ], changed.rows, { empty: "No case." }) : null,
    changed.n > changed.rows.length ? h("p", { class: "soft" }, `The first ${count(changed.rows.length)}.`) : null,
  ];
}

const says_ = (said, label) => [h("strong", { class: said === label ? "verdict helps" : "verdict hurts" }, said === label ? "right" : "wrong"), ": ", said];
