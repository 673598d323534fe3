// The stream of what changes, from this server. It comes back by itself.

import { keyOf } from "./clients.js";

const RETRY_MS = 1000; // after which a stream that was given up is asked for anew

/**
 * Follows /v1/events into `clients`. `said` is called with "loading", "live" or "away"; `changed` when a client
 * has moved, come or gone, with its row or -1.
 */
export function follow(clients, said, changed) {
  const open = () => {
    let whole = false; // whether all has come that was there at the beginning
    let live = false;
    const say = (word) => {
      live = word === "live";
      said(word);
    };
    // Who is not told of again until `live` is no more: the stream may have missed that it went.
    const begin = () => {
      whole = false;
      clients.begin();
      say("loading");
    };
    const source = new EventSource("/v1/events?from=start");
    begin();
    source.addEventListener("location", (event) => {
      const now = live && !document.hidden ? performance.now() : 0;
      changed(clients.update(JSON.parse(event.data), now));
    });
    source.addEventListener("erased", (event) => {
      clients.remove(keyOf(JSON.parse(event.data)));
      changed(-1);
    });
    source.addEventListener("reset", begin);
    source.addEventListener("live", () => {
      if (!whole) clients.sweep();
      whole = true;
      say("live");
      changed(-1);
    });
    // A stream that goes on from where it was may say nothing for long.
    source.addEventListener("open", () => whole && say("live"));
    source.addEventListener("error", () => {
      say("away");
      // The browser asks again by itself, from where it was, unless the answer was no stream of events. What
      // was cut off before its end is asked for from the start.
      if (whole && source.readyState !== EventSource.CLOSED) return;
      source.close();
      setTimeout(open, RETRY_MS);
    });
  };
  open();
}
