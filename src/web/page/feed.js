// The stream of what changes, from this server. It comes back by itself.

import { keyOf } from "./clients.js";

const RETRY_MS = 1000; // after which a stream that was given up is asked for anew

/**
 * Follows /v1/events into `clients`. `said` is called with "loading", "live" or "away"; `changed` when a client
 * has moved, come or gone, with its row or -1.
 */
export function follow(clients, said, changed) {
  const open = () => {
    let live = false;
    const say = (word) => {
      live = word === "live";
      said(word);
    };
    // Who is not told of again until `live` is no more: the stream may have missed that it went.
    const begin = () => {
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
      clients.sweep();
      say("live");
      changed(-1);
    });
    source.addEventListener("open", () => say("loading"));
    source.addEventListener("error", () => {
      say("away");
      // The browser asks again by itself, from where it was, unless the answer was no stream of events.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, RETRY_MS);
    });
  };
  open();
}
