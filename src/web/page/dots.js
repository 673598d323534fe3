// Clients as dots, written into an image pixel by pixel: what a frame costs hangs on the pixels, not on
// the clients. Where more than DOTS_MAX are to be seen, those of a cell of the screen are one dot, the larger
// the more they are. No memory is asked for in a frame.

export const DOTS_MAX = 3000;
const CELL_PIXELS = 6;
const CELL_NUMBERS = 4; // of a cell: clients, sums of their x and y, how many stand out
const PILL_PIXELS = 112; // clusters that get a number are this far apart
export const PILLS_MAX = 24;
const GLIDE_MS = 700; // that a client takes to its new place
const FLASH_MS = 1500; // that a client stands out after it has moved
const STALE_MS = 10 * 60_000; // after which a client that was not heard is shown in grey
const RADII = [3, 3.5, 4.2]; // of dots of one client each: where many are seen, some, few
const CELL_RADII = [1.7, 2.1, 2.5, 2.9, 3.3, 3.7]; // of dots of many, by how many they stand for
const PER_RADIUS = 4; // each radius stands for so many times more clients
const FLASH_PART = 8; // a cell stands out if one of so many has moved
const OFF_SCREEN = -1e6;

/**
 * The pixels of a disc and of the `ring` around it, in an image `width` pixels wide: where each is, from the
 * middle, and its alpha; those of the ring come first, `inner` is the first of the disc.
 */
function disc(radius, ring, ratio, width) {
  const half = Math.ceil((radius + ring) * ratio);
  const [offsets, alphas] = [[], []];
  const add = (r) => {
    for (let y = -half; y <= half; y++) {
      for (let x = -half; x <= half; x++) {
        const alpha = Math.round(Math.max(0, Math.min(1, r * ratio + 0.5 - Math.hypot(x, y))) * 255);
        if (alpha && offsets.push(y * width + x)) alphas.push(alpha);
      }
    }
  };
  if (ring) add(radius + ring);
  const inner = offsets.length;
  add(radius);
  return { half, inner, offsets: Int32Array.from(offsets), alphas: Uint8Array.from(alphas) };
}

export class Dots {
  visible = 0; // clients on the screen
  moving = false; // whether some have not arrived yet
  gathered = false; // whether dots stand for several clients
  cellsDrawn = 0;
  pills = 0;
  #ratio = 0;

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.screenX = new Float32Array(1024); // of each client, OFF_SCREEN if it is not seen
    this.screenY = new Float32Array(1024);
    this.pillX = new Float32Array(PILLS_MAX);
    this.pillY = new Float32Array(PILLS_MAX);
    this.pillCount = new Int32Array(PILLS_MAX);
  }

  resize(width, height, ratio) {
    [this.width, this.height] = [width, height];
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = this.image.data;
    this.words = new Int32Array(this.pixels.buffer);
    this.columns = Math.ceil(width / CELL_PIXELS) + 1;
    const rows = Math.ceil(height / CELL_PIXELS) + 1;
    this.cells = new Float32Array(CELL_NUMBERS * this.columns * rows);
    this.pillColumns = Math.ceil(width / PILL_PIXELS) + 1;
    const pills = this.pillColumns * (Math.ceil(height / PILL_PIXELS) + 1);
    [this.sumX, this.sumY, this.sumCount] = [new Float64Array(pills), new Float64Array(pills), new Int32Array(pills)];
    this.discs = RADII.map((radius) => disc(radius, 1, ratio, this.canvas.width));
    this.cellDiscs = CELL_RADII.map((radius) => disc(radius, 0, ratio, this.canvas.width));
    this.#ratio = ratio;
  }

  /** Draws all. `marked` is the number of a server whose clients stand out, or -1; `glide` whether they glide. */
  draw(clients, view, now, wall, colours, marked, glide) {
    this.#project(clients, view, now, glide);
    this.words.fill(0);
    this.gathered = this.visible > DOTS_MAX;
    this.cellsDrawn = this.pills = 0;
    if (this.gathered) this.#drawCells(clients, now, colours, marked);
    else this.#drawEach(clients, now, wall, colours, marked);
    this.context.putImageData(this.image, 0, 0);
  }

  #project(clients, view, now, glide) {
    const { count, x, y, fromX, fromY, movedAt } = clients;
    if (this.screenX.length < count) {
      this.screenX = new Float32Array(x.length);
      this.screenY = new Float32Array(x.length);
    }
    const { scale, width, height } = view;
    const [middleX, middleY, worldX, worldY] = [width / 2, height / 2, view.x, view.y];
    const since = glide ? now - GLIDE_MS : Infinity;
    let visible = 0;
    this.moving = false;
    for (let i = 0; i < count; i++) {
      let px = x[i];
      let py = y[i];
      if (movedAt[i] > since) {
        const part = Math.min(1, Math.max(0, (now - movedAt[i]) / GLIDE_MS));
        const eased = part * (2 - part);
        px = fromX[i] + (px - fromX[i]) * eased;
        py = fromY[i] + (py - fromY[i]) * eased;
        this.moving = true;
      }
      let dx = px - worldX;
      if (dx > 0.5) dx -= 1;
      else if (dx < -0.5) dx += 1;
      const sx = dx * scale + middleX;
      const sy = (py - worldY) * scale + middleY;
      if (sx >= 0 && sx < width && sy >= 0 && sy < height) {
        visible++;
        this.screenX[i] = sx;
        this.screenY[i] = sy;
      } else this.screenX[i] = OFF_SCREEN;
    }
    this.visible = visible;
  }

  /** How much a client stands out: 0 grey, 1 as most do, 2 most of all. */
  #weight(clients, row, now, wall, marked) {
    if (marked >= 0 && clients.server[row] !== marked) return 0;
    if (clients.movedAt[row] > now - FLASH_MS) return 2;
    return wall - clients.heardAt[row] < STALE_MS ? 1 : 0;
  }

  // Those that stand out are drawn last, so that nothing lies on them.
  #drawEach(clients, now, wall, colours, marked) {
    const image = this.discs[this.visible < 60 ? 2 : this.visible < 600 ? 1 : 0];
    for (let weight = 0; weight < 3; weight++) {
      for (let i = 0; i < clients.count; i++) {
        if (this.screenX[i] === OFF_SCREEN || this.#weight(clients, i, now, wall, marked) !== weight) continue;
        this.#stamp(this.screenX[i], this.screenY[i], image, colours.dots[weight], colours.ring);
      }
    }
  }

  // First all clients into cells, then the cells in the order in which their pixels are in memory.
  #drawCells(clients, now, colours, marked) {
    const { cells, columns, screenX, screenY } = this;
    const { count, movedAt, server } = clients;
    for (let i = 0; i < count; i++) {
      const sx = screenX[i];
      if (sx === OFF_SCREEN) continue;
      const sy = screenY[i];
      const at = CELL_NUMBERS * (((sy / CELL_PIXELS) | 0) * columns + ((sx / CELL_PIXELS) | 0));
      cells[at]++;
      cells[at + 1] += sx;
      cells[at + 2] += sy;
      if (marked < 0 ? movedAt[i] > now - FLASH_MS : server[i] === marked) cells[at + 3]++;
    }
    this.sumX.fill(0);
    this.sumY.fill(0);
    this.sumCount.fill(0);
    for (let at = 0; at < cells.length; at += CELL_NUMBERS) {
      const n = cells[at];
      if (n === 0) continue;
      this.cellsDrawn++;
      let size = 0;
      for (let rest = n; rest >= PER_RADIUS && size < CELL_RADII.length - 1; rest /= PER_RADIUS) size++;
      const stands = cells[at + 3];
      let colour = colours.cells[size];
      if (marked >= 0 && stands === 0) colour = colours.dots[0];
      if (marked < 0 && stands * FLASH_PART >= n) colour = colours.dots[2];
      const x = cells[at + 1] / n;
      const y = cells[at + 2] / n;
      this.#stamp(x, y, this.cellDiscs[size], colour, 0);
      const pill = ((y / PILL_PIXELS) | 0) * this.pillColumns + ((x / PILL_PIXELS) | 0);
      this.sumX[pill] += cells[at + 1];
      this.sumY[pill] += cells[at + 2];
      this.sumCount[pill] += n;
    }
    cells.fill(0);
    this.#gatherPills();
  }

  // The largest of the coarse cells, each with the middle of its clients.
  #gatherPills() {
    const least = Math.max(20, this.visible / 200);
    while (this.pills < PILLS_MAX) {
      let best = -1;
      for (let i = 0; i < this.sumCount.length; i++) {
        if (this.sumCount[i] >= least && (best < 0 || this.sumCount[i] > this.sumCount[best])) best = i;
      }
      if (best < 0) return;
      const n = this.sumCount[best];
      this.pillX[this.pills] = this.sumX[best] / n;
      this.pillY[this.pills] = this.sumY[best] / n;
      this.pillCount[this.pills++] = n;
      this.sumCount[best] = 0;
    }
  }

  // A dot that would be cut off by the edge is left away. Colours are pixels as they are in memory: little
  // endian, red in the lowest byte, opaque.
  #stamp(x, y, image, colour, ring) {
    const { half, inner, offsets, alphas } = image;
    const { words, pixels } = this;
    const width = this.image.width;
    const px = Math.round(x * this.#ratio);
    const py = Math.round(y * this.#ratio);
    if (px < half || py < half || px >= width - half || py >= this.image.height - half) return;
    const middle = py * width + px;
    for (let i = 0; i < offsets.length; i++) {
      const pixel = middle + offsets[i];
      const alpha = alphas[i];
      const over = i < inner ? ring : colour;
      if (alpha === 255) words[pixel] = over;
      else if (words[pixel] === 0) words[pixel] = (over & 0xffffff) | (alpha << 24);
      else {
        const at = 4 * pixel;
        const under = (pixels[at + 3] * (255 - alpha)) / 255;
        const sum = alpha + under;
        pixels[at] = ((over & 255) * alpha + pixels[at] * under) / sum;
        pixels[at + 1] = (((over >>> 8) & 255) * alpha + pixels[at + 1] * under) / sum;
        pixels[at + 2] = (((over >>> 16) & 255) * alpha + pixels[at + 2] * under) / sum;
        pixels[at + 3] = sum;
      }
    }
  }

  /** The row of the client nearest to a point of the screen, -1 if none is within `reach` pixels. */
  nearest(clients, x, y, reach) {
    let best = reach * reach;
    let row = -1;
    for (let i = 0; i < clients.count; i++) {
      const dx = this.screenX[i] - x;
      const dy = this.screenY[i] - y;
      const square = dx * dx + dy * dy;
      if (square > best) continue;
      best = square;
      row = i;
    }
    return row;
  }

  /** How many clients are within `reach` pixels of a point of the screen. */
  near(clients, x, y, reach) {
    let found = 0;
    for (let i = 0; i < clients.count; i++) {
      const dx = this.screenX[i] - x;
      const dy = this.screenY[i] - y;
      if (dx * dx + dy * dy <= reach * reach) found++;
    }
    return found;
  }
}
