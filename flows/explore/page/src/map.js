// Two linked maps: the codes of two modalities of the same cases. What is asked for is in the address.
import { asked, fix, get, keep, link, numbers } from "./api.js";
import { field, headName, select } from "./cases.js";
import { count, fill, h, told } from "./dom.js";
import { Scatter } from "./scatter.js";

// Okabe and Ito's, which the colour-blind tell apart, then lighter and darker kin.
const CATEGORIES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A7A00", "#7B4FB5", "#A0522D", "#4C9A9A", "#B0578D", "#6B8E23"];
const TURNED = { "right in both": "#8FA3B0", "turned right": "#009E73", "turned wrong": "#D55E00", "wrong in both": "#7E6FB5" };
const NONE = [150, 150, 150];
const BLUES = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const SIDES = [[213, 94, 0], [225, 225, 225], [0, 90, 165]]; // about zero: what lost is orange, as what turned wrong
const TINTS = [[0, 0], [255, 0.5], [0, 0.45]]; // of those beyond: as they are, then lighter, then darker; grey and share of it
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const LISTED = 30;

function mixed(stops, share) {
  const at = Math.max(0, Math.min(stops.length - 1.0001, share * (stops.length - 1)));
  const [a, b, part] = [stops[Math.floor(at)], stops[Math.floor(at) + 1], at % 1];
  return a.map((value, i) => Math.round(value + (b[i] - value) * part));
}

/** The colour of the category at a place; no two of the first 36 are alike. */
function category(at) {
  const [grey, share] = TINTS[Math.floor(at / CATEGORIES.length) % TINTS.length];
  return rgb(CATEGORIES[at % CATEGORIES.length]).map((value) => Math.round(value + (grey - value) * share));
}

/** value -> [r, g, b], and the rows of the legend. */
function palette(about) {
  if (about.kind === "category") {
    const special = about.names.every((name) => name in TURNED);
    const colours = about.names.map((name, at) => (special ? rgb(TURNED[name]) : category(at)));
    return { of: (value) => (value === 255 ? NONE : colours[value]), rows: about.names.map((name, at) => [colours[at], name, about.counts[at]]) };
  }
  const diverges = about.low < 0 && about.high > 0;
  const span = Math.max(-about.low, about.high);
  const share = diverges ? (value) => (value + span) / (2 * span) : (value) => (value - about.low) / (about.high - about.low || 1);
  const steps = 256;
  const table = Array.from({ length: steps }, (_, at) => mixed(diverges ? SIDES : BLUES, at / (steps - 1)));
  const of = (value) => (Number.isNaN(value) ? NONE : table[Math.max(0, Math.min(steps - 1, Math.round(share(value) * (steps - 1))))]);
  return { of, rows: [], bar: [diverges ? -span : about.low, diverges ? span : about.high, table] };
}

export async function map() {
  const state = asked();
  const { cohort } = state;
  document.title = `${cohort}: map of codes`;
  const [choices, heads] = await Promise.all([get("maps", { cohort }), get("heads", { cohort }).catch(() => [])]);
  fix(choices.snapshot);
  if (!choices.code_sets.length) return [h("h1", {}, `${cohort}: map of codes`), h("p", {}, "There are no case codes yet; bags are pooled first (`guidestore encode … --encoder mean_pooling`).")];
  const names = choices.code_sets.map((one) => one.name);
  const paired = (name) => names.find((one) => one === name);
  const other = choices.code_sets.find((one) => one.modality !== choices.code_sets[0].modality) ?? choices.code_sets[0];
  const first = { a: state.a ?? paired(choices.pair?.inferior) ?? names[0], b: state.b ?? paired(choices.pair?.superior) ?? other.name };
  const head = state.head ?? "";
  const { columns, n } = await get("columns", { cohort, head });
  const colourable = columns.filter((column) => !["list", "text"].includes(column.kind) && !/^(s|both)_predicted$/.test(column.name) && column.name !== "true_class");
  const preferred = columns.find((column) => column.about === "label")?.name ?? colourable[0]?.name ?? "images";
  const quoted = (name) => (/^[a-z_]\w*$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`);
  const abouts = Object.fromEntries(colourable.map((column) => [quoted(column.name), column.about]));
  const colour = state.colour ?? quoted(preferred);

  const setName = (one) => `${one.name.slice(cohort.length + 1)} (${count(one.cases)} x ${one.d}${one.trained_on.includes("/") ? `, of ${one.trained_on.slice(cohort.length + 1)}` : ""})`;
  const options = choices.code_sets.map((one) => [one.name, setName(one)]);
  const reload = (changes) => location.assign(link({ ...asked(), ...changes }));
  const known = colourable.map((column) => [quoted(column.name), column.name]);
  const colours = known.some(([value]) => value === colour) ? known : [...known, [colour, colour]];
  const colourBy = select("colour", colours, colour, { onchange: () => recolour(colourBy.value) });
  const sql = h("input", { type: "text", name: "sql", size: "16", spellcheck: "false", autocomplete: "off", placeholder: "SQL, as i_p > .8" });
  const where = h("input", { type: "text", name: "where", value: state.where ?? "", size: "26", spellcheck: "false", autocomplete: "off", list: "conditions" });
  const search = h("input", { type: "search", name: "search", value: state.search ?? "", size: "12" });
  const status = h("p", { class: "soft", role: "status", id: "map-status" });
  const legend = h("ul", { class: "legend", "aria-label": "Colours" });
  const card = h("div", { class: "card", "aria-live": "polite" }, h("p", { class: "soft" }, "Point at a case: it shows in both maps. A click keeps it."));
  const chosen = h("div", { class: "chosen" });
  const lassoButton = h("button", { type: "button", "aria-pressed": "false", onclick: () => lassoMode(lassoButton.getAttribute("aria-pressed") !== "true") }, "Lasso");
  const clear = h("button", { type: "button", onclick: () => { keep({ at: state.at, lasso: "" }); selection = null; sides.forEach((one) => { one.scatter.corners = null; }); paint(); list(); } }, "Clear lasso");
  const whole = h("button", { type: "button", onclick: () => sides.forEach((one) => one.scatter.whole()) }, "Whole maps");

  const sides = [["a", "Inferior: z_I", first.a], ["b", "Superior: z_S", first.b]].map(([side, title, codeSet]) => {
    const canvas = h("canvas", { "aria-hidden": "true" });
    const over = h("canvas", { class: "over", "aria-hidden": "true" });
    const note = h("p", { class: "soft" }, "Reading codes …");
    const box = h("div", { class: "plot", tabindex: "0", role: "application", "aria-label": `${title}, map of ${codeSet}: arrows move, plus and minus zoom, 0 shows all, Enter keeps the case in the middle` }, canvas, over);
    const choose = select(side, options, codeSet, { onchange: () => reload({ [side]: choose.value, [`v${side}`]: "", lasso: "" }) });
    return { side, codeSet, box, canvas, over, note, element: h("section", { class: "map" }, field(title, choose), box, note) };
  });

  let shades = null;
  let fits = null;
  let selection = null;

  for (const one of sides) {
    one.scatter = new Scatter(one.box, one.canvas, one.over, {
      hover: (number) => point(number, false),
      pick: (number) => point(number, true),
      lasso: (corners) => lassoed(one, corners),
      moved: (view) => keep({ [`v${one.side}`]: [view.x, view.y, view.half].map((value) => Number(value.toPrecision(5))).join("_") }),
    });
    const view = state[`v${one.side}`]?.split("_").map(Number);
    if (view?.length === 3 && view.every(Number.isFinite)) one.scatter.view = { x: view[0], y: view[1], half: view[2] };
    if (!one.scatter.gl) fill(one.note, "This browser has no WebGL 2, so it cannot draw the map; the list of cases has all of it.");
  }

  function lassoMode(on) {
    lassoButton.setAttribute("aria-pressed", on);
    sides.forEach((one) => { one.scatter.lassoing = on; one.box.classList.toggle("lassoing", on); });
  }

  function lassoed(one, corners) {
    sides.filter((side) => side !== one).forEach((side) => { side.scatter.corners = null; side.scatter.marks(); });
    const step = Math.max(1, Math.ceil(corners.length / 60)); // an address has room for so many
    one.scatter.corners = corners.filter((_, at) => at % step === 0).map((corner) => corner.map((value) => Number(value.toPrecision(5))));
    selection = one.scatter.inside(one.scatter.corners);
    keep({ at: choices.snapshot, lasso: `${one.side}_${one.scatter.corners.flat().join("_")}` });
    lassoMode(false);
    paint();
    list();
  }

  function paint() {
    if (!shades) return;
    const { values, of } = shades;
    const inside = selection && new Uint8Array(n);
    selection?.forEach((number) => { inside[number] = 1; });
    const shade = (number, into, at) => {
      const off = fits && !fits[number];
      const [r, g, b] = off ? NONE : of(values[number]);
      into[at] = r;
      into[at + 1] = g;
      into[at + 2] = b;
      into[at + 3] = off ? 28 : inside && !inside[number] ? 95 : (shades.category ? values[number] === 255 : Number.isNaN(values[number])) ? 110 : 225;
    };
    sides.forEach((one) => one.scatter.places && one.scatter.paint(shade));
  }

  async function recolour(by) {
    keep({ colour: by });
    try {
      const { about: said, values } = await numbers("colours", { cohort, head, by, of: n });
      const made = palette(said);
      shades = { values, of: made.of, category: said.kind === "category" };
      fill(legend,
        made.rows.map(([colour_, name, number]) => h("li", {}, swatch(colour_), `${name} (${count(number)})`)),
        made.bar ? h("li", {}, bar(made.bar[2]), ` ${told(made.bar[0])} to ${told(made.bar[1])}`) : null,
        said.missing ? h("li", {}, swatch(NONE), `none (${count(said.missing)})`) : null,
        by === "gain" && made.bar ? h("li", {}, "orange: less well with guidance, blue: better") : null,
        by in abouts && abouts[by] !== "label" ? h("li", { class: "soft" }, abouts[by]) : null);
      say("");
      paint();
    } catch (error) {
      say(error.message);
    }
  }

  async function filter() {
    keep({ where: where.value, search: search.value });
    if (!where.value.trim() && !search.value.trim()) {
      fits = null;
      say(`${count(n)} cases`);
    } else {
      try {
        const { values } = await numbers("select", { cohort, head, where: where.value, search: search.value, of: n });
        fits = new Uint8Array(n);
        values.forEach((number) => { fits[number] = 1; });
        say(`${count(values.length)} of ${count(n)} cases fit`);
        if (values.length === 1) point(values[0], true);
      } catch (error) {
        say(error.message);
        return;
      }
    }
    if (selection) {
      const one = sides.find((side) => side.scatter.corners);
      paint();
      if (one) selection = one.scatter.inside(one.scatter.corners);
      list();
    }
    paint();
  }

  function say(text) {
    if (text) status.textContent = text;
  }

  let asking = null;
  let shown = -1;
  let pinned = -1;
  function point(number, keeps) {
    if (keeps) {
      pinned = number;
      sides.forEach((one) => one.scatter.pin(number));
    }
    if (number === shown && !keeps) return;
    shown = number;
    sides.forEach((one) => one.scatter.mark(number));
    const wanted = number < 0 ? pinned : number;
    if (wanted < 0) return;
    clearTimeout(asking);
    asking = setTimeout(async () => {
      try {
        describe(await get("point", { cohort, number: wanted, head, of: n }));
      } catch (error) {
        say(error.message);
      }
    }, keeps ? 0 : 60);
  }

  function describe(row) {
    if (row.i === pinned) keep({ case: row.case_id }); // its number may be another's tomorrow
    const left = Object.entries(row).filter(([name, value]) => !["i", "case_id"].includes(name) && value !== null && !(name === "quarantined" && !value));
    fill(card, h("p", {}, h("a", { href: link({ page: "case", cohort, case: row.case_id, head }) }, row.case_id), row.i === pinned ? " (kept)" : ""),
      h("dl", { class: "facts" }, left.map(([name, value]) => [h("dt", {}, name), h("dd", {}, told(value))])));
  }

  async function list() {
    if (!selection) return fill(chosen);
    if (!selection.length) return fill(chosen, h("p", {}, "No case lies in the lasso."));
    const some = selection.slice(0, LISTED);
    const rows = await get("cases", { cohort, head, where: `i IN (${some.join(", ")})` }).then((answer) => (answer.of === n ? answer.rows : []), () => []);
    fill(chosen, h("h2", {}, `${count(selection.length)} cases in the lasso`),
      h("ul", { class: "names" }, rows.map((row) => h("li", {}, h("a", { href: link({ page: "case", cohort, case: row.case_id, head }) }, row.case_id)))),
      selection.length > LISTED ? h("p", { class: "soft" }, `and ${count(selection.length - LISTED)} more`) : null);
  }

  function restoreLasso() {
    const [side, ...flat] = (state.lasso ?? "").split("_");
    const one = sides.find((other_) => other_.side === side);
    const values = flat.map(Number);
    if (!one?.scatter.places || values.length < 6 || !values.every(Number.isFinite)) return;
    one.scatter.corners = Array.from({ length: values.length >> 1 }, (_, at) => values.slice(2 * at, 2 * at + 2));
    selection = one.scatter.inside(one.scatter.corners);
    list();
  }

  async function restoreCase(id) {
    try {
      const { values } = await numbers("select", { cohort, head, where: `case_id = '${id.replaceAll("'", "''")}'`, of: n });
      if (values.length) point(values[0], true);
      else say(`${cohort} has no case ${id}`);
    } catch (error) {
      say(error.message);
    }
  }

  const form = h("form", { class: "ask", onsubmit: (event) => {
    event.preventDefault();
    if (sql.value.trim()) {
      const by = sql.value.trim();
      if (![...colourBy.options].some((option) => option.value === by)) colourBy.append(h("option", { value: by }, by));
      colourBy.value = by;
      sql.value = "";
      recolour(by);
    }
    filter();
  } },
    choices.umap.length ? field("places", select("method", [["pca", "PCA"], ["umap", "UMAP"]], state.method ?? "pca", { onchange: (event) => reload({ method: event.target.value, va: "", vb: "", lasso: "" }) })) : null,
    field("colour", colourBy), field("or by", sql),
    heads.length ? field("as seen by", select("head", [["", "no head"], ...heads.map((row) => [row.key, headName(row)])], head, { onchange: (event) => reload({ head: event.target.value, colour: heads.find((row) => row.key === event.target.value) ? (heads.find((row) => row.key === event.target.value).turns ? "turned" : "gain") : "", where: "" }) })) : null,
    field("id has", search), field("WHERE (SQL)", where),
    h("datalist", { id: "conditions" }, ["turned = 'turned wrong'", "gain < -0.2", "quarantined"].map((one) => h("option", { value: one }))),
    h("button", { type: "submit" }, "Show"));

  (async () => {
    await Promise.all(sides.map(async (one) => {
      try {
        const method = state.method === "umap" && choices.umap.includes(one.codeSet) ? "umap" : "pca";
        const { about: said, values } = await numbers("map", { cohort, code_set: one.codeSet, method });
        if (one.scatter.gl) one.scatter.points(values);
        fill(one.note, said.about);
      } catch (error) {
        fill(one.note, error.message);
        one.note.className = "refused";
      }
      paint();
    }));
    await recolour(colour);
    await filter();
    restoreLasso();
    paint();
    if (state.case) await restoreCase(state.case);
    document.body.dataset.ready = "map";
    window.guidestoreFrames = () => sides.flatMap((one) => one.scatter.frames.map(([, took]) => took)); // for measuring
  })();

  return [
    h("h1", {}, `${cohort}: map of codes`),
    h("p", { class: "ways" }, h("a", { href: link({ page: "cohort", cohort, head }) }, "Verdicts"), h("a", { href: link({ page: "cohort", cohort, head, where: state.where }) + "#cases" }, "Cases as a list")),
    form, legend, status,
    h("p", { class: "tools" }, lassoButton, clear, whole, h("span", { class: "soft" }, " drag moves, wheel or pinch zooms, Shift and drag is the lasso too")),
    h("div", { class: "maps" }, sides.map((one) => one.element), card),
    chosen,
  ];
}

function swatch([r, g, b]) {
  const mark = h("span", { class: "swatch", "aria-hidden": "true" });
  mark.style.backgroundColor = `rgb(${r}, ${g}, ${b})`;
  return mark;
}

function bar(table) {
  const mark = h("span", { class: "bar", "aria-hidden": "true" });
  mark.style.backgroundImage = `linear-gradient(to right, ${[0, 51, 102, 153, 204, 255].map((at) => `rgb(${table[at].join(", ")})`).join(", ")})`;
  return mark;
}
