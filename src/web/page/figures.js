// Figures of this page's server: a number each, and updates a second over the last minutes as a line.

import { drawing, part } from "./parts.js";
import { duration } from "./problems.js";

const SAMPLES_MAX = 300; // one a second: five minutes
const SAMPLES_AT_FIRST = 60; // that the line has room for
const WIDTH = 300;
const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

const bytes = (count) => {
  if (!Number.isFinite(count)) return "–";
  const power = count < 1024 ? 0 : Math.min(3, Math.floor(Math.log2(count) / 10));
  return `${(count / 1024 ** power).toFixed(power && count / 1024 ** power < 10 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB"][power]}`;
};
const whole = (count) => (Number.isFinite(count) ? NUMBER.format(count) : "–");

/** Name, value, more and level of each figure of a status. */
function figures(status, clients) {
  const journal = status.journal ?? {};
  const twitter = status.twitter ?? {};
  const asked = Number.isFinite(twitter.asked) ? `${NUMBER.format(twitter.asked)} asked` : "";
  return [
    ["Clients", whole(clients), ""],
    ["Connections", whole(status.connections), ""],
    ["Memory", bytes(status.memory_bytes), ""],
    ["Journal", journal.state ?? "–", Number.isFinite(journal.bytes) ? bytes(journal.bytes) : "", journal.state === "ok" ? "" : "bad"],
    ["Twitter", twitter.state ?? "–", asked, twitter.state === "ok" ? "" : "warn"],
    ["Up for", duration(status.uptime_seconds), status.version ? `version ${status.version}` : ""],
  ];
}

export class Figures {
  #samples = [];
  #tiles = new Map();

  constructor(element) {
    this.element = element;
    const wide = part(element, "div", "wide");
    const tile = part(wide, "div", "");
    part(tile, "div", "name").textContent = "Updates a second";
    this.rate = part(tile, "div", "value");
    this.line = drawing(wide, "svg", { viewBox: `0 0 ${WIDTH} 40`, preserveAspectRatio: "none", role: "img" });
    drawing(this.line, "path", { class: "spark-area" });
    drawing(this.line, "path", { class: "spark" });
  }

  /** Shows a status and one more second of the line. */
  show(status, clients) {
    const rate = Number(status.updates_per_second) || 0;
    this.#samples.push(rate);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    this.rate.textContent = NUMBER.format(rate);
    this.#draw();
    for (const [name, value, more, level] of figures(status, clients)) this.#tile(name, value, more, level);
  }

  #tile(name, value, more, level) {
    let tile = this.#tiles.get(name);
    if (!tile) {
      tile = part(this.element, "div", "");
      part(tile, "div", "name").textContent = name;
      part(tile, "div", "value");
      part(tile, "div", "more");
      this.#tiles.set(name, tile);
    }
    const [, shown, under] = tile.children;
    [shown.textContent, shown.title, under.textContent] = [value, value, more];
    if (level) shown.dataset.level = level;
    else delete shown.dataset.level;
  }

  #draw() {
    const samples = this.#samples;
    const most = Math.max(1, ...samples);
    const shown = Math.max(SAMPLES_AT_FIRST, samples.length);
    const x = (i) => (((shown - samples.length + i + 0.5) * WIDTH) / shown).toFixed(1);
    const points = samples.map((rate, i) => `${x(i)},${(38 - (36 * rate) / most).toFixed(1)}`);
    const [area, line] = this.line.children;
    line.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M${x(0)},40L${points.join("L")}L${x(samples.length - 1)},40Z`);
    this.line.setAttribute("aria-label", `Updates a second over the last ${samples.length} seconds, ${NUMBER.format(most)} at most`);
  }
}
