// The herd as a graph and as a table. Each half of a link has the colour that the server at its end gives it.

import { drawing, part, put, write } from "./parts.js";
import { duration } from "./problems.js";

const [WIDTH, HEIGHT] = [352, 214];
const NODE_RADIUS = 17;
const NODES_WITH_ROOM = 9; // more are drawn smaller
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const stateOf = (link) => (!link ? "unknown" : link.state === "up" ? "good" : "bad");

/** Whether a neighbour says that a link to `name` is up. */
const heardOf = (servers, name) => servers.some(({ status }) =>
  status?.links?.some((link) => link.neighbour === name && link.state === "up"));

/** Names in the order around a circle in which their links are short: swapped as long as that helps. */
function around(names, pairs) {
  const order = [...names];
  const length = () => {
    const place = new Map(order.map((name, i) => [name, i]));
    const chord = ([a, b]) => Math.sin((Math.PI * (place.get(a) - place.get(b))) / order.length) ** 2;
    return pairs.reduce((sum, pair) => sum + chord(pair), 0);
  };
  let best = length();
  for (let better = true; better;) {
    better = false;
    for (let i = 1; i < order.length; i++) { // the first stays at the top
      for (let j = i + 1; j < order.length; j++) {
        [order[i], order[j]] = [order[j], order[i]];
        const now = length();
        if (now < best - 1e-9) [best, better] = [now, true];
        else [order[i], order[j]] = [order[j], order[i]];
      }
    }
  }
  return order;
}

/** Where a name stands that goes on from its circle away from the middle, readable from the right or the left. */
function ray({ angle, x, y }, distance) {
  const left = Math.cos(angle) < -1e-9;
  const degrees = (angle * 180) / Math.PI + (left ? 180 : 0);
  const turn = `translate(${x} ${y}) rotate(${degrees}) translate(${left ? -distance : distance} 4)`;
  return { transform: turn, class: left ? "ray end" : "ray" };
}

export class Herd {
  #shape = "";
  #nodes = new Map();
  #edges = [];
  #rows = new Map();

  /** `chosen` is called with a server's name when it is clicked. */
  constructor(graph, table, chosen) {
    [this.graph, this.table, this.chosen] = [graph, table, chosen];
  }

  /** Shows the herd. `heardBy` says of a server how many clients it heard last, `marked` is the server chosen. */
  show(servers, heardBy, marked) {
    const named = new Map(servers.map((server) => [server.name, server]));
    for (const { status } of servers) {
      for (const { neighbour } of status?.links ?? []) {
        if (!named.has(neighbour)) named.set(neighbour, { name: neighbour, status: null });
      }
    }
    const all = [...named.values()];
    const link = (from, to) => named.get(from)?.status?.links?.find(({ neighbour }) => neighbour === to);
    const pairs = new Map();
    for (const { name, status } of all) {
      for (const { neighbour } of status?.links ?? []) {
        const pair = [name, neighbour].sort();
        pairs.set(pair.join("\0"), pair);
      }
    }
    // What is not said now, since its server is away, is drawn as it was.
    for (const { pair } of this.#edges) if (pair.every((name) => named.has(name))) pairs.set(pair.join("\0"), pair);
    const shape = JSON.stringify([[...named.keys()], [...pairs.keys()].sort()]);
    if (shape !== this.#shape) this.#build([...named.keys()], [...pairs.values()]);
    this.#shape = shape;
    for (const { pair, halves } of this.#edges) {
      halves.forEach((half, i) => put(half, "data-state", stateOf(link(pair[i], pair[1 - i]))));
    }
    for (const server of all) this.#showNode(server, heardOf(all, server.name), heardBy(server.name), marked);
    this.#showTable(all);
  }

  #showNode({ name, status }, heard, clients, marked) {
    const { group, circle, number } = this.#nodes.get(name);
    const state = !status ? (heard ? "unknown" : "bad") : status.ready === false ? "warn" : "good";
    put(circle, "data-state", state);
    put(group, "aria-pressed", String(marked === name));
    write(number, SHORT.format(clients));
    const word = { good: "ready", warn: "not ready", bad: "down", unknown: "not asked" }[state];
    put(group, "aria-label", `${name}: ${word}, ${clients} clients`);
  }

  #build(names, pairs) {
    this.graph.replaceChildren();
    this.#nodes.clear();
    const small = names.length > NODES_WITH_ROOM;
    const radius = small ? 6 : NODE_RADIUS;
    const height = small ? WIDTH : HEIGHT; // names that stand out like rays want a circle
    this.graph.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    const [across, down] = small ? [WIDTH / 2 - 80, height / 2 - 80] : [WIDTH / 2 - 52, HEIGHT / 2 - 36];
    const places = new Map(around(names, pairs).map((name, i) => {
      const angle = (i / names.length) * 2 * Math.PI - Math.PI / 2;
      return [name, { angle, x: WIDTH / 2 + Math.cos(angle) * across, y: height / 2 + Math.sin(angle) * down }];
    }));
    this.#edges = pairs.map((pair) => {
      const [a, b] = pair.map((name) => places.get(name));
      const [x, y] = [(a.x + b.x) / 2, (a.y + b.y) / 2];
      const halves = [a, b].map((end) => drawing(this.graph, "line", { x1: end.x, y1: end.y, x2: x, y2: y }));
      return { pair, halves };
    });
    for (const [name, place] of places) {
      const { x, y } = place;
      const group = drawing(this.graph, "g", { class: "node", role: "button", tabindex: "0" });
      const circle = drawing(group, "circle", { cx: x, cy: y, r: radius });
      const number = drawing(group, "text", { x, y, class: "number" });
      if (small) number.setAttribute("visibility", "hidden");
      drawing(group, "text", small ? ray(place, radius + 5) : { x, y: place.y < height / 2 + 1 ? y - radius - 8 : y + radius + 14 })
        .textContent = name;
      group.addEventListener("click", () => this.chosen(name));
      group.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.chosen(name);
      });
      this.#nodes.set(name, { group, circle, number });
    }
  }

  #showTable(servers) {
    const wanted = servers.flatMap(({ name, status }) => (status?.links ?? []).map(({ neighbour }) => `${name}\0${neighbour}`));
    if (wanted.join("\n") !== [...this.#rows.keys()].join("\n")) this.#buildTable(servers);
    for (const { name, status } of servers) {
      for (const link of status?.links ?? []) {
        const [state, behind, clock] = this.#rows.get(`${name}\0${link.neighbour}`);
        const up = link.state === "up";
        put(state, "data-level", up ? "good" : "bad");
        put(state, "title", link.reason ?? (link.encrypted ? "encrypted" : "not encrypted"));
        write(state.lastChild, up && link.encrypted ? "up, locked" : link.state);
        write(behind, !up ? "–" : link.lag_changes ? `${SHORT.format(link.lag_changes)}, ${duration(link.lag_seconds)}` : "0");
        const offset = link.clock_offset_seconds;
        write(clock, !up || typeof offset !== "number" ? "–" : `${offset < 0 ? "−" : "+"}${duration(Math.abs(offset))}`);
      }
    }
  }

  #buildTable(servers) {
    this.#rows.clear();
    for (const body of [...this.table.tBodies]) body.remove();
    for (const { name, status } of servers) {
      const links = status?.links ?? [];
      const body = links.length ? this.table.createTBody() : null;
      links.forEach(({ neighbour }, i) => {
        const row = body.insertRow();
        if (i === 0) {
          const head = part(row, "th");
          [head.textContent, head.rowSpan, head.scope] = [name, links.length, "rowgroup"];
        }
        row.insertCell().textContent = neighbour;
        const cells = [row.insertCell(), row.insertCell(), row.insertCell()];
        part(cells[0], "span", "mark");
        part(cells[0], "span");
        this.#rows.set(`${name}\0${neighbour}`, cells);
      });
    }
  }
}
