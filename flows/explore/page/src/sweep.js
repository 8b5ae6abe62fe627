// A sweep: its heads as a grid that can be sorted, and its label curves.
import { asked, get, link } from "./api.js";
import { count, ends, fill, h, number, spanOf, svg, table, verdict, whisker } from "./dom.js";

const LINES = { guided: "#009E73", I: "#0072B2", "shuffled pairs": "#8a8a8a", "teacher on I": "#CC79A7", "I, all labels": "#0072B2" };

export async function sweep() {
  const { cohort, name } = asked();
  document.title = `sweep ${name}, ${cohort}`;
  const found = await get("sweep", { cohort, name });
  const span = spanOf(found.heads);
  const curves = h("section", { "aria-labelledby": "curves" });
  if (found.budgets > 1) {
    fill(curves, h("h2", { id: "curves" }, "What labels buy"), h("p", { class: "soft", role: "status" }, "Drawing …"));
    get("curves", { cohort, name }).then(
      (all) => fill(curves, h("h2", { id: "curves" }, "What labels buy"), h("div", { class: "curves" }, all.map(curve))),
      (error) => fill(curves, h("p", { class: "refused" }, error.message)));
  }
  return [
    h("h1", {}, `Sweep ${name}`),
    h("p", { class: "ways" }, h("a", { href: link({ page: "cohort", cohort }) }, cohort)),
    h("p", { class: "soft" }, `${count(found.there)} of ${count(found.runs)} runs are in the store. All on val, which chose the order: the best of many looks better than it is. Test is not read here (guidestore sweep show --test).`),
    table(`Guided heads, best on val first, in ${[...new Set(found.heads.map((row) => row.metric))].join(" or ")}`, [
      { title: "verdict", head: true, class: "word", cell: (row) => [verdict(row.verdict), h("small", {}, [row.row, row.labelled === "all" ? "" : `${row.labelled} labels`].filter(Boolean).join(", "))], value: (row) => row.verdict },
      { title: "score", number: true, cell: (row) => (row.score ? `${number(row.score[0])} [${number(row.score[1])}, ${number(row.score[2])}]` : "–"), value: (row) => row.score?.[0] },
      { title: "gain over I", number: true, class: "gain", cell: (row) => [whisker(row.gain, span), h("span", {}, ends(row.gain))], value: (row) => row.gain?.[0] },
      { title: "gain over the nearest control", number: true, class: "gain", cell: (row) => [whisker(row.over_control, span), h("span", {}, ends(row.over_control)), row.control ? h("small", {}, row.control) : null], value: (row) => row.over_control?.[0] },
      ...["target", "row", "guidance", "decoder", "inferior", "superior", "labelled", "mode"].filter((column) => new Set(found.heads.map((row) => row[column])).size > 1 || ["row", "guidance", "decoder"].includes(column)).map((column) => ({ title: column, cell: (row) => row[column] || "–", value: (row) => row[column] })),
      { title: "seeds", number: true, cell: (row) => row.seeds, value: (row) => row.seeds },
    ], found.heads, { sortable: true, empty: "No guided head of it is in the store." }),
    curves,
  ];
}

function curve(one) {
  const [w, d, left, low] = [420, 250, 46, 34];
  const points = one.rows.filter((row) => row.line !== "I, all labels");
  const ceiling = one.rows.find((row) => row.line === "I, all labels");
  const values = one.rows.flatMap((row) => [row.low, row.high]);
  const [min, max] = [Math.min(...values), Math.max(...values)];
  const labels = [...new Set(points.map((row) => row.labels))].sort((a, b) => a - b);
  const x = (n) => left + ((w - left - 16) * (Math.log(n) - Math.log(labels[0]))) / (Math.log(labels.at(-1)) - Math.log(labels[0]) || 1) + 6;
  const y = (value) => 12 + ((d - low - 12) * (max - value)) / (max - min || 1);
  const lines = Map.groupBy(points, (row) => row.line);
  const text = (at, attributes) => svg("text", { x: 0, y: 0, ...attributes }, at);
  const figure = svg("svg", { viewBox: `0 0 ${w} ${d}`, role: "img", "aria-label": `${one.title}: ${one.metric} on val against labelled train cases; the table below has the numbers` },
    [0, 0.5, 1].map((part) => min + part * (max - min)).map((value) => [svg("line", { x1: left, x2: w - 8, y1: y(value), y2: y(value), class: "grid" }), text(value.toFixed(2), { x: left - 6, y: y(value) + 4, "text-anchor": "end" })]),
    labels.map((n, at) => text(String(Math.round(n)), { x: x(n), y: d - low + 18, "text-anchor": "middle", class: at && x(n) - x(labels[at - 1]) < 26 ? "hidden" : null })),
    text("labelled train cases", { x: (left + w) / 2, y: d - 2, "text-anchor": "middle" }),
    ceiling ? svg("line", { x1: left, x2: w - 8, y1: y(ceiling[one.metric]), y2: y(ceiling[one.metric]), stroke: LINES.I, "stroke-dasharray": "6 3" }) : null,
    [...lines].map(([line, rows], shift) => {
      const colour = LINES[line] ?? "#888";
      const sorted = [...rows].sort((a, b) => a.labels - b.labels);
      const at = (row) => x(row.labels) + 4 * (shift - 1.5);
      return [
        svg("polyline", { fill: "none", stroke: colour, "stroke-width": 2, points: sorted.map((row) => `${at(row)},${y(row[one.metric])}`).join(" ") }),
        sorted.map((row) => [svg("line", { x1: at(row), x2: at(row), y1: y(row.low), y2: y(row.high), stroke: colour }), svg("circle", { cx: at(row), cy: y(row[one.metric]), r: 3.5, fill: colour })]),
      ];
    }));
  return h("figure", { class: "curve" }, h("figcaption", {}, one.title),
    figure,
    h("ul", { class: "legend" }, [...lines.keys(), ...(ceiling ? ["I, all labels"] : [])].map((line) => {
      const mark = h("span", { class: "swatch", "aria-hidden": "true" });
      mark.style.backgroundColor = LINES[line] ?? "#888";
      return h("li", {}, mark, line === "I, all labels" ? "I, all labels (dashed)" : line);
    })),
    h("details", {}, h("summary", {}, "numbers"), table(`${one.title}, ${one.metric}`, [
      { title: "line", head: true, cell: (row) => row.line },
      { title: "labels", number: true, cell: (row) => Math.round(row.labels) },
      { title: one.metric, number: true, cell: (row) => `${number(row[one.metric])} [${number(row.low)}, ${number(row.high)}]` },
    ], one.rows)));
}
