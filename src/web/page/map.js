// The map: its canvases, one above the other, and what pointer and keyboard do to it.

import { Dots } from "./dots.js";
import { drawLand } from "./land.js";
import { Overlay, drawTracks } from "./overlay.js";
import { View, latitudeOf } from "./view.js";

const RATIO_MAX = 2; // more pixels than this for one of the style sheet nobody sees
const REACH_PIXELS = 12; // from a dot that still mean it
const CLICK_PIXELS = 5; // that a click may move
const PAN_PIXELS = 80; // by an arrow key
const CLIENT_SCALE = 80_000; // pixels around the equator, when a client is shown: some 500 m a pixel
const FADE_REDRAW_MS = 1000; // dots that have gone stale are drawn anew this often

export class WorldMap {
  view = new View();
  world = null; // land, once it has been read
  frames = 0;
  chosen = null; // the key of a client
  marked = -1; // the number of a server
  hovered = -1;
  #stale = { land: true, dots: true };
  #drawnAt = 0;
  #pointers = new Map();
  #moved = 0;
  #blank = true; // whether the layer of tracks is
  #overlay = new Overlay();

  /** `changed` is called when another client is hovered over or chosen. */
  constructor(element, clients, changed) {
    [this.element, this.clients, this.changed] = [element, clients, changed];
    const [land, tracks, dots, overlay] = element.querySelectorAll("canvas");
    this.layers = [land, tracks, overlay].map((canvas) => canvas.getContext("2d"));
    this.dots = new Dots(dots);
    this.motion = matchMedia("(prefers-reduced-motion: reduce)");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.#readColours());
    this.#readColours();
    new ResizeObserver(() => this.#resize()).observe(element);
    this.#resize();
    this.#listen();
    requestAnimationFrame((now) => this.#frame(now));
  }

  get calm() {
    return this.motion.matches;
  }

  get chosenRow() {
    return this.chosen === null ? -1 : this.clients.rowOf(this.chosen);
  }

  /** Something has moved, come or gone. */
  redraw() {
    this.#stale.dots = true;
  }

  redrawLand() {
    this.#stale.land = this.#stale.dots = true;
  }

  #readColours() {
    const style = getComputedStyle(this.element);
    const value = (name) => style.getPropertyValue(`--${name}`).trim();
    const names = ["sea", "land", "border", "grid", "label", "ink", "halo", "track"];
    this.colours = Object.fromEntries(names.map((name) => [name, value(name)]));
    this.colours.font = style.fontFamily;
    const pixel = (name) => {
      const [red, green, blue] = value(name).match(/[0-9a-f]{2}/gi).map((digits) => parseInt(digits, 16));
      return 0xff000000 | (blue << 16) | (green << 8) | red; // as a signed number
    };
    this.colours.ring = pixel("ring");
    this.colours.dots = ["dim", "dot", "fresh"].map(pixel);
    this.colours.cells = [1, 2, 3, 4, 5, 6].map((step) => pixel(`cell-${step}`));
    this.redrawLand();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const ratio = Math.min(RATIO_MAX, devicePixelRatio);
    for (const { canvas } of this.layers) {
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    for (const context of this.layers) context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.dots.resize(width, height, ratio);
    this.view.resize(width, height);
    this.redrawLand();
  }

  #frame(now) {
    requestAnimationFrame((now) => this.#frame(now));
    if (this.view.turn(now)) this.redrawLand();
    if (now - this.#drawnAt > FADE_REDRAW_MS) this.redraw();
    const { land, dots } = this.#stale;
    if (!land && !dots) return;
    const { view, clients, colours, marked } = this;
    const [landLayer, trackLayer, overlayLayer] = this.layers;
    const wasGathered = this.dots.gathered;
    this.dots.draw(clients, view, now, Date.now(), colours, marked, !this.calm);
    const { gathered } = this.dots;
    if (land || gathered !== wasGathered) drawLand(landLayer, this.world, view, colours, !gathered);
    const chosen = this.chosenRow;
    this.#blank = drawTracks(trackLayer, clients, this.dots, view, colours, chosen, marked, this.#blank);
    const { hovered, calm } = this;
    this.#overlay.draw(overlayLayer, clients, this.dots, view, colours, now, { chosen, hovered, calm });
    this.#stale.land = false;
    this.#stale.dots = this.dots.moving || this.#overlay.spreading;
    this.#drawnAt = now;
    this.changed();
    this.frames++;
  }

  /** Chooses a client, or nobody with null. */
  choose(key) {
    this.chosen = key;
    this.redraw();
  }

  /** Goes to a client and chooses it. */
  show(key) {
    const row = this.clients.rowOf(key);
    if (row < 0) return;
    this.choose(key);
    this.fly(this.clients.x[row], this.clients.y[row], Math.max(this.view.scale, CLIENT_SCALE));
  }

  fly(x, y, scale) {
    this.view.fly(x, y, scale, performance.now(), this.calm);
    this.redrawLand();
  }

  home() {
    this.fly(0.5, 0.42, 0);
  }

  zoom(factor, x, y) {
    this.view.zoom(factor, x, y);
    this.redrawLand();
  }

  #pan(dx, dy) {
    this.view.pan(dx, dy);
    this.redrawLand();
  }

  #place(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  hover(row) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.element.style.cursor = row < 0 ? "" : "pointer";
    this.redraw();
  }

  #listen() {
    const { element } = this;
    const surface = this.layers[2].canvas;
    surface.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      const delta = Math.max(-120, Math.min(120, event.deltaY * lines));
      this.zoom(2 ** (-delta / (event.ctrlKey ? 60 : 240)), ...this.#place(event));
    }, { passive: false });
    surface.addEventListener("pointerdown", (event) => {
      surface.setPointerCapture(event.pointerId);
      if (!this.#pointers.size) this.#moved = 0;
      this.#pointers.set(event.pointerId, this.#place(event));
    });
    surface.addEventListener("pointermove", (event) => this.#pointerMoved(event));
    surface.addEventListener("pointerleave", () => this.hover(-1));
    const lifted = (event) => {
      const wasDown = this.#pointers.delete(event.pointerId);
      if (wasDown && event.type === "pointerup" && !this.#pointers.size && this.#moved < CLICK_PIXELS) this.#clicked(event);
    };
    surface.addEventListener("pointerup", lifted);
    surface.addEventListener("pointercancel", lifted);
    surface.addEventListener("dblclick", (event) => this.zoom(2, ...this.#place(event)));
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  #pointerMoved(event) {
    const [x, y] = this.#place(event);
    const before = this.#pointers.get(event.pointerId);
    if (!before) {
      this.hover(this.dots.nearest(this.clients, x, y, REACH_PIXELS));
      return;
    }
    this.#moved += Math.hypot(x - before[0], y - before[1]);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const distance = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      const factor = distance([x, y]) / Math.max(1, distance(before));
      this.#pan((x - before[0]) / 2, (y - before[1]) / 2);
      this.zoom(factor, (x + other[0]) / 2, (y + other[1]) / 2);
    } else if (this.#moved >= CLICK_PIXELS) {
      this.#pan(x - before[0], y - before[1]);
    }
    this.#pointers.set(event.pointerId, [x, y]);
  }

  #clicked(event) {
    const [x, y] = this.#place(event);
    const row = this.dots.nearest(this.clients, x, y, REACH_PIXELS);
    if (row >= 0 && this.dots.gathered) this.zoom(4, x, y); // a dot stands for many: look closer
    else this.choose(row < 0 ? null : this.clients.keys[row]);
  }

  /** Chooses the client that is next, by `step`, in the order of names of those on the screen. */
  step(step) {
    const { clients, dots } = this;
    const rows = [];
    for (let row = 0; row < clients.count; row++) if (dots.screenX[row] >= 0) rows.push(row);
    rows.sort((a, b) => (clients.names[a] < clients.names[b] ? -1 : 1));
    if (!rows.length) return;
    const at = rows.indexOf(this.chosenRow);
    const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : (at + step + rows.length) % rows.length;
    this.choose(clients.keys[rows[next]]);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const keys = {
      ArrowLeft: () => this.#pan(PAN_PIXELS, 0),
      ArrowRight: () => this.#pan(-PAN_PIXELS, 0),
      ArrowUp: () => this.#pan(0, PAN_PIXELS),
      ArrowDown: () => this.#pan(0, -PAN_PIXELS),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      0: () => this.home(),
      n: () => this.step(1),
      p: () => this.step(-1),
      Enter: () => this.chosen !== null && this.show(this.chosen),
      Escape: () => this.choose(null),
    };
    if (event.target !== this.element || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  }

  /** Latitude and longitude of the middle, in degrees. */
  get middle() {
    return [latitudeOf(this.view.y), (this.view.x - 0.5) * 360];
  }
}
