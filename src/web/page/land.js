// Land, borders and cities behind the clients. Drawn only when the view changes.

import { latitudeOf, worldX, worldY } from "./view.js";

const POINT_PIXELS_MIN = 0.6; // points of a coast that are closer than this are drawn as one
const LABEL_GAP_PIXELS = 14;
const BORDERS_FROM_SCALE = 900; // pixels around the equator; below, borders are clutter
const CITIES_AT_ONCE_MAX = 60;
const SCALE_PIXELS_MAX = 110;
const GRID_STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001]; // degrees
const GRID_PIXELS_MIN = 110;
const METRES = ["m", 1];
const KILOMETRES = ["km", 1000];

/** Reads land.bin; make-land.mjs says how it is written. */
export function decode(buffer) {
  const bytes = new Uint8Array(buffer);
  let at = 0;
  const number = () => {
    for (let value = 0, weight = 1; ; weight *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * weight;
      if (byte < 128) return value;
    }
  };
  const signed = (value = number()) => (value % 2 ? -(value + 1) / 2 : value / 2);
  const steps = number();
  const lines = () => Array.from({ length: number() }, () => {
    const points = new Float64Array(2 * number());
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0, x = 0, y = 0; i < points.length; i += 2) {
      x += signed();
      y += signed();
      points[i] = worldX(x / steps - 180);
      points[i + 1] = worldY(y / steps - 90);
      box[0] = Math.min(box[0], points[i]);
      box[1] = Math.min(box[1], points[i + 1]);
      box[2] = Math.max(box[2], points[i]);
      box[3] = Math.max(box[3], points[i + 1]);
    }
    return { points, box };
  });
  const [rings, borders] = [lines(), lines()];
  const text = new TextDecoder();
  const cities = Array.from({ length: number() }, () => {
    const [x, y] = [worldX(number() / steps - 180), worldY(number() / steps - 90)];
    const length = number();
    return { x, y, name: text.decode(bytes.subarray(at, (at += length))) };
  });
  return { rings, borders, cities };
}

/** Adds lines to the path of `context`, seen with the world moved by `turn` times around. */
function trace(context, lines, view, turn) {
  const { scale, width, height } = view;
  const left = width / 2 - (view.x - turn) * scale;
  const top = height / 2 - view.y * scale;
  for (const { points, box } of lines) {
    const [x0, x1] = [left + box[0] * scale, left + box[2] * scale];
    const [y0, y1] = [top + box[1] * scale, top + box[3] * scale];
    if (x1 < 0 || x0 > width || y1 < 0 || y0 > height) continue;
    if (x1 - x0 < POINT_PIXELS_MIN && y1 - y0 < POINT_PIXELS_MIN) continue;
    let [px, py] = [left + points[0] * scale, top + points[1] * scale];
    context.moveTo(px, py);
    for (let i = 2; i < points.length; i += 2) {
      const [x, y] = [left + points[i] * scale, top + points[i + 1] * scale];
      if (Math.abs(x - px) < POINT_PIXELS_MIN && Math.abs(y - py) < POINT_PIXELS_MIN) continue;
      context.lineTo(x, y);
      [px, py] = [x, y];
    }
  }
}

function drawCities(context, cities, view, colours) {
  const taken = [];
  context.font = `11px ${colours.font}`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 3;
  for (const { x, y, name } of cities) {
    const [px, py] = [view.screenX(x), view.screenY(y)];
    if (px < 0 || px > view.width || py < 0 || py > view.height) continue;
    const box = [px - 4, py - LABEL_GAP_PIXELS, px + 12 + 6.2 * name.length, py + LABEL_GAP_PIXELS];
    if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    if (taken.push(box) > CITIES_AT_ONCE_MAX) return;
    context.strokeStyle = colours.land;
    context.strokeText(name, px + 7, py);
    context.fillStyle = colours.label;
    context.fillText(name, px + 7, py);
    context.fillRect(px - 1.5, py - 1.5, 3, 3);
  }
}

/** Meridians and parallels, so far apart that they help rather than hinder. */
function drawGrid(context, view, colours) {
  const pixelsPerDegree = view.scale / 360;
  const step = GRID_STEPS.findLast((step) => step * pixelsPerDegree >= GRID_PIXELS_MIN) ?? GRID_STEPS[0];
  const { width, height } = view;
  context.beginPath();
  const west = (view.x - width / 2 / view.scale - 0.5) * 360;
  for (let i = Math.ceil(west / step); (i * step - west) * pixelsPerDegree <= width; i++) {
    const x = (i * step - west) * pixelsPerDegree;
    context.moveTo(x, 0);
    context.lineTo(x, height);
  }
  const north = latitudeOf(view.y - height / 2 / view.scale);
  const south = latitudeOf(view.y + height / 2 / view.scale);
  for (let i = Math.ceil(south / step); i * step <= north; i++) {
    const y = view.screenY(worldY(i * step));
    context.moveTo(0, y);
    context.lineTo(width, y);
  }
  context.strokeStyle = colours.grid;
  context.lineWidth = 1;
  context.stroke();
}

/** A line that is a round number of metres long. */
function drawScale(context, view, colours) {
  const room = view.metresPerPixel() * SCALE_PIXELS_MAX;
  const power = 10 ** Math.floor(Math.log10(room));
  const metres = [5, 2, 1].find((step) => step * power <= room) * power;
  const [unit, per] = metres < 1000 ? METRES : KILOMETRES;
  const length = metres / view.metresPerPixel();
  const [left, top] = [14, view.height - 14];
  context.strokeStyle = context.fillStyle = colours.label;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(left + 0.5, top - 4);
  context.lineTo(left + 0.5, top + 0.5);
  context.lineTo(left + length, top + 0.5);
  context.lineTo(left + length, top - 4);
  context.stroke();
  context.font = `11px ${colours.font}`;
  context.textBaseline = "bottom";
  context.fillText(`${(metres / per).toLocaleString("en")} ${unit}`, left + 5, top - 2);
}

/** Draws the world, with `names` of cities or without; `context` is scaled to pixels of the style sheet. */
export function drawLand(context, world, view, colours, names) {
  context.fillStyle = colours.sea;
  context.fillRect(0, 0, view.width, view.height);
  if (!world) return;
  const around = view.width / 2 / view.scale;
  const turns = [];
  // One more in the west: what crosses 180° reaches into the next turn.
  for (let turn = Math.floor(view.x - around) - 1; turn <= Math.floor(view.x + around); turn++) turns.push(turn);
  context.beginPath();
  for (const turn of turns) trace(context, world.rings, view, turn);
  context.fillStyle = colours.land;
  context.fill("evenodd");
  drawGrid(context, view, colours);
  if (view.scale >= BORDERS_FROM_SCALE) {
    context.beginPath();
    for (const turn of turns) trace(context, world.borders, view, turn);
    context.strokeStyle = colours.border;
    context.lineWidth = 0.8;
    context.stroke();
  }
  if (names) drawCities(context, world.cities, view, colours);
  drawScale(context, view, colours);
}
