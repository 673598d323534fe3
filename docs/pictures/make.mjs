// Makes the pictures of the live page: light.png, dark.png, telephone.png and owntracks.png, beside this file.
//
//   cargo build --release
//   npm install --prefix target/reference/browser playwright-core@1.65.1
//   node docs/pictures/make.mjs
//
// Starts a herd of its own with its own ports and directory, lets clients move as vehicles do, and stops it again.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const program = process.env.HERD ?? join(here, "../../target/release/herd");
const playwright = process.env.HERD_PLAYWRIGHT ?? join(here, "../../target/reference/browser");
const require = createRequire(join(playwright, "node_modules/any"));
const { chromium } = require("playwright-core");

const LINKS = { Blake: ["Bryant", "Howard"], Bryant: ["Gasol", "Metta"], Gasol: ["Howard"], Howard: [], Metta: [] };
const NAMES = Object.keys(LINKS);
const CLIENTS = 900;
const KINDS = ["van", "bike", "taxi", "bus", "courier", "tram"];
const CITIES = [ // name, latitude, longitude, how many of a hundred clients are there
  ["los-angeles", 34.05, -118.24, 14], ["san-francisco", 37.77, -122.42, 7], ["new-york", 40.71, -74.01, 9],
  ["mexico-city", 19.43, -99.13, 5], ["sao-paulo", -23.55, -46.63, 6], ["bogota", 4.71, -74.07, 3],
  ["london", 51.51, -0.13, 8], ["paris", 48.86, 2.35, 6], ["berlin", 52.52, 13.4, 6], ["madrid", 40.42, -3.7, 3],
  ["rome", 41.9, 12.5, 3], ["istanbul", 41.01, 28.98, 3], ["cairo", 30.04, 31.24, 3], ["lagos", 6.52, 3.38, 3],
  ["nairobi", -1.29, 36.82, 3], ["mumbai", 19.08, 72.88, 4], ["singapore", 1.35, 103.82, 3], ["tokyo", 35.68, 139.69, 6],
  ["seoul", 37.57, 126.98, 3], ["sydney", -33.87, 151.21, 4],
];

let seed = 20_261_130; // the pictures are the same each time, but for the clocks
const random = () => {
  seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
  return seed / 2 ** 31;
};
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

class Clients {
  constructor(ports) {
    const hundred = CITIES.flatMap((city) => Array(city[3]).fill(city));
    this.all = Array.from({ length: CLIENTS }, (_, i) => {
      const [city, latitude, longitude] = hundred[i % hundred.length];
      const name = `${KINDS[Math.floor(random() * KINDS.length)]}-${100 + i}.${city}`;
      // Some are on the road between cities.
      const spread = random() < 0.4 ? 5 : 0.3;
      return { name, y: latitude + normal() * spread * 0.6, x: longitude + normal() * spread, heading: random() * 2 * Math.PI, at: i % NAMES.length };
    });
    this.sockets = ports.map((port, at) => connect(port, "127.0.0.1").resume().on("error", () => this.#lost(at)));
  }

  // Whose server is gone goes to the next.
  #lost(at) {
    for (const client of this.all) if (client.at === at) client.at = (at + 1) % NAMES.length;
  }

  /** So many of them drive on for some minutes and report. */
  report(count, stepDegrees) {
    for (let i = 0; i < count; i++) {
      const client = this.all[Math.floor(random() * CLIENTS)];
      this.say(client, stepDegrees);
    }
  }

  say(client, stepDegrees) {
    client.heading += normal() * 0.35;
    client.x += Math.cos(client.heading) * stepDegrees;
    client.y += Math.sin(client.heading) * stepDegrees * 0.8;
    const part = (value, digits) => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(4).padStart(digits + 5, "0")}`;
    this.sockets[client.at].write(`IAMAT ${client.name} ${part(client.y, 2)}${part(client.x, 3)} ${(Date.now() / 1000).toFixed(6)}\n`);
  }

  /** Moves them about for so many seconds. */
  async drive(seconds, perSecond) {
    for (let tenth = 0; tenth < seconds * 10; tenth++) {
      this.report(Math.round(perSecond / 10), 0.07);
      await sleep(100);
    }
  }
}

const directory = mkdtempSync(join(tmpdir(), "herd-pictures-"));
const processes = {};
const ports = await Promise.all(NAMES.map(async () => [await freePort(), await freePort(), await freePort()]));
writeFileSync(join(directory, "topology.txt"), NAMES.map((name, i) => {
  const [clients, servers, http] = ports[i].map((port) => `127.0.0.1:${port}`);
  return `${name} ${clients} ${servers} http=${http} ${LINKS[name].join(" ")}\n`;
}).join(""));
const twitter = await freePort();

async function start(name) {
  const options = { topology: join(directory, "topology.txt"), "log-dir": join(directory, "logs"), "data-dir": join(directory, "data"),
    "twitter-url": `http://127.0.0.1:${twitter}/search.json` };
  const words = Object.entries(options).flatMap(([option, value]) => [`--${option}`, value]);
  processes[name] = spawn(program, ["serve", name, ...words], { stdio: "ignore" });
}

async function picture(browser, file, options, before) {
  const page = await (await browser.newContext(options)).newPage();
  await page.goto(`http://127.0.0.1:${ports[0][2]}/`);
  await page.waitForFunction("globalThis.herd?.stream === 'live' && herd.map.world !== null");
  await before(page);
  await page.screenshot({ path: join(here, file) });
  await page.context().close();
}

/** A ride through Westwood, as OwnTracks reports it: a point every ten seconds. */
async function ride(points) {
  const body = (i) => ({ _type: "location", tid: "jp", acc: 5, batt: 86, vel: 4, tst: Math.floor(Date.now() / 1000) - 10 * (points - i),
    lat: +(34.0595 + 0.0011 * i).toFixed(5), lon: +(-118.4459 + 0.0009 * i + 0.006 * Math.sin(i / 9)).toFixed(5) });
  for (let i = 0; i < points; i++) {
    const headers = { "Content-Type": "application/json", "X-Limit-U": "jane", "X-Limit-D": "phone" };
    const answer = await fetch(`http://127.0.0.1:${ports[1][2]}/owntracks`, { method: "POST", headers, body: JSON.stringify(body(i)) });
    if ((await answer.text()) !== "[]") throw new Error("OwnTracks is to hear []");
    await sleep(60);
  }
}

let browser = null;
try {
  processes.twitter = spawn(program, ["twitter", "--listen", `127.0.0.1:${twitter}`], { stdio: "ignore" });
  for (const name of NAMES) await start(name);
  for (const [, , http] of ports) {
    while (!(await fetch(`http://127.0.0.1:${http}/readyz`).catch(() => null))?.ok) await sleep(50);
  }
  const clients = new Clients(ports.map(([port]) => port));
  for (const client of clients.all) clients.say(client, 0);
  browser = await chromium.launch({ executablePath: process.env.HERD_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  const desk = { viewport: { width: 1120, height: 700 } };
  await picture(browser, "light.png", desk, () => clients.drive(70, 120));
  await picture(browser, "telephone.png", { viewport: { width: 390, height: 780 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true }, async (page) => {
    await page.evaluate("herd.map.fly(0.51, 0.335, 2600)");
    await clients.drive(25, 120);
  });
  await picture(browser, "owntracks.png", { viewport: { width: 760, height: 480 } }, async (page) => {
    await ride(1);
    await page.waitForFunction("herd.map.clients.count > 900");
    await page.fill("#query", "jane/phone");
    await page.press("#query", "Enter");
    await ride(60);
    await sleep(1500);
  });
  await picture(browser, "dark.png", { ...desk, colorScheme: "dark" }, async (page) => {
    await page.evaluate("herd.map.fly(0.1705, 0.398, 22000)");
    await clients.drive(45, 120);
    processes.Bryant.kill("SIGKILL");
    await clients.drive(4, 120);
  });
} finally {
  await browser?.close();
  for (const child of Object.values(processes)) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);
