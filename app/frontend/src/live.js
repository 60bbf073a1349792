// Live pages. The server says in a few bytes what changed; the parts of the page that show it fetch themselves again.
// A part says what it waits for: hx-trigger="live:task from:body" or "live:task:42 from:body".
import { io } from "socket.io-client";
import { announce } from "./messages.js";

const RECORDS = ["task"];
const VERBS = ["created", "updated"];
// A busy list changes many times a second; one look at it every half second is as live as a person can see.
const GATHER = 500;
// Spread over the watchers of a list, so that one change does not make all of them ask in the same millisecond.
const SPREAD = 200;
// After an instance restarts, its sockets come back within this time, spread by the jitter of socket.io (0.5 = ±50 %).
const RECONNECT = { reconnectionDelay: 1000, reconnectionDelayMax: 15_000, randomizationFactor: 0.5 };

let waiting = new Set();
let timer;

/** Remember that something changed, and tell the page soon; when nobody looks at it, as soon as somebody does. */
function changed(...names) {
  names.forEach((name) => waiting.add(name));
  if (document.hidden || timer) return;
  timer = setTimeout(tell, 50 + Math.random() * SPREAD);
}

function tell() {
  const names = waiting;
  waiting = new Set();
  names.forEach((name) => document.body.dispatchEvent(new CustomEvent(`live:${name}`)));
  timer = setTimeout(() => {
    timer = undefined;
    if (waiting.size) changed();
  }, GATHER);
}

function badge(state, text) {
  document.querySelectorAll("[data-connection]").forEach((element) => {
    element.dataset.state = state;
    element.querySelector(".connection-text").textContent = text;
  });
}

function signedOut() {
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

function connect() {
  const socket = io({ transports: ["websocket"], ...RECONNECT });
  let missed = false;

  socket.on("connect", () => {
    badge("live", "Live");
    // What happened meanwhile is not known in detail, so every live part looks again.
    if (missed) changed(...RECORDS, "all");
    missed = false;
  });
  socket.on("disconnect", (reason) => {
    missed = true;
    badge("lost", "Reconnecting…");
    // The server ends the connection when the sign-in ends, or when the instance restarts: look which it was.
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 500 + Math.random() * 1500);
  });
  socket.on("connect_error", ({ data }) => {
    badge("lost", "Reconnecting…");
    if (data?.status === 401) signedOut();
  });
  socket.on("session.ended", signedOut);

  for (const record of RECORDS) {
    for (const verb of VERBS) {
      socket.on(`${record}.${verb}`, (event) => {
        if (event.title) announce(`${verb === "created" ? "New" : "Changed"}: ${event.title}`);
        changed(record, `${record}:${event.id}`);
      });
    }
  }
}

// Other tabs of this browser need no server to learn that somebody signed out in this one.
function shareSignOut() {
  const tabs = new BroadcastChannel("hecto");
  tabs.addEventListener("message", ({ data }) => data === "signed-out" && signedOut());
  document.addEventListener("submit", ({ target }) => target.matches("[data-sign-out]") && tabs.postMessage("signed-out"));
}

// A row or card that shows a newer version than a moment ago glows.
function glow() {
  const light = (element) => {
    element.classList.remove("is-fresh");
    requestAnimationFrame(() => element.classList.add("is-fresh"));
  };
  new MutationObserver((records) => {
    for (const { target, type, addedNodes, oldValue } of records) {
      if (type === "attributes") {
        if (oldValue !== null && oldValue !== target.dataset.version) light(target);
      } else if (target.closest("[data-live]")) {
        addedNodes.forEach((node) => node.dataset?.version && light(node));
      }
    }
  }).observe(document.getElementById("main"), {
    subtree: true, childList: true, attributeFilter: ["data-version"], attributeOldValue: true,
  });
  document.addEventListener("animationend", ({ target }) => target.classList.remove("is-fresh"));
}

/** Connect, on pages of somebody who is signed in. */
export function startLive() {
  if (!document.querySelector("[data-connection]")) return;
  document.addEventListener("visibilitychange", () => waiting.size && changed());
  shareSignOut();
  glow();
  connect();
}
