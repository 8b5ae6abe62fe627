// Images of a case: slices of a volume in three planes, a photograph, a slide as a deep zoom with its tiles over it.
import OpenSeadragon from "openseadragon";
import { address, image as ask } from "./api.js";
import { select } from "./cases.js";
import { bytes, count, fill, h } from "./dom.js";

// OpenSeadragon adds a style of its own unless it finds one, and the page's policy lets none in: explore.css has it. This
// is none either, being of no namespace that means anything.
const found = document.createElementNS("urn:guidestore", "style");
found.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(found);

const TITLES = { axial: "axial", coronal: "coronal", sagittal: "sagittal" };

export function imageCard(cohort, id, image, open, secret) {
  const box = h("div");
  const named = { cohort, case: id, image: image.image_id, modality: image.modality };
  const title = image.image_id === id ? image.modality : `${image.modality}, ${image.image_id}`;
  const details = h("details", { class: "picture", open }, h("summary", {}, title, h("span", { class: "soft" }, ` ${bytes(image.size)}`)), box);
  let asked = false;
  const show = async () => {
    if (asked || !details.open) return;
    asked = true;
    fill(box, h("p", { class: "soft", role: "status" }, "Reading …"));
    try {
      const facts = await ask("facts", named);
      if (facts.kind === "volume") fill(box, volume(named, facts, title));
      else if (facts.kind === "slide") await slide(box, named, facts, title);
      else fill(box, h("img", { class: "photograph", src: address("image/photograph", named), alt: `${title} of ${id}` }));
    } catch (error) {
      fill(box, h("p", { class: secret ? "soft" : "refused" }, error.message));
    }
  };
  details.addEventListener("toggle", show);
  show();
  return details;
}

function volume(named, facts, title) {
  const [x, y, z] = facts.shape;
  const planes = Object.entries(facts.planes).map(([plane, { slices, sides }]) => {
    const middle = Math.floor(slices / 2);
    const picture = h("img", { alt: "", src: address("image/slice", { ...named, plane, number: middle }) });
    const output = h("output", {}, `${middle + 1} of ${slices}`);
    let wanted = middle;
    let busy = false;
    const load = () => {
      if (busy) return;
      busy = true;
      const number = wanted;
      picture.onload = picture.onerror = () => {
        busy = false;
        if (wanted !== number) load();
      };
      picture.src = address("image/slice", { ...named, plane, number });
    };
    const slider = h("input", { type: "range", min: 0, max: slices - 1, value: middle, "aria-label": `${TITLES[plane]} slice of ${title}`, oninput: () => {
      wanted = Number(slider.value);
      output.textContent = `${wanted + 1} of ${slices}`;
      load();
    } });
    const marks = ["left", "right", "top", "bottom"].map((side, at) => h("span", { class: `side ${side}`, "aria-hidden": "true" }, sides[at]));
    return h("figure", { class: "slice" }, h("div", { class: "pane" }, picture, marks), h("figcaption", {}, TITLES[plane], " ", output), slider);
  });
  return [
    h("div", { class: "slices" }, planes),
    h("p", { class: "soft" }, `${x} x ${y} x ${z} voxels of ${facts.spacing_mm.map((mm) => Number(mm.toFixed(2))).join(" x ")} mm; black ${Number(facts.window[0].toPrecision(4))}, white ${Number(facts.window[1].toPrecision(4))}. The patient is seen from the feet and from the front: R is on the left.`),
  ];
}

async function slide(box, named, facts, title) {
  const frame = h("div", { class: "slide", tabindex: "0", role: "application", "aria-label": `${title}: plus and minus zoom, arrows move` });
  const opacity = h("input", { type: "range", min: 0, max: 100, value: 45, "aria-label": "how strong the tiles show" });
  const layersBox = h("div", { class: "tools" });
  const scale = facts.mpp ? `${facts.mpp.toFixed(3)} um per pixel` : "um per pixel unknown";
  const zoom = (by) => () => viewer.viewport.zoomBy(by).applyConstraints();
  fill(box,
    h("div", { class: "tools" }, h("button", { type: "button", "aria-label": "zoom in", onclick: zoom(1.6) }, "+"), h("button", { type: "button", "aria-label": "zoom out", onclick: zoom(1 / 1.6) }, "−"), h("button", { type: "button", onclick: () => viewer.viewport.goHome() }, "whole"), layersBox),
    frame,
    h("p", { class: "soft" }, `${count(facts.width)} x ${count(facts.height)} pixels, ${scale}${facts.magnification ? `, ${facts.magnification}x` : ""}.`));
  const viewer = OpenSeadragon({
    element: frame,
    drawer: "canvas",
    showNavigationControl: false,
    gestureSettingsMouse: { clickToZoom: false },
    maxZoomPixelRatio: 4,
    visibilityRatio: 0.3,
    tileSources: {
      width: facts.width, height: facts.height, tileSize: facts.tile, tileOverlap: facts.overlap, minLevel: 0, maxLevel: facts.levels - 1,
      getTileUrl: (level, column, row) => address("image/tile", { ...named, level, column, row }),
    },
  });
  viewer.addHandler("open", () => { frame.dataset.open = "yes"; });
  viewer.addHandler("tile-drawn", () => { frame.dataset.drawn = Number(frame.dataset.drawn ?? 0) + 1; });
  const layers = await ask("tiles", named).catch(() => []);
  if (!layers.length) return;
  const over = h("canvas", { class: "over", "aria-hidden": "true" });
  viewer.canvas.append(over);
  const attended = layers.findIndex((layer) => layer.percent);
  let shown = attended >= 0 ? attended : 0;
  const choose = select("layer", [["-1", "no tiles"], ...layers.map((layer, at) => [String(at), layer.percent ? layer.name : `tiles of ${layer.name}`])], String(shown), { "aria-label": "tiles over the slide", onchange: () => {
    shown = Number(choose.value);
    paint();
  } });
  fill(layersBox, choose, opacity, h("span", { class: "soft" }, "attention: dark little, yellow much"));
  opacity.addEventListener("input", () => paint());
  const paint = () => {
    const ratio = window.devicePixelRatio || 1;
    const { x: w, y: d } = viewer.viewport.getContainerSize();
    if (over.width !== Math.round(w * ratio) || over.height !== Math.round(d * ratio)) {
      over.width = Math.round(w * ratio);
      over.height = Math.round(d * ratio);
    }
    const pen = over.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, w, d);
    const layer = layers[shown];
    if (!layer) return;
    const item = viewer.world.getItemAt(0);
    if (!item) return;
    const corner = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const unit = (item.imageToViewerElementCoordinates(new OpenSeadragon.Point(1e4, 0)).x - corner.x) / 1e4;
    const edge = layer.edge * unit;
    pen.globalAlpha = Number(opacity.value) / 100;
    layer.corners.forEach(([x, y], at) => {
      const [left, top] = [corner.x + x * unit, corner.y + y * unit];
      if (left > w || top > d || left + edge < 0 || top + edge < 0) return;
      if (layer.percent) {
        pen.fillStyle = viridis(layer.percent[at] / 100);
        pen.fillRect(left, top, Math.max(edge, 1), Math.max(edge, 1));
      } else {
        pen.strokeStyle = "#0072B2";
        pen.strokeRect(left + 0.5, top + 0.5, Math.max(edge - 1, 1), Math.max(edge - 1, 1));
      }
    });
    over.dataset.tiles = layer.corners.length;
  };
  for (const event of ["update-viewport", "open", "resize", "animation"]) viewer.addHandler(event, paint);
  paint();
}

const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
function viridis(share) {
  const at = Math.min(3.9999, Math.max(0, share * 4));
  const [a, b] = [STOPS[Math.floor(at)], STOPS[Math.floor(at) + 1]];
  return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * (at % 1))).join(",")})`;
}
