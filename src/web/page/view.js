// What part of the world the map shows, and how a place becomes a point on the screen.
//
// World coordinates are Mercator's: x from 0 at 180° west to 1 at 180° east, y from 0 in the north to 1 in
// the south. The world is round: x + 1 is x.

const LATITUDE_MAX = 85.05; // where the map is square
export const EARTH_METRES = 40_075_017; // the equator
const SCALE_MAX = 2 ** 26; // pixels around the equator: 0.6 m a pixel
const FLIGHT_MS = 900;

export const worldX = (longitude) => longitude / 360 + 0.5;

export function worldY(latitude) {
  const clipped = Math.max(-LATITUDE_MAX, Math.min(LATITUDE_MAX, latitude));
  return 0.5 - Math.asinh(Math.tan((clipped * Math.PI) / 180)) / (2 * Math.PI);
}

/** The latitude, in degrees, of a world's y. */
export const latitudeOf = (y) => (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI;

/** The signed way from one x to another, the shorter way around. */
export const aroundX = (dx) => dx - Math.round(dx);

export class View {
  width = 1;
  height = 1;
  x = 0.5;
  y = 0.42;
  scale = 1; // pixels around the equator
  #flight = null;

  resize(width, height) {
    const whole = this.scale <= this.#scaleMin() * 1.01;
    [this.width, this.height] = [Math.max(1, width), Math.max(1, height)];
    this.set(this.x, this.y, whole ? 0 : this.scale);
  }

  // The world fills the map, so that no place is on it twice.
  #scaleMin() {
    return Math.max(this.width, this.height);
  }

  set(x, y, scale) {
    this.scale = Math.max(this.#scaleMin(), Math.min(SCALE_MAX, scale));
    const half = this.height / 2 / this.scale;
    this.x = x - Math.floor(x);
    this.y = Math.max(half, Math.min(1 - half, y));
  }

  screenX(x) {
    return aroundX(x - this.x) * this.scale + this.width / 2;
  }

  screenY(y) {
    return (y - this.y) * this.scale + this.height / 2;
  }

  pan(dx, dy) {
    this.#flight = null;
    this.set(this.x - dx / this.scale, this.y - dy / this.scale, this.scale);
  }

  /** Zooms by `factor`; what is at (`px`, `py`) stays there. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    this.#flight = null;
    const [dx, dy] = [px - this.width / 2, py - this.height / 2];
    const [x, y] = [this.x + dx / this.scale, this.y + dy / this.scale];
    this.set(this.x, this.y, this.scale * factor);
    this.set(x - dx / this.scale, y - dy / this.scale, this.scale);
  }

  /** Goes to a place: at once, or in an arc that is high where the way is long. */
  fly(x, y, scale, now, atOnce) {
    if (atOnce) {
      this.#flight = null;
      this.set(x, y, scale);
      return;
    }
    const from = { x: this.x, y: this.y, zoom: Math.log2(this.scale) };
    const to = { x: from.x + aroundX(x - from.x), y, zoom: Math.log2(Math.max(scale, this.#scaleMin())) };
    const way = Math.hypot(to.x - from.x, to.y - from.y);
    const high = Math.log2(this.width / Math.max(way, 1e-9));
    const dip = Math.max(0, Math.min(from.zoom, to.zoom) - high);
    this.#flight = { from, to, dip, since: now };
  }

  /** Moves on a flight under way; says whether it goes on. */
  turn(now) {
    if (!this.#flight) return false;
    const { from, to, dip, since } = this.#flight;
    const part = Math.min(1, (now - since) / FLIGHT_MS);
    const eased = part * part * (3 - 2 * part);
    const zoom = from.zoom + (to.zoom - from.zoom) * eased - dip * 4 * eased * (1 - eased);
    this.set(from.x + (to.x - from.x) * eased, from.y + (to.y - from.y) * eased, 2 ** zoom);
    if (part === 1) this.#flight = null;
    return true;
  }

  /** How many metres a pixel is in the middle of the map. */
  metresPerPixel() {
    return (EARTH_METRES * Math.cos((latitudeOf(this.y) * Math.PI) / 180)) / this.scale;
  }
}
