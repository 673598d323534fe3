// A browser that is told what to do, a line of JSON a time: `{"call":"keyboard.press","args":["n"]}` is called
// on the page, as playwright-core names it, and answered by `{"value":…}` or `{"error":…}`. Beside the page's own
// methods there are `reset`, which opens a new page in a new context with the options given, `noted`: what it has
// asked for and complained about since, and `devtools`: a command of the DevTools protocol and its parameters.
// playwright-core is looked for in HERD_PLAYWRIGHT.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.HERD_PLAYWRIGHT}/node_modules/any`);
const { chromium } = require("playwright-core");

const browser = await chromium.launch({
  executablePath: process.env.HERD_CHROMIUM,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
let page = null;
let noted = null;
let devtools = null;

async function reset(options) {
  await page?.context().close();
  noted = { hosts: [], errors: [] };
  const own = noted; // what an earlier page still says is not of this one
  page = await (await browser.newContext(options)).newPage();
  devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" }); // not the time of others
  page.on("request", (request) => own.hosts.push(new URL(request.url()).host));
  page.on("console", (message) => message.type() === "error" && own.errors.push(message.text()));
  page.on("pageerror", (error) => own.errors.push(String(error)));
}

async function told({ call, args }) {
  if (call === "reset") return reset(...args);
  if (call === "noted") return { hosts: [...new Set(noted.hosts)], errors: noted.errors };
  if (call === "devtools") return devtools.send(...args);
  const names = call.split(".");
  const method = names.pop();
  const object = names.reduce((object, name) => object[name], page);
  const value = await object[method](...args);
  return ["string", "number", "boolean"].includes(typeof value) || call === "evaluate" ? value : null;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { value: (await told(JSON.parse(line))) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
