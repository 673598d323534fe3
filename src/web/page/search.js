// Finding a client by its name: a combo box, as the ARIA practices draw it.

import { part } from "./parts.js";

const FOUND_MAX = 8;

export class Search {
  #keys = [];
  #at = -1;

  /** `go` is called with the key of the client that was picked. */
  constructor(query, found, clients, go) {
    [this.query, this.found, this.clients, this.go] = [query, found, clients, go];
    query.addEventListener("input", () => this.#look());
    query.addEventListener("focus", () => this.#look());
    query.addEventListener("blur", () => this.#close());
    query.addEventListener("keydown", (event) => this.#key(event));
    // Before the field loses the focus, and with it the list.
    found.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const item = event.target.closest("li[id]");
      if (item) this.#pick([...found.children].indexOf(item));
    });
  }

  #look() {
    const text = this.query.value.trim();
    if (!text) return this.#close();
    const { clients, found } = this;
    const rows = clients.search(text, FOUND_MAX);
    this.#keys = rows.map((row) => clients.keys[row]);
    found.replaceChildren(...rows.map((row, i) => {
      const item = document.createElement("li");
      [item.id, item.role] = [`found-${i}`, "option"];
      part(item, "bdi").textContent = clients.names[row];
      part(item, "small").textContent = clients.locations[row].server;
      return item;
    }));
    if (!rows.length) {
      const none = part(found, "li", "quiet");
      [none.textContent, none.role] = ["Nobody has that name", "option"];
    }
    this.#choose(rows.length ? 0 : -1);
    found.hidden = false;
    this.query.setAttribute("aria-expanded", "true");
  }

  #choose(at) {
    this.#at = at;
    [...this.found.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
    this.query.setAttribute("aria-activedescendant", at < 0 ? "" : `found-${at}`);
  }

  #close() {
    this.found.hidden = true;
    this.#keys = [];
    this.query.setAttribute("aria-expanded", "false");
    this.query.setAttribute("aria-activedescendant", "");
  }

  #pick(at) {
    const key = this.#keys[at];
    if (key === undefined) return;
    this.#close();
    this.go(key);
  }

  #key(event) {
    const { length } = this.#keys;
    if (event.key === "ArrowDown" && length) this.#choose((this.#at + 1) % length);
    else if (event.key === "ArrowUp" && length) this.#choose((this.#at + length - 1) % length);
    else if (event.key === "Enter") this.#pick(this.#at);
    else if (event.key === "Escape") {
      this.query.value = "";
      this.#close();
    } else return;
    event.preventDefault();
  }
}
