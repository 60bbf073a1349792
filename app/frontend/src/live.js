// Live pages. The server says in a few bytes what changed; the parts of the page that show it fetch themselves again.
// A part says what it waits for: hx-trigger="live:task from:document" or "live:task:42 from:document".
import { io } from "socket.io-client";
import { announce, newVersion, toast } from "./messages.js";
import { isLive, pause } from "./requests.js";
import { signedOut } from "./signin.js";

const RECORDS = ["task", "channel"];
const VERBS = ["created", "updated", "deleted"];
const SAID = { created: "New", updated: "Changed", deleted: "Deleted" };
// A busy list changes many times a second; one look at it every half second is as live as a person can see.
const GATHER = 500;
// Spread over the watchers of a list, so that one change does not make all of them ask in the same millisecond.
const SPREAD = 200;
// After an instance restarts, its sockets come back within this time, spread by the jitter of socket.io (0.5 = ±50 %).
const RECONNECT = { reconnectionDelay: 1000, reconnectionDelayMax: 15_000, randomizationFactor: 0.5 };

let waiting = new Set();
let timer;
const hooks = [];

/** Have a function called with the socket of the page, before it connects for the first time. */
export function onSocket(use) {
  hooks.push(use);
}

/** Remember that something changed, and tell the page soon; when nobody looks at it, as soon as somebody does. */
export function changed(...names) {
  names.forEach((name) => waiting.add(name));
  if (document.hidden || timer) return;
  timer = setTimeout(tell, 50 + Math.random() * SPREAD);
}

function tell() {
  const names = waiting;
  waiting = new Set();
  names.forEach((name) => document.dispatchEvent(new CustomEvent(`live:${name}`)));
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

/** The server refused the connection by word: because the sign-in has ended, or for a reason that passes. */
async function refused(socket) {
  const answer = await fetch("/api/me").catch(() => undefined);
  if (answer?.status === 401) signedOut();
  else setTimeout(() => socket.connect(), pause(1, RECONNECT.reconnectionDelay, RECONNECT.reconnectionDelayMax));
}

/** Somebody else changed a record: say so to screen readers, and at a form that is open on it. */
function tellOf(record, verb, event) {
  if (String(event.by) === document.body.dataset.user) return;
  if (event.title) announce(`${SAID[verb]}: ${event.title}`);
  if (verb === "deleted" && location.pathname === `/${record}s/${event.id}`) {
    toast("Somebody else deleted this just now. You still see it as it was; what you change here cannot be saved any more.");
  }
  document.querySelector(`[data-edits="${record}:${event.id}"] [data-edits-note]`)?.removeAttribute("hidden");
}

function connect() {
  // Polling only where something between here and the server lets no WebSocket through.
  const socket = io({ transports: ["websocket", "polling"], tryAllTransports: true, ...RECONNECT });
  hooks.forEach((use) => use(socket));
  // A server that replays what was missed sends it before it says that the session goes on, and socket.io-client keeps it
  // until then. When the connection ends in between, the next replay begins at the same place: what is kept from the
  // one before would be heard twice.
  socket.io.on("close", () => { socket.receiveBuffer.length = 0; });
  // Also at first: what happened since the page was made has not been heard.
  let missed = true;

  socket.on("connect", () => {
    badge("live", "Live");
    // Either what happened meanwhile has just been told, or it is not known, and every live part looks again.
    if (missed && !socket.recovered) changed(...RECORDS, "all");
    missed = false;
  });
  socket.on("disconnect", (reason) => {
    missed = true;
    badge("lost", "Reconnecting…");
    // The server ends the connection when the sign-in ends, or when the instance restarts: look which it was.
    if (reason === "io server disconnect") refused(socket);
  });
  socket.on("connect_error", () => {
    missed = true;
    badge("lost", "Reconnecting…");
    // Without an answer socket.io tries again by itself.
    if (!socket.active) refused(socket);
  });
  socket.on("session.ended", signedOut);
  document.addEventListener("signed-in", () => socket.connect());
  socket.on("missed", () => changed(...RECORDS, "all"));
  // A deploy: the page goes on working with the old scripts, so when to load it again is the user's to say.
  // Each connection begins with what was announced last, and when. In the midst of a roll a page may be ahead of that.
  socket.on("release.new", ({ release, at }) => {
    const page = document.body.dataset;
    if (release !== page.release && !(at < Number(page.made))) newVersion();
  });

  for (const record of RECORDS) {
    for (const verb of VERBS) {
      socket.on(`${record}.${verb}`, (event) => {
        tellOf(record, verb, event);
        changed(record, ...(verb === "deleted" ? [] : [`${record}:${event.id}`]));
      });
    }
  }
}

// A row or card that somebody changed glows; what the user asked for, a filter or another page, does not.
function glow() {
  let live = false;
  document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => { live = isLive(ctx); });
  const light = (element) => {
    element.classList.remove("is-fresh");
    requestAnimationFrame(() => element.classList.add("is-fresh"));
  };
  new MutationObserver((records) => {
    if (!live) return;
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
  if (!document.body.dataset.user) return;
  document.addEventListener("visibilitychange", () => waiting.size && changed());
  glow();
  connect();
}
