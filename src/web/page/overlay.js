// What lies around the dots: tracks below them; numbers of clusters, rings and the scale above.

import { PILLS_MAX } from "./dots.js";
import { TRACK_POINTS } from "./clients.js";

const TRACKS_AT_ONCE_MAX = 1500; // where more clients are seen, only the one chosen shows its way
const RING_MS = 1200; // that a ring spreads around a client that has moved
const RINGS_AT_ONCE_MAX = 150;

const NUMBERS_MS = 200; // that the numbers of clusters stand still, so that they can be read

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/**
 * Draws the ways of clients: one path for each age of their pieces, the oldest the palest. `blank` says whether the
 * layer has nothing on it; says whether it has nothing now.
 */
export function drawTracks(context, clients, dots, view, colours, chosen, marked, blank) {
  if (!blank) context.clearRect(0, 0, view.width, view.height);
  const all = !dots.gathered && dots.visible <= TRACKS_AT_ONCE_MAX;
  if (!all && chosen < 0) return true;
  context.lineCap = "round";
  context.strokeStyle = colours.track;
  for (let age = TRACK_POINTS - 1; age >= 0; age--) {
    context.beginPath();
    const [from, to] = all ? [0, clients.count] : [chosen, chosen + 1];
    for (let row = from; row < to; row++) {
      if (clients.trackLength[row] <= age || dots.screenX[row] < 0) continue;
      if (marked >= 0 && clients.server[row] !== marked) continue;
      tracePiece(context, clients, dots, view, row, age);
    }
    context.globalAlpha = 0.75 * (1 - age / TRACK_POINTS) ** 1.5 + 0.05;
    context.lineWidth = all ? 1.6 : 2;
    context.stroke();
  }
  context.globalAlpha = 1;
  return false;
}

/** The piece of the way `age` places ago; the youngest ends where the dot is now. */
function tracePiece(context, clients, dots, view, row, age) {
  const { track, trackEnd } = clients;
  const place = (back) => 2 * (row * TRACK_POINTS + ((trackEnd[row] - 1 - back + TRACK_POINTS) % TRACK_POINTS));
  const at = place(age);
  const x = view.screenX(track[at]);
  const y = view.screenY(track[at + 1]);
  let toX = dots.screenX[row];
  let toY = dots.screenY[row];
  if (age > 0) {
    const next = place(age - 1);
    toX = view.screenX(track[next]);
    toY = view.screenY(track[next + 1]);
  }
  if (Math.abs(toX - x) > view.width) return; // it went around the back of the world
  context.moveTo(x, y);
  context.lineTo(toX, toY);
}

export class Overlay {
  spreading = false; // whether rings are to be seen
  #drawn = { at: 0, what: "" };

  /** Draws what is above the dots. */
  draw(context, clients, dots, view, colours, now, { chosen, hovered, calm }) {
    const what = `${view.x} ${view.y} ${view.scale} ${view.width} ${view.height} ${hovered} ${chosen}`;
    const stands = what === this.#drawn.what && now - this.#drawn.at < NUMBERS_MS;
    if (stands && dots.gathered && hovered < 0 && chosen < 0) return;
    this.#drawn = { at: now, what };
    context.clearRect(0, 0, view.width, view.height);
    this.spreading = false;
    if (dots.gathered) this.#numbers(context, dots, colours);
    else if (!calm) this.#rings(context, clients, dots, colours, now);
    for (const [row, radius] of [[hovered, 8], [chosen, 10]]) {
      if (row < 0 || dots.screenX[row] < 0) continue;
      context.beginPath();
      context.arc(dots.screenX[row], dots.screenY[row], radius, 0, 2 * Math.PI);
      context.strokeStyle = colours.ink;
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  #rings(context, clients, dots, colours, now) {
    let left = RINGS_AT_ONCE_MAX;
    context.strokeStyle = colours.track;
    context.lineWidth = 1.2;
    for (let row = 0; row < clients.count && left > 0; row++) {
      const age = (now - clients.movedAt[row]) / RING_MS;
      if (age >= 1 || age < 0 || !clients.movedAt[row] || dots.screenX[row] < 0) continue;
      left--;
      this.spreading = true;
      context.globalAlpha = 0.6 * (1 - age);
      context.beginPath();
      context.arc(dots.screenX[row], dots.screenY[row], 5 + 11 * age, 0, 2 * Math.PI);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  #numbers(context, dots, colours) {
    context.font = `600 12px ${colours.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    for (let i = Math.min(dots.pills, PILLS_MAX) - 1; i >= 0; i--) {
      const text = SHORT.format(dots.pillCount[i]);
      context.strokeStyle = colours.halo;
      context.strokeText(text, dots.pillX[i], dots.pillY[i]);
      context.fillStyle = colours.ink;
      context.fillText(text, dots.pillX[i], dots.pillY[i]);
    }
    context.textAlign = "left";
  }
}
