// What the page says of statuses: a table of herds and sentences. Ends with an error at the first that differs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

// Node.js takes a file for a module only if a package says so; it needs no package this way.
const source = readFileSync(new URL("../../src/web/page/problems.js", import.meta.url), "utf8");
const { duration, listed, problems } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const link = (neighbour, more = {}) => ({
  neighbour, state: "up", lag_changes: 0, lag_seconds: 0, clock_offset_seconds: 0.0001, ...more,
});
const down = (neighbour) => link(neighbour, { state: "down", reason: "connection refused" });
const server = (name, links, more = {}) => ({
  name, http: "here", error: null, status: { name, ready: true, reasons: [], journal: { state: "ok" }, links, ...more },
});
const silent = (name) => ({ name, http: "there", status: null, error: "connection refused" });
const texts = (servers, away = null) => problems(servers, away).map(({ level, text }) => `${level}: ${text}`);

for (const [servers, away, want] of [
  [[server("A", [link("B")]), server("B", [link("A")])], null, []],
  [[], "A", ["bad: This page has lost A. What it shows is old. It keeps trying."]],
  [[server("A", [down("B")]), server("C", [down("B")]), silent("B")], null,
    ["bad: B is down. A and C cannot reach it: connection refused."]],
  // It is still linked to somebody: it is not down, it does not serve HTTP.
  [[server("A", [link("B")]), silent("B")], null, ["warn: B does not answer over HTTP: connection refused."]],
  // Without http= nobody asks it.
  [[server("A", [link("B")]), { name: "B", http: null, status: null, error: null }], null, []],
  [[server("A", [down("B")]), server("B", [down("A")])], null,
    ["bad: The link from A to B is down: connection refused."]],
  [[server("A", [link("B", { state: "refused", reason: "another key" })]), server("B", [link("A")])], null,
    ["bad: The link from A to B is refused: another key."]],
  [[server("A", [], { ready: false, reasons: ["the journal is read"] })], null, ["bad: A is not ready: the journal is read."]],
  [[server("A", [], { journal: { state: "degraded" } })], null,
    ["bad: A cannot write its journal. It serves on; new reports are only in memory."]],
  [[server("A", [], { log: { state: "degraded", reason: "disk full" }, twitter: { state: "failing", reason: "420" } })], null,
    ["warn: A cannot write its log: disk full.", "warn: A has trouble with Twitter: 420."]],
  // The worst comes first.
  [[server("A", [link("B", { lag_changes: 7, lag_seconds: 9 }), link("C", { clock_offset_seconds: -61 })]), server("D", [down("E")])], null, [
    "bad: The link from D to E is down: connection refused.",
    "warn: B is 7 changes and 9 s behind A.",
    "warn: C's clock is 61 s behind A's.",
  ]],
]) assert.deepEqual(texts(servers, away), want);

for (const [seconds, want] of [
  [0, "0 µs"], [0.000_12, "120 µs"], [0.0034, "3.4 ms"], [0.25, "250 ms"], [1.5, "1.5 s"], [3, "3 s"], [61, "61 s"],
  [600, "10 min"], [7200, "2 h"], [200_000, "2 d"], [Number.NaN, "–"],
]) assert.equal(duration(seconds), want);
assert.equal(listed(["A", "B", "C"]), "A, B and C");
