// What is wrong with the herd, in words, the worst first. Pure: statuses in, sentences out.

const LAG_SECONDS_MAX = 5;
const LAG_CHANGES_MAX = 10_000;
const CLOCK_SECONDS_MAX = 2;

/** A duration in seconds as people say it. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const size = Math.abs(seconds);
  if (size < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (size < 1) return `${(seconds * 1e3).toFixed(size < 0.01 ? 1 : 0)} ms`;
  if (size < 120) return `${seconds.toFixed(size < 10 && !Number.isInteger(seconds) ? 1 : 0)} s`;
  if (size < 7200) return `${(seconds / 60).toFixed(0)} min`;
  if (size < 172_800) return `${(seconds / 3600).toFixed(0)} h`;
  return `${(seconds / 86_400).toFixed(0)} d`;
}

/** Names as in "Blake, Bryant and Gasol". */
export function listed(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

const because = (reason) => (reason ? `: ${reason}` : "");

/** All links, each as one of its ends sees it. */
export function links(servers) {
  return servers.flatMap(({ name, status }) => (status?.links ?? []).map((link) => ({ ...link, server: name })));
}

/**
 * What is wrong: `[{ level, text, short }]`, `level` "bad" or "warn". `servers` are those of /v1/herd; `away` is
 * the name of this page's server if it cannot be had.
 */
export function problems(servers, away) {
  const found = [];
  const say = (level, short, text) => found.push({ level, short, text });
  if (away !== null) {
    const who = away || "the server";
    say("bad", `${who} is away`, `This page has lost ${who}. What it shows is old. It keeps trying.`);
    return found;
  }
  const all = links(servers);
  const lost = (name) => all.filter((link) => link.neighbour === name && link.state !== "up").map((link) => link.server);
  // A server that does not answer, and that all who know it have lost, is down: that is said once.
  const down = new Set();
  for (const { name, http, status, error } of servers) {
    if (status) continue;
    const by = lost(name);
    const known = all.filter((link) => link.neighbour === name);
    if (known.length && by.length === known.length) {
      down.add(name);
      say("bad", `${name} is down`, `${name} is down. ${listed(by)} cannot reach it${because(known[0].reason)}.`);
    } else if (http) {
      say("warn", `${name} is silent`, `${name} does not answer over HTTP${because(error)}.`);
    }
  }
  const told = new Set();
  for (const link of all) {
    if (link.state === "up" || down.has(link.neighbour)) continue;
    const pair = [link.server, link.neighbour].sort().join("\0");
    if (told.has(pair)) continue;
    told.add(pair);
    const what = link.state === "refused" ? "is refused" : "is down";
    say("bad", `${link.server}–${link.neighbour} ${what}`,
      `The link from ${link.server} to ${link.neighbour} ${what}${because(link.reason)}.`);
  }
  for (const { name, status } of servers) if (status) ofServer(name, status, say);
  for (const link of all) if (link.state === "up") ofLink(link, say);
  return found.sort((a, b) => (a.level === "bad" ? 0 : 1) - (b.level === "bad" ? 0 : 1));
}

function ofServer(name, status, say) {
  const reasons = status.reasons ?? [];
  if (status.ready === false) say("bad", `${name} is not ready`, `${name} is not ready${because(listed(reasons))}.`);
  const journal = status.journal ?? {};
  if (journal.state && journal.state !== "ok") {
    say("bad", `${name}'s journal fails`,
      `${name} cannot write its journal. It serves on; new reports are only in memory.`);
  }
  const { log, twitter } = status;
  if (log && log.state !== "ok") say("warn", `${name}'s log fails`, `${name} cannot write its log${because(log.reason)}.`);
  if (twitter && twitter.state !== "ok") {
    say("warn", `${name}: Twitter fails`, `${name} has trouble with Twitter${because(twitter.reason)}.`);
  }
}

function ofLink({ server, neighbour, lag_changes: changes, lag_seconds: seconds, clock_offset_seconds: offset }, say) {
  if (seconds > LAG_SECONDS_MAX || changes > LAG_CHANGES_MAX) {
    say("warn", `${neighbour} lags`, `${neighbour} is ${changes.toLocaleString("en")} changes and ${duration(seconds)} behind ${server}.`);
  }
  if (Math.abs(offset) > CLOCK_SECONDS_MAX) {
    const way = offset > 0 ? "ahead of" : "behind";
    say("warn", `${neighbour}'s clock is off`, `${neighbour}'s clock is ${duration(Math.abs(offset))} ${way} ${server}'s.`);
  }
}
