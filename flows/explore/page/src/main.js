// The page: what the address names is shown, and what goes wrong is said in a sentence.
import { asked, get, link } from "./api.js";
import { oneCase } from "./case.js";
import { cohort } from "./cohort.js";
import { compare } from "./compare.js";
import { fill, h } from "./dom.js";
import { home } from "./home.js";
import { map } from "./map.js";
import { snapshots } from "./snapshots.js";
import { sweep } from "./sweep.js";

const PAGES = { home, cohort, compare, map, case: oneCase, snapshots, sweep };

async function show() {
  const main = document.getElementById("main");
  const { page = "home", at, cohort: name } = asked();
  const overview = get("overview"); // of a large store it takes a second, so only what shows it waits for it
  overview.catch(() => null);
  try {
    head({ page, at, name });
    overview.then((about) => head({ page, at, name, about }), () => null);
    fill(main, await (PAGES[page] ?? home)(overview));
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  } catch (error) {
    document.title = "guidestore";
    fill(main, h("h1", {}, "That cannot be shown"), h("p", { class: "refused", role: "alert" }, error.message), h("p", {}, h("a", { href: "?" }, "To the start")));
  }
  document.body.dataset.shown = page;
}

function head({ page, at, name, about }) {
    fill(document.getElementById("top"),
      h("nav", { "aria-label": "Site" },
        h("a", { class: "brand", href: link({}) || "?" }, "guidestore"),
        name ? h("a", { href: link({ page: "cohort", cohort: name }), "aria-current": page === "cohort" ? "page" : null }, name) : null,
        name ? h("a", { href: link({ page: "map", cohort: name }), "aria-current": page === "map" ? "page" : null }, "Map") : null,
        h("a", { href: link({ page: "snapshots" }), "aria-current": page === "snapshots" ? "page" : null }, "Snapshots"),
        about?.serve ? h("a", { href: about.serve }, "Flows") : null),
      h("p", { class: "where soft" }, about ? `${about.store}, snapshot ${about.snapshot}` : " ", at ? [" (", h("a", { href: newest() }, "go to the newest"), ")"] : ""));
}

function newest() {
  const query = new URLSearchParams(location.search);
  query.delete("at");
  return `?${query}`;
}

show();
