// Elements from plain values. Text is set as text, never as markup: names in a store may hold anything.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes, `on…` handlers, properties by `.name`; children are elements or texts. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) element[name.slice(1)] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const number = (value, digits = 3) =>
  value === null || value === undefined ? "–" : Number.isInteger(value) && digits === 0 ? value.toLocaleString("en") : value.toFixed(digits);

export const count = (value) => (value ?? 0).toLocaleString("en");

const signed = (value, digits = 3) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(digits);

/** +0.031 [+0.004, +0.058], of value, low and high. */
export const ends = (three) => (three ? `${signed(three[0])} [${signed(three[1])}, ${signed(three[2])}]` : "–");

export const day = (text) => (text ? text.slice(0, 16).replace("T", " ") : "–");

export const short = (text, most = 28) => (text && text.length > most ? `${text.slice(0, most - 1)}…` : (text ?? ""));

/** A value of a cell in words. */
export function told(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (Array.isArray(value)) return value.map(told).join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : Math.abs(value) < 0.001 ? value.toPrecision(2) : value.toFixed(3);
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export const verdict = (text) =>
  h("strong", { class: text === "guidance helps" ? "verdict helps" : text === "hurts" ? "verdict hurts" : "verdict" }, text || "–");

/** What a whisker reaches to on either side: the ends of most intervals; a hopeless one does not hide the others. */
export function spanOf(rows) {
  const ends_ = rows.flatMap((row) => [row.gain, row.over_control]).filter(Boolean).map((three) => Math.max(...three.map(Math.abs))).sort((a, b) => a - b);
  return Math.max(0.02, (ends_[Math.floor(ends_.length / 2)] ?? 0) * 1.5);
}

/** An interval drawn against zero; the numbers stand beside it, so it is hidden from readers. */
export function whisker(three, span) {
  if (!three || !span) return null;
  const x = (value) => 50 + (48 * Math.max(-span, Math.min(span, value))) / span;
  return svg(
    "svg",
    { class: "whisker", viewBox: "0 0 100 12", "aria-hidden": "true", focusable: "false" },
    svg("line", { x1: 50, x2: 50, y1: 0, y2: 12, class: "zero" }),
    svg("line", { x1: x(three[1]), x2: x(three[2]), y1: 6, y2: 6, class: "span" }),
    svg("circle", { cx: x(three[0]), cy: 6, r: 3, class: "dot" }),
  );
}

/**
 * A table that scrolls within itself where it is wider than the page.
 * quiet: its caption is for readers alone. columns: {title, cell(row), number, value(row) to sort by, head: the cell is the row's header}.
 */
export function table(caption, columns, rows, { sortable = false, key, empty = "None.", quiet = false } = {}) {
  if (!rows.length) return h("p", { class: "soft" }, empty);
  const body = h("tbody");
  let order = null;
  const draw = () => {
    const sorted = [...rows];
    if (order) {
      const { value, down } = order;
      const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      sorted.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        return down ? compare(y, x) : compare(x, y);
      });
    }
    fill(body, sorted.map((row) =>
      h("tr", key ? { "data-key": key(row) } : {}, columns.map((column) =>
        column.head
          ? h("th", { scope: "row", class: column.class }, column.cell(row))
          : h("td", { class: [column.number ? "n" : "", column.class ?? ""].join(" ").trim() || null }, column.cell(row)))),
    ));
  };
  const heads = columns.map((column) => {
    const head = h("th", { scope: "col", class: column.number ? "n" : null });
    if (!sortable || !column.value) return fill(head, column.title);
    const button = h("button", { class: "sort", type: "button", onclick: () => {
      const down = order?.column === column ? !order.down : Boolean(column.number);
      order = { column, value: column.value, down };
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      draw();
    } }, column.title);
    return fill(head, button);
  });
  draw();
  return scrolled(caption, h("table", { "aria-label": caption }, h("thead", {}, h("tr", {}, heads)), body), quiet);
}

/** A wide thing in a frame that scrolls; the caption stands outside, where it is never cut. */
export const scrolled = (caption, wide, quiet = false) => [
  h("p", { class: quiet ? "caption sr" : "caption", "aria-hidden": "true" }, caption),
  h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, wide),
];

export const bytes = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(1)} GB` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : `${Math.ceil(n / 1e3)} KB`);
