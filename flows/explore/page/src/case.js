// One case: its images, labels, predictions, neighbours, and where its codes came from.
import { asked, get, link } from "./api.js";
import { SHORT, select } from "./cases.js";
import { count, day, fill, h, number, table, told } from "./dom.js";
import { imageCard } from "./images.js";

export async function oneCase() {
  const { cohort, case: id, head = "" } = asked();
  document.title = `${id}, ${cohort}`;
  const [found, choices] = await Promise.all([get("case", { cohort, case: id }), get("maps", { cohort })]);
  const { before } = found;
  const to = (other) => link({ page: "case", cohort, case: other, head });
  const secret = found.images.length && found.images.every((image) => !image.path);
  return [
    h("h1", {}, id),
    h("p", { class: "ways" },
      h("a", { href: link({ page: "cohort", cohort, head }) }, cohort),
      before.previous ? h("a", { href: to(before.previous), rel: "prev" }, "← ", before.previous) : null,
      before.next ? h("a", { href: to(before.next), rel: "next" }, before.next, " →") : null,
      choices.code_sets.length ? h("a", { href: link({ page: "map", cohort, head, case: id }) }, "on the map") : null),
    found.quarantine.length ? h("div", { class: "notice", role: "note" }, h("strong", {}, "In quarantine"), h("ul", {}, found.quarantine.map((one) =>
      h("li", {}, `${one.modality}, ${one.encoder}: ${one.reason} (${day(one.at)})`)))) : null,
    h("section", { "aria-labelledby": "labels" }, h("h2", { id: "labels" }, "Labels"),
      found.labels.length ? h("dl", { class: "facts" }, found.labels.map((label) => [h("dt", {}, label.target), h("dd", {}, labelText(label))])) : h("p", { class: "soft" }, "No label."),
      found.splits.length ? h("p", { class: "soft" }, "Part: ", partsText(found.splits)) : null),
    h("section", { "aria-labelledby": "images" }, h("h2", { id: "images" }, "Images"),
      found.images.length ? h("div", { class: "cards" }, found.images.map((image, at) => imageCard(cohort, id, image, at < 1 || (image.modality !== found.images[at - 1].modality && at < 2), secret))) : h("p", { class: "soft" }, "The store knows no images of it; its codes were imported.")),
    h("section", { "aria-labelledby": "predictions" }, h("h2", { id: "predictions" }, "What the heads say"), predictions(found.predictions)),
    h("section", { "aria-labelledby": "neighbours" }, h("h2", { id: "neighbours" }, "Nearest cases"), neighbours(cohort, id, head, found, choices)),
    h("section", { "aria-labelledby": "lineage" }, h("h2", { id: "lineage" }, "Where its codes came from"), lineage(found.codes)),
  ];
}

function labelText(label) {
  const unit = label.unit ? ` ${label.unit}` : "";
  if (label.time !== null && label.time !== undefined) return `${told(label.time)}${unit}, ${label.event ? "event" : "no event up to then"}`;
  if (label.class && label.value !== null) return `${label.class}: ${label.value ? "yes" : "no"}`;
  return label.class || `${told(label.value)}${unit}`;
}

function partsText(splits) {
  const of = Map.groupBy(splits, (one) => one.split);
  return [...of].map(([split, rows]) => `${split}: ${rows.map((one) => (rows.length > 1 ? `${one.part} of fold ${one.fold}` : one.part)).join(", ")}`).join("; ");
}

function predictions(rows) {
  if (!rows.length) return h("p", { class: "soft" }, "No head was scored on it: it is in train, or none was trained.");
  const groups = Map.groupBy(rows, (row) => row.target);
  return [...groups].map(([target, all]) => {
    const real = all.filter((row) => !row.control);
    const controls = all.filter((row) => row.control);
    return [predictionTable(target, real), controls.length ? h("details", {}, h("summary", {}, `${controls.length} controls`), predictionTable(`${target}, controls`, controls)) : null];
  });
}

function predictionTable(target, rows) {
  const classes = rows.find((row) => row.classes.length)?.classes ?? [];
  const best = (row) => row.probabilities.indexOf(Math.max(...row.probabilities));
  return table(`${target}: mean over the runs that have not trained on this case`, [
    { title: "row", head: true, cell: (row) => row.row + (row.control ? `, ${row.control}` : "") },
    { title: "says", class: "word", cell: (row) => {
      if (row.higher_than !== null) return `a higher risk than ${Math.round(100 * row.higher_than)} % of the ${row.part} cases`;
      if (!row.probabilities.length) return `${told(row.value)}${row.unit ? ` ${row.unit}` : ""}`;
      if (row.kind === "multilabel") return row.classes.filter((_, at) => row.probabilities[at] >= 0.5).join(", ") || "none of the labels";
      const says = row.classes[best(row)];
      if (!row.label) return says;
      return [h("strong", { class: says === row.label ? "verdict helps" : "verdict hurts" }, says === row.label ? "right" : "wrong"), ": ", says];
    } },
    ...classes.map((name, at) => ({ title: name, number: true, cell: (row) => (at in row.probabilities ? [meter(row.probabilities[at]), number(row.probabilities[at])] : "–") })),
    { title: "heads", class: "wide", cell: (row) => [[row.guidance, row.decoder].filter(Boolean).join(", "), row.mode === "matched" ? "" : `, ${row.mode}`] },
    { title: "runs", number: true, cell: (row) => `${row.runs}, ${row.part}` },
  ], rows);
}

function meter(share) {
  const full = h("span", { class: "meter", "aria-hidden": "true" }, h("span"));
  full.firstChild.style.width = `${Math.round(100 * Math.max(0, Math.min(1, share)))}%`;
  return full;
}

function neighbours(cohort, id, head, found, choices) {
  const own = new Set(found.codes.filter((code) => code.kind === "codes").map((code) => code.code_set));
  const sets = choices.code_sets.filter((one) => own.has(one.name));
  if (!sets.length) return h("p", { class: "soft" }, "It has no case code.");
  const first = sets.find((one) => one.name === choices.pair?.inferior) ?? sets[0];
  const second = sets.find((one) => one.name === choices.pair?.superior) ?? sets.find((one) => one.modality !== first.modality);
  return h("div", { class: "pair" }, [["near_a", first], ["near_b", second]].filter(([, one]) => one).map(([name, one]) => {
    const box = h("div");
    const show = async (codeSet) => {
      try {
        const rows = await get("neighbours", { cohort, case: id, code_set: codeSet });
        fill(box, table(`Nearest in ${codeSet.slice(cohort.length + 1)} by cosine similarity`, [
          { title: "case", head: true, class: rows.every((row) => row.case_id.length <= SHORT) ? "short" : null, cell: (row) => h("a", { href: link({ page: "case", cohort, case: row.case_id, head }) }, row.case_id) },
          { title: "similarity", number: true, cell: (row) => number(row.similarity) },
          { title: "labels", cell: (row) => row.labels ?? "–" },
        ], rows));
      } catch (error) {
        fill(box, h("p", { class: "refused" }, error.message));
      }
    };
    const choose = select(name, sets.map((one_) => [one_.name, one_.name.slice(cohort.length + 1)]), one.name, { "aria-label": "code set", onchange: () => show(choose.value) });
    show(one.name);
    return h("div", {}, choose, box);
  }));
}

function lineage(codes) {
  return table("Codes and bags, and what each was made from", [
    { title: "code set", head: true, class: "id wide", cell: (row) => row.code_set },
    { title: "kind", cell: (row) => (row.kind === "bag" ? `bag of ${count(row.shape?.[0])} x ${row.shape?.[1]}` : `code of ${row.shape?.[0]}`) },
    { title: "made from", class: "id wide", cell: (row) => row.inputs.map((one) => `${one.kind ?? "file"} ${one.id}`).join(", ") },
    { title: "encoder trained on", cell: (row) => row.trained_on },
    { title: "snapshot", number: true, cell: (row) => row.snapshot },
    { title: "when (UTC)", class: "time", cell: (row) => day(row.created_at) },
    { title: "where", cell: (row) => row.device || "–" },
    { title: "preprocessing", cell: (row) => (row.preprocessing && row.preprocessing !== "{}" ? h("details", {}, h("summary", {}, "settings"), h("pre", {}, JSON.stringify(JSON.parse(row.preprocessing), null, 1))) : "–") },
  ], codes, { empty: "It has no code." });
}
