// The cases of a cohort: searched, filtered by SQL, sorted, a page at a time. All of it is in the address.
import { asked, get, link } from "./api.js";
import { count, fill, h, scrolled, told } from "./dom.js";

const HIDDEN = new Set(["i", "codes", "bags", "images", "true_class", "s_p", "s_right", "both_p", "both_right", "s_predicted", "both_predicted", "s_error", "both_error", "s_order", "both_order"]);
const hidden = (column) => HIDDEN.has(column.name) || (column.kind === "category" && column.name.endsWith("_predicted")); // i_right says it

export function headName(row) {
  const models = [row.guidance, row.decoder].filter(Boolean).join(", ");
  const by = [row.inferior, row.superior].filter(Boolean).join(" by ");
  const more = [row.mode === "matched" ? "" : row.mode, row.labelled === "all" ? "" : `${row.labelled} labels`, row.split].filter(Boolean);
  return `${row.target}: ${row.row} (${[models, more.join(", "), by].filter(Boolean).join("; ")})`;
}

export const SHORT = 24; // letters of an id that is not broken

/** A field with its label, for forms. */
export const field = (name, control) => h("label", { class: "field" }, h("span", {}, name), control);

export function select(name, options, chosen, attributes = {}) {
  return h("select", { name, ...attributes }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}

export async function casesSection(box, cohort) {
  const { head = "", where = "", search = "", order = "", page = "0", at = "" } = asked();
  const status = h("p", { class: "soft", role: "status" }, "Asking …");
  const found = h("div");
  const heads = await get("heads", { cohort }).catch(() => []);
  const form = h("form", { class: "ask", method: "get", action: "#cases" },
    h("input", { type: "hidden", name: "page", value: "cohort" }), h("input", { type: "hidden", name: "cohort", value: cohort }),
    at ? h("input", { type: "hidden", name: "at", value: at }) : null,
    field("id has", h("input", { type: "search", name: "search", value: search, size: "14" })),
    heads.length ? field("as seen by", select("head", [["", "no head"], ...heads.map((row) => [row.key, headName(row)])], head)) : null,
    field("WHERE (SQL)", h("input", { type: "text", name: "where", value: where, size: "40", spellcheck: "false", autocomplete: "off", list: "conditions" })),
    h("datalist", { id: "conditions" }, ["turned = 'turned wrong'", "turned = 'turned right'", "gain < -0.2", "quarantined", "NOT list_contains(coded, 'histology')"].map((one) => h("option", { value: one }))),
    h("button", { type: "submit" }, "Show"));
  // The page's number in the form's names is another: `page` says which page of the site it is.
  fill(box, h("h2", { id: "cases-title" }, "Cases"), form, status, found);
  try {
    const answer = await get("cases", { cohort, head, where, search, order, page: asked().n ?? "0" });
    draw(answer);
  } catch (error) {
    status.className = "refused";
    status.setAttribute("role", "alert");
    status.textContent = error.message;
  }

  function draw(answer) {
    status.textContent = answer.n === answer.of ? `${count(answer.n)} cases` : `${count(answer.n)} of ${count(answer.of)} cases`;
    const here = { page: "cohort", cohort, head, where, search, order };
    const same = (name) => answer.rows.every((row) => told(row[name]) === told(answer.rows[0][name]));
    const shared = answer.columns.filter((column) => column.kind === "list" && answer.rows.length > 1 && same(column.name));
    const worth = shared.filter((column) => answer.rows[0][column.name].length);
    // What the head says stands first: a narrow screen shows no more.
    const place = ({ name }) => (name === "case_id" ? 0 : ["turned", "gain"].includes(name) ? 1 : /^(i|guided)_/.test(name) ? 2 : 3);
    const inOrder = head ? [...answer.columns].sort((a, b) => place(a) - place(b)) : answer.columns;
    const columns = inOrder.filter((column) => !hidden(column) && !shared.includes(column) && !(column.name === "quarantined" && !answer.rows.some((row) => row.quarantined)));
    const heads_ = columns.map((column) => {
      const down = order === `-${column.name}`;
      const sorted = down || order === column.name;
      return h("th", { scope: "col", class: column.kind === "number" ? "n" : null, title: column.about, "aria-sort": sorted ? (down ? "descending" : "ascending") : null },
        h("a", { class: "sort", href: link({ ...here, order: sorted && !down ? `-${column.name}` : column.name }) + "#cases" }, column.name));
    });
    const rows = answer.rows.map((row) => h("tr", {}, columns.map((column) =>
      column.name === "case_id"
        ? h("th", { scope: "row", class: row.case_id.length > SHORT ? null : "short" }, h("a", { href: link({ page: "case", cohort, case: row.case_id, head }) }, row.case_id))
        : h("td", { class: [column.kind === "number" ? "n" : "", column.name === "turned" ? (row.turned ?? "").replaceAll(" ", "-") : ""].join(" ").trim() || null }, told(row[column.name])))));
    const last = Math.max(0, Math.ceil(answer.n / answer.per_page) - 1);
    const to = (n, text) => h("a", { href: link({ ...here, n: n || "" }) + "#cases" }, text);
    fill(found,
      rows.length ? scrolled(`Cases; a heading sorts${worth.map((column) => `; ${column.name}, the same of all: ${told(answer.rows[0][column.name])}`).join("")}`, h("table", { "aria-label": "Cases" }, h("thead", {}, h("tr", {}, heads_)), h("tbody", {}, rows))) : h("p", {}, "No case fits."),
      last ? h("nav", { class: "ways", "aria-label": "Pages of cases" },
        answer.page > 0 ? to(answer.page - 1, "before") : null, `page ${answer.page + 1} of ${count(last + 1)}`,
        answer.page < last ? to(answer.page + 1, "next") : null) : null,
      answer.n ? h("p", {}, h("a", { href: link({ page: "map", cohort, head, where }) }, "These on the map")) : null,
      h("details", {}, h("summary", {}, "What one can ask for"),
        h("p", {}, "WHERE takes any condition of DuckDB's SQL over these columns, and over the views of ", h("code", {}, "guidestore sql"), " in a sub-query, as ", h("code", {}, "case_id IN (SELECT case_id FROM quarantine)"), ". It reads, and is stopped after 20 s."),
        h("dl", { class: "columns" }, answer.columns.map((column) => [h("dt", {}, column.name), h("dd", {}, column.about)]))));
  }
}
