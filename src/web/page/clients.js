// Where every client is: columns of numbers, so that 100,000 of them are passed over in a millisecond.
//
// Rows are in no order; the last row moves into the place of one that is removed.

import { aroundX, worldX, worldY } from "./view.js";

export const TRACK_POINTS = 16; // that are kept of a client's way
const ROWS_AT_FIRST = 1024;

export class Clients {
  count = 0;
  #rows = new Map(); // a client's key: its row
  #servers = new Map(); // a server's name: its number
  #round = 1;
  servers = []; // names, by number
  heardBy = []; // how many clients each server has heard last, by number
  names = [];
  lower = []; // names in lower case, for the search
  locations = []; // as the server sends them
  keys = [];

  constructor() {
    this.#columns(ROWS_AT_FIRST);
  }

  #columns(rows) {
    const column = (type, old, width = 1) => {
      const grown = new type(rows * width);
      if (old) grown.set(old);
      return grown;
    };
    this.x = column(Float64Array, this.x);
    this.y = column(Float64Array, this.y);
    this.fromX = column(Float64Array, this.fromX); // where it was before it moved
    this.fromY = column(Float64Array, this.fromY);
    this.movedAt = column(Float64Array, this.movedAt); // on the page's clock, in ms; 0 if not seen to move
    this.heardAt = column(Float64Array, this.heardAt); // in ms since 1970, by the server that heard it
    this.server = column(Uint16Array, this.server);
    this.round = column(Uint32Array, this.round);
    this.track = column(Float32Array, this.track, 2 * TRACK_POINTS); // a ring of places before the present one
    this.trackEnd = column(Uint8Array, this.trackEnd);
    this.trackLength = column(Uint8Array, this.trackLength);
  }

  #number(server) {
    let number = this.#servers.get(server);
    if (number === undefined) {
      number = this.servers.push(server) - 1;
      this.#servers.set(server, number);
      this.heardBy.push(0);
    }
    return number;
  }

  numberOf(server) {
    return this.#servers.get(server) ?? -1;
  }

  rowOf(key) {
    return this.#rows.get(key) ?? -1;
  }

  /** Takes in a location; `now` is the page's clock, or 0 if the client is not to be seen moving. */
  update(location, now) {
    const key = keyOf(location);
    const [x, y] = [worldX(location.longitude), worldY(location.latitude)];
    let row = this.rowOf(key);
    if (row < 0) {
      row = this.#added(key, location.client, x, y);
      if (now) this.movedAt[row] = now;
    } else {
      this.heardBy[this.server[row]]--;
      if (x !== this.x[row] || y !== this.y[row]) this.#move(row, x, y, now);
    }
    this.locations[row] = location;
    this.heardAt[row] = (Number(location.time) + Number(location.difference)) * 1000;
    this.server[row] = this.#number(location.server);
    this.heardBy[this.server[row]]++;
    this.round[row] = this.#round;
    return row;
  }

  #added(key, name, x, y) {
    const row = this.count++;
    if (row === this.x.length) this.#columns(2 * row);
    this.#rows.set(key, row);
    this.keys[row] = key;
    this.names[row] = name;
    this.lower[row] = name.toLowerCase();
    this.x[row] = this.fromX[row] = x;
    this.y[row] = this.fromY[row] = y;
    this.movedAt[row] = this.trackLength[row] = this.trackEnd[row] = 0;
    return row;
  }

  #move(row, x, y, now) {
    const end = this.trackEnd[row];
    const at = 2 * (row * TRACK_POINTS + end);
    [this.track[at], this.track[at + 1]] = [this.x[row], this.y[row]];
    this.trackEnd[row] = (end + 1) % TRACK_POINTS;
    this.trackLength[row] = Math.min(TRACK_POINTS, this.trackLength[row] + 1);
    [this.fromX[row], this.fromY[row]] = [this.x[row], this.y[row]];
    this.fromX[row] = x - aroundX(x - this.fromX[row]); // the shorter way around the world
    [this.x[row], this.y[row], this.movedAt[row]] = [x, y, now];
  }

  remove(key) {
    const row = this.rowOf(key);
    if (row < 0) return;
    this.heardBy[this.server[row]]--;
    this.#rows.delete(key);
    const last = --this.count;
    if (row !== last) {
      for (const column of [this.x, this.y, this.fromX, this.fromY, this.movedAt, this.heardAt, this.server,
        this.round, this.trackEnd, this.trackLength, this.names, this.lower, this.locations, this.keys]) {
        column[row] = column[last];
      }
      const width = 2 * TRACK_POINTS;
      this.track.copyWithin(row * width, last * width, (last + 1) * width);
      this.#rows.set(this.keys[row], row);
    }
    this.names.length = this.lower.length = this.locations.length = this.keys.length = last;
  }

  /** From here on all are sent anew: who is not, until `sweep`, is no more. */
  begin() {
    this.#round++;
  }

  sweep() {
    for (let row = this.count - 1; row >= 0; row--) {
      if (this.round[row] !== this.#round) this.remove(this.keys[row]);
    }
  }

  /** Rows of clients whose name has `text` in it, those that begin with it first, `limit` at most. */
  search(text, limit) {
    const wanted = text.toLowerCase();
    const [first, second] = [[], []];
    for (let row = 0; row < this.count && first.length < limit; row++) {
      const at = this.lower[row].indexOf(wanted);
      if (at === 0) first.push(row);
      else if (at > 0 && second.length < limit) second.push(row);
    }
    return first.concat(second).slice(0, limit);
  }
}

/**
 * What tells clients apart: the name, or its exact bytes where the name has some that are no text, behind a space, which
 * no name has.
 */
export const keyOf = ({ client, client_encoded: encoded }) => (encoded === undefined ? client : ` ${encoded}`);
