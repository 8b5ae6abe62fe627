// Points in WebGL. They lie in a shuffled order, so that the first of them are a fair sample: while the view moves that
// sample is drawn, and when it stands still the rest is added, as much per frame as the machine draws in FRAME_MS.
// The shaders are compiled by the browser: no library that writes code of its own passes the page's policy.
import { createProgramInfo, createBufferInfoFromArrays, setAttribInfoBufferFromArray, setBuffersAndAttributes, setUniforms } from "twgl.js";

const FRAME_MS = 40;
const FIRST = 20000;
const NEAR_PX = 9;
const VERTEX = `#version 300 es
in vec2 place; in vec4 colour; uniform vec2 centre; uniform vec2 scale; uniform float size; out vec4 shade;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = colour.a > 0.3 ? size : size * 0.7;
  shade = colour;
}`;
const FRAGMENT = `#version 300 es
precision mediump float; in vec4 shade; uniform float round_; out vec4 pixel;
void main() {
  vec2 off = gl_PointCoord - 0.5;
  if (round_ > 0.5 && dot(off, off) > 0.25) discard;
  pixel = vec4(shade.rgb * shade.a, shade.a);
}`;

/** The same order everywhere: a multiplicative congruential shuffle. */
function shuffled(n) {
  const order = new Int32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  let state = 12345;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 4294967296) * (i + 1));
    const kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  return order;
}

export class Scatter {
  /** box: an element that the map fills. calls: hover(number or -1), pick(number), lasso(numbers, corners), moved(view). */
  constructor(box, canvas, over, calls) {
    this.box = box;
    this.canvas = canvas;
    this.over = over;
    this.calls = calls;
    this.view = null;
    this.marked = -1;
    this.pinned = -1;
    this.corners = null;
    this.lassoing = false;
    this.n = 0;
    this.chunk = FIRST;
    this.frames = [];
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, preserveDrawingBuffer: true, depth: false });
    this.gl = gl;
    if (!gl) return;
    const named = gl.getExtension("WEBGL_debug_renderer_info");
    canvas.dataset.renderer = gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    this.program = createProgramInfo(gl, [VERTEX, FRAGMENT]);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    new ResizeObserver(() => this.resize()).observe(box);
    this.listen();
  }

  /** places: Float32Array of x and y by number, NaN for none. */
  points(places) {
    const all = places.length / 2;
    const order = shuffled(all).filter((i) => !Number.isNaN(places[2 * i]));
    const n = order.length;
    const own = new Float32Array(2 * n);
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let k = 0; k < n; k++) {
      const [x, y] = [places[2 * order[k]], places[2 * order[k] + 1]];
      own[2 * k] = x;
      own[2 * k + 1] = y;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < low) low = y;
      if (y > high) high = y;
    }
    Object.assign(this, { places, order, n, own });
    this.extent = n ? { x: (left + right) / 2, y: (low + high) / 2, half: Math.max(right - left, high - low, 1e-9) * 0.54 } : { x: 0, y: 0, half: 1 };
    this.grid(left, right, low, high);
    this.colours = new Uint8Array(4 * n);
    if (!this.gl) return;
    if (this.buffers) for (const one of Object.values(this.buffers.attribs)) this.gl.deleteBuffer(one.buffer);
    this.buffers = createBufferInfoFromArrays(this.gl, {
      place: { numComponents: 2, data: own },
      colour: { numComponents: 4, data: this.colours, normalize: true },
    });
    if (!this.view) this.view = { ...this.extent };
    this.resize();
  }

  /** shade(number) writes r, g, b, a of a point into the array at a place. */
  paint(shade) {
    for (let k = 0; k < this.n; k++) shade(this.order[k], this.colours, 4 * k);
    if (this.gl && this.buffers) setAttribInfoBufferFromArray(this.gl, this.buffers.attribs.colour, this.colours);
    this.draw();
  }

  grid(left, right, low, high) {
    const side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(this.n / 3))));
    const [w, d] = [Math.max(right - left, 1e-9) / side, Math.max(high - low, 1e-9) / side];
    const cell = (x, y) =>
      Math.min(side - 1, Math.max(0, Math.floor((x - left) / w))) + side * Math.min(side - 1, Math.max(0, Math.floor((y - low) / d)));
    const starts = new Int32Array(side * side + 1);
    for (let k = 0; k < this.n; k++) starts[cell(this.own[2 * k], this.own[2 * k + 1]) + 1]++;
    for (let c = 0; c < side * side; c++) starts[c + 1] += starts[c];
    const at = starts.slice();
    const held = new Int32Array(this.n);
    for (let k = 0; k < this.n; k++) held[at[cell(this.own[2 * k], this.own[2 * k + 1])]++] = k;
    this.cells = { side, w, d, left, low, starts, held };
  }

  /** The number of the point nearest to a place of the screen; -1 for none within NEAR_PX. */
  nearest(px, py) {
    if (!this.n) return -1;
    const { side, w, d, left, low, starts, held } = this.cells;
    const [x, y] = this.data(px, py);
    const reach = NEAR_PX / this.pixels();
    const span = (value, from, step) => Math.min(side - 1, Math.max(0, Math.floor((value - from) / step)));
    let [best, found] = [reach * reach, -1];
    let looked = 0;
    for (let row = span(y - reach, low, d); row <= span(y + reach, low, d); row++) {
      for (let column = span(x - reach, left, w); column <= span(x + reach, left, w); column++) {
        for (let at = starts[row * side + column]; at < starts[row * side + column + 1]; at++) {
          const k = held[at];
          if (this.colours[4 * k + 3] < 90) continue; // filtered out
          const off = (this.own[2 * k] - x) ** 2 + (this.own[2 * k + 1] - y) ** 2;
          if (off < best) [best, found] = [off, k];
          if (++looked > 60000) return found < 0 ? -1 : this.order[found];
        }
      }
    }
    return found < 0 ? -1 : this.order[found];
  }

  pixels() {
    return Math.min(this.width, this.height) / (2 * this.view.half);
  }
  data(px, py) {
    return [this.view.x + (px - this.width / 2) / this.pixels(), this.view.y - (py - this.height / 2) / this.pixels()];
  }
  screen(x, y) {
    return [(x - this.view.x) * this.pixels() + this.width / 2, this.height / 2 - (y - this.view.y) * this.pixels()];
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.box.clientWidth;
    this.height = this.box.clientHeight;
    for (const one of [this.canvas, this.over]) {
      one.width = Math.round(this.width * ratio);
      one.height = Math.round(this.height * ratio);
    }
    this.draw();
  }

  draw() {
    if (!this.gl || !this.buffers || !this.view) return;
    this.drawn = 0;
    this.marks();
    if (!this.asked) this.asked = requestAnimationFrame(() => this.frame());
  }

  frame() {
    this.asked = 0;
    const { gl } = this;
    const began = performance.now();
    const ratio = window.devicePixelRatio || 1;
    if (!this.drawn) {
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
    }
    const some = Math.min(this.chunk, this.n - this.drawn);
    if (some > 0) {
      const zoom = Math.sqrt(this.extent.half / this.view.half);
      const size = Math.max(1.5, Math.min(9, (this.n > 200000 ? 1.6 : this.n > 5000 ? 3 : 7) * Math.min(zoom, 4))) * ratio;
      gl.useProgram(this.program.program);
      setBuffersAndAttributes(gl, this.program, this.buffers);
      setUniforms(this.program, {
        centre: [this.view.x, this.view.y],
        scale: [(2 * this.pixels()) / this.width, (2 * this.pixels()) / this.height],
        size,
        round_: size > 3 ? 1 : 0,
      });
      gl.drawArrays(gl.POINTS, this.drawn, some);
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits until it is drawn
      const took = performance.now() - began;
      this.frames.push([some, took]);
      if (this.frames.length > 400) this.frames.shift();
      if (took > 1.5 * FRAME_MS) this.chunk = Math.max(2000, Math.round(this.chunk / 2));
      else if (took < FRAME_MS / 2 && some === this.chunk) this.chunk = Math.min(4e6, Math.round(this.chunk * 1.6));
      this.drawn += some;
    }
    this.canvas.dataset.drawn = this.drawn;
    this.canvas.dataset.points = this.n;
    if (this.drawn < this.n) this.asked = requestAnimationFrame(() => this.frame());
  }

  marks() {
    const pen = this.over.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const ink = getComputedStyle(this.box).color;
    const paper = getComputedStyle(this.box).backgroundColor;
    if (this.corners?.length > 1) {
      pen.beginPath();
      this.corners.forEach(([x, y], at) => (at ? pen.lineTo : pen.moveTo).call(pen, ...this.screen(x, y)));
      pen.closePath();
      pen.strokeStyle = ink;
      pen.lineWidth = 1.5;
      pen.setLineDash([5, 3]);
      pen.stroke();
      pen.setLineDash([]);
    }
    for (const [number, wide] of [[this.pinned, 2.5], [this.marked, 1.5]]) {
      if (number < 0 || !this.places || Number.isNaN(this.places[2 * number])) continue;
      const [x, y] = this.screen(this.places[2 * number], this.places[2 * number + 1]);
      for (const [colour, extra] of [[paper, 3], [ink, 0]]) {
        pen.beginPath();
        pen.arc(x, y, 8, 0, 2 * Math.PI);
        pen.moveTo(x - 15, y);
        pen.lineTo(x - 8, y);
        pen.moveTo(x + 8, y);
        pen.lineTo(x + 15, y);
        pen.strokeStyle = colour;
        pen.lineWidth = wide + extra;
        pen.stroke();
      }
    }
  }

  mark(number) {
    this.marked = number;
    if (this.view) this.marks();
  }
  pin(number) {
    this.pinned = number;
    if (this.view) this.marks();
  }

  move(view) {
    this.view = view;
    this.draw();
    clearTimeout(this.told);
    this.told = setTimeout(() => this.calls.moved(this.view), 250);
  }
  whole() {
    this.move({ ...this.extent });
  }
  zoom(by, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.data(px, py);
    const half = Math.max(this.extent.half * 1e-4, Math.min(this.extent.half * 4, this.view.half * by));
    const by_ = half / this.view.half;
    this.move({ x: x + (this.view.x - x) * by_, y: y + (this.view.y - y) * by_, half });
  }

  /** Numbers of the points inside a polygon of data coordinates; those filtered out are not among them. */
  inside(corners) {
    const [xs, ys] = [corners.map((one) => one[0]), corners.map((one) => one[1])];
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const found = [];
    for (let k = 0; k < this.n; k++) {
      const [x, y] = [this.own[2 * k], this.own[2 * k + 1]];
      if (x < left || x > right || y < low || y > high) continue;
      let within = false;
      for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
        const [[xi, yi], [xj, yj]] = [corners[i], corners[j]];
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
      }
      if (within) found.push(this.order[k]);
    }
    return Int32Array.from(found).sort();
  }

  listen() {
    const { box } = this;
    const at = (event) => {
      const edge = box.getBoundingClientRect();
      return [event.clientX - edge.left, event.clientY - edge.top];
    };
    const fingers = new Map();
    let from = null;
    let far = 0;
    box.addEventListener("pointerdown", (event) => {
      if (event.button || !this.n) return;
      box.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
      far = 0;
      from = { at: at(event), view: { ...this.view }, apart: this.apart(fingers) };
      if (this.lassoing || event.shiftKey) this.corners = [this.data(...at(event))];
      from.lasso = this.lassoing || event.shiftKey;
    });
    box.addEventListener("pointermove", (event) => {
      if (!this.n) return;
      const here = at(event);
      if (!from) {
        this.calls.hover(this.nearest(...here));
        return;
      }
      fingers.set(event.pointerId, here);
      far = Math.max(far, Math.hypot(here[0] - from.at[0], here[1] - from.at[1]));
      if (fingers.size === 2) {
        const apart = this.apart(fingers);
        if (from.apart) this.zoom(from.apart / apart);
        from.apart = apart;
      } else if (from.lasso) {
        this.corners.push(this.data(...here));
        this.marks();
      } else if (far > 3) {
        const by = this.pixels();
        this.move({ ...this.view, x: from.view.x - (here[0] - from.at[0]) / by, y: from.view.y + (here[1] - from.at[1]) / by });
      }
    });
    const up = (event) => {
      fingers.delete(event.pointerId);
      if (!from) return;
      if (from.lasso) {
        if (this.corners.length > 2 && far > 5) this.calls.lasso(this.corners);
        else {
          this.corners = null;
          this.marks();
        }
      } else if (far <= 3 && event.type === "pointerup") {
        const number = this.nearest(...at(event));
        if (number >= 0) this.calls.pick(number);
      }
      if (!fingers.size) from = null;
    };
    box.addEventListener("pointerup", up);
    box.addEventListener("pointercancel", up);
    box.addEventListener("pointerleave", () => !from && this.calls.hover(-1));
    box.addEventListener("wheel", (event) => {
      if (!this.n) return;
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
    }, { passive: false });
    box.addEventListener("keydown", (event) => {
      if (!this.n || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = this.view.half * 0.2;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (moves[event.key]) this.move({ ...this.view, x: this.view.x + moves[event.key][0], y: this.view.y + moves[event.key][1] });
      else if (event.key === "+" || event.key === "=") this.zoom(0.8);
      else if (event.key === "-") this.zoom(1.25);
      else if (event.key === "0") this.whole();
      else if (event.key === "Enter") {
        const number = this.nearest(this.width / 2, this.height / 2);
        if (number >= 0) this.calls.pick(number);
      } else return;
      event.preventDefault();
    });
  }

  apart(fingers) {
    if (fingers.size !== 2) return 0;
    const [a, b] = [...fingers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  }
}
