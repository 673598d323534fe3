// The live page: puts map, herd and figures together, and asks the server how it is.

import { Clients } from "./clients.js";
import { Figures } from "./figures.js";
import { follow } from "./feed.js";
import { Herd } from "./herd.js";
import { decode } from "./land.js";
import { WorldMap } from "./map.js";
import { part } from "./parts.js";
import { duration, problems } from "./problems.js";
import { Search } from "./search.js";

const ASK_MS = 1000; // between questions for the herd's state
const ASK_HIDDEN_MS = 5000; // while nobody looks: the title has to be true, no more
const ANSWER_MS_MAX = 4000;

const at = (id) => document.getElementById(id);
const clients = new Clients();
const map = new WorldMap(at("map"), clients, showClient);
const figures = new Figures(at("figures"));
const herd = new Herd(at("graph"), at("links"), mark);
new Search(at("query"), at("found"), clients, (key) => {
  map.show(key);
  map.element.focus();
});

let servers = []; // as /v1/herd has them
let own = null; // the status of this page's server
let ownName = "";
let stream = "loading";
let answers = true; // whether the last question was answered
let markedName = null;
let lastSaid = "";

function say(text) {
  if (text !== lastSaid) at("said").textContent = lastSaid = text;
}

/** Lets the clients of a server stand out, or those of none if they do already. */
function mark(name) {
  markedName = markedName === name ? null : name;
  showHerd();
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** Asks for the herd; a server that cannot ask the others tells of itself. */
async function refresh() {
  try {
    const [status, all] = await Promise.all([ask("/v1/status"), ask("/v1/herd")]);
    own = status;
    ownName = own.name;
    servers = all?.servers ?? [{ name: own.name, status: own }];
    answers = true;
    figures.show(own, clients.count);
  } catch {
    answers = false;
  }
  showHerd();
  setTimeout(refresh, document.hidden ? ASK_HIDDEN_MS : ASK_MS);
}

function showHerd() {
  map.marked = markedName === null ? -1 : clients.numberOf(markedName);
  map.redraw();
  const number = (name) => clients.heardBy[clients.numberOf(name)] ?? 0;
  herd.show(servers, number, markedName);
  at("seen").textContent = markedName === null ? "with the clients that each heard last" : `the map shows whom ${markedName} heard last`;
  showProblems(problems(servers, answers && stream !== "away" ? null : ownName));
}

function showProblems(found) {
  const level = found[0]?.level ?? (own ? "good" : "wait");
  const up = servers.filter(({ status }) => status).length;
  const words = found.length === 1 ? found[0].short : found.length ? `${found.length} problems` : "All well";
  at("summary").dataset.level = level;
  at("summary-text").textContent = own || found.length ? words : "Loading…";
  document.title = found.length ? `⚠ ${found[0].short}${found.length > 1 ? ` (+${found.length - 1})` : ""} – Herd` : `Herd – ${ownName}`;
  const icon = found.length ? "/page/icon-wrong.svg" : "/page/icon.svg";
  const link = document.querySelector("link[rel=icon]");
  if (link.getAttribute("href") !== icon) link.setAttribute("href", icon);
  const list = at("problems");
  const texts = found.map(({ text }) => text);
  if (texts.join("\n") !== [...list.children].map((item) => item.textContent).join("\n")) {
    list.replaceChildren(...found.map(({ level, text }) => {
      const item = document.createElement("li");
      item.dataset.level = level;
      part(item, "span", "mark").ariaHidden = "true";
      item.append(text);
      return item;
    }));
    say(texts.length ? texts.join(" ") : "All well");
  }
  const state = { loading: `loading: ${clients.count.toLocaleString("en")} clients`, live: "live", away: "away" }[stream];
  at("feed").textContent = ownName ? `seen from ${ownName}, ${state} · ${up} of ${servers.length} servers answer` : "";
}

function ago(row) {
  return `${duration(Math.max(0, Math.round((Date.now() - clients.heardAt[row]) / 1000)))} ago`;
}

/** The name on the dot under the pointer, and the card of the client chosen. Called for each frame. */
function showClient() {
  const tip = at("tip");
  const { hovered } = map;
  tip.hidden = hovered < 0 || hovered >= clients.count || map.dots.screenX[hovered] < 0;
  if (!tip.hidden) {
    const [x, y] = [map.dots.screenX[hovered], map.dots.screenY[hovered]];
    const others = map.dots.gathered ? map.dots.near(clients, x, y, 5) - 1 : 0;
    tip.querySelector("bdi").textContent = clients.names[hovered];
    const more = others > 0 ? ` · and ${others.toLocaleString("en")} more here` : "";
    tip.querySelector("span").textContent = `${clients.locations[hovered].server}, ${ago(hovered)}${more}`;
    const left = Math.min(x + 12, map.view.width - tip.offsetWidth - 6);
    const top = y + 14 + tip.offsetHeight > map.view.height ? y - tip.offsetHeight - 10 : y + 14;
    tip.style.transform = `translate(${Math.max(6, left)}px, ${top}px)`;
  }
  showCard(map.chosenRow);
}

let cardText = "";
function showCard(row) {
  const card = at("card");
  card.hidden = row < 0;
  if (row < 0) return;
  const { position, server, difference } = clients.locations[row];
  const facts = [["Position", position], ["Heard by", server], ["Heard", ago(row)], ["Delay", `${difference} s`]];
  const text = JSON.stringify([clients.keys[row], facts]);
  if (text === cardText) return;
  cardText = text;
  const name = clients.names[row];
  if (card.querySelector("bdi").textContent !== name || !card.querySelector("dt")) say(`${name}, at ${position}, heard by ${server}`);
  card.querySelector("bdi").textContent = name;
  card.querySelector("dl").replaceChildren(...facts.flatMap(([term, value]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    [dt.textContent, dd.textContent] = [term, value];
    return [dt, dd];
  }));
}

at("card-close").addEventListener("click", () => map.choose(null));
at("card-go").addEventListener("click", () => map.chosen !== null && map.show(map.chosen));
at("closer").addEventListener("click", () => map.zoom(2));
at("farther").addEventListener("click", () => map.zoom(0.5));
at("home").addEventListener("click", () => map.home());
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target === at("query") || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  at("query").focus();
});

fetch("/page/land.bin").then((answer) => answer.arrayBuffer()).then((buffer) => {
  map.world = decode(buffer);
  map.redrawLand();
});
follow(clients, (word) => {
  stream = word;
  showHerd();
}, () => stream === "live" && map.redraw()); // while all comes at once, once a second is enough
refresh();

// For whoever looks with the browser's console, and for the tests.
globalThis.herd = { clients, map, get stream() { return stream; } };
