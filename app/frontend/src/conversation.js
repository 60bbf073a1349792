// A conversation that is open: it shows what is written as it is written, in the order that everybody sees. Events only
// say that there is something; the page then asks for all that changed since the change that it shows, so what it missed
// while it was not connected comes by the same way.
import htmx from "htmx.org";
import { changed, onSocket } from "./live.js";
import { note, toast } from "./messages.js";
import { persistentFetch } from "./requests.js";
import { enterRoom } from "./room.js";
import { signedOut } from "./signin.js";

// How far from its end a list still counts as being at it, in pixels.
const NEAR = 80;

let list;
let box;
let busy = false;
let again = false;
let marked = 0;

const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
const toEnd = () => { box.scrollTop = box.scrollHeight; };
const last = () => list.lastElementChild;

/** Ask for what changed, once at a time; what is heard of meanwhile is asked for after it. */
async function catchUp() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    await fetchChanges();
  }
  busy = false;
  markRead();
}

async function fetchChanges() {
  const { conversation, change } = list.dataset;
  const headers = { "HX-Request": "true", "HX-Request-Type": "partial" };
  const response = await persistentFetch(`/messages/${conversation}/changes?since=${change}`, { headers }).catch(() => undefined);
  // Without an answer the next event, or the next connection, asks again.
  if (!response) return;
  if (response.status === 401) return signedOut();
  if (response.status === 404 || response.status === 403) return shutOut();
  if (!response.ok) return;
  const answer = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("ol");
  const follow = atEnd();
  [...answer.children].forEach(put);
  list.dataset.change = answer.dataset.change;
  again ||= answer.dataset.more !== undefined;
  if (follow) toEnd();
}

/** Put a message where it belongs: at its place, or at the end. What is older than all that is shown is not shown. */
function put(message) {
  const standing = document.getElementById(message.id);
  if (standing?.querySelector("form[data-dirty]")) return;
  if (standing) standing.replaceWith(message);
  else if (list.dataset.past === undefined && Number(message.dataset.number) > Number(last()?.dataset.number ?? 0)) list.append(message);
  htmx.process(message);
}

function shutOut() {
  const composer = document.getElementById("composer");
  if (!composer.childElementCount) return;
  composer.replaceChildren();
  note("You are no longer in this conversation, so nothing new appears here, and what you write is not sent. Ask one of its members to add you again.");
}

/** What somebody has before their eyes they have read. */
async function markRead() {
  const number = Number(last()?.dataset.number ?? 0);
  if (list.dataset.joined === undefined || document.hidden || number <= marked || !atEnd()) return;
  const before = marked;
  marked = number;
  const headers = {
    "Content-Type": "application/json",
    "Idempotency-Key": crypto.randomUUID(),
    "X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content,
  };
  const body = JSON.stringify({ message_id: Number(last().dataset.id) });
  const answer = await persistentFetch(`/api/channels/${list.dataset.conversation}/read`, { method: "PUT", headers, body }).catch(() => undefined);
  // The next message, or the next look at the page, tries again.
  if (!answer?.ok) marked = before;
}

/** Enter sends where there is a keyboard; a finger has the button, and writes lines. */
function sendByEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  if (!event.target.matches?.("[data-send]") || !matchMedia("(hover: hover)").matches) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}

const isOpen = (event) => list && String(event.channel_id) === list.dataset.conversation;

function heard(event) {
  if (isOpen(event) && Number(event.change) > Number(list.dataset.change)) catchUp();
}

function mentioned(event) {
  changed("unread");
  heard(event);
  if (!isOpen(event) || document.hidden) toast(`${event.author.name} mentioned you in a message. You find it under Messages.`);
}

function listen(socket) {
  socket.on("message.unread", (event) => { changed("unread"); heard(event); });
  socket.on("message.read", () => changed("unread"));
  socket.on("message.mention", mentioned);
  if (!list) return;
  // Only then is nothing missed: what is written before the page is in the room comes with what it asks for after it.
  enterRoom(socket, `channel:${list.dataset.conversation}`, () => list.isConnected, catchUp);
  socket.on("channel.updated", (event) => String(event.id) === list.dataset.conversation && catchUp());
  for (const verb of ["created", "updated", "deleted"]) socket.on(`message.${verb}`, heard);
}

function open() {
  box = document.getElementById("log");
  marked = Number(list.dataset.read);
  if (!location.hash) toEnd();
  // Its height changes with the window, with the composer and with the font: the end stays where it is.
  let end = true;
  box.addEventListener("scroll", () => { end = atEnd(); markRead(); }, { passive: true });
  new ResizeObserver(() => end && !location.hash && toEnd()).observe(box);
  document.addEventListener("own:message", catchUp);
  document.addEventListener("visibilitychange", markRead);
  markRead();
}

/** Hook into the conversation of the page, where it has one, and hear of messages everywhere. */
export function startConversation() {
  list = document.querySelector("[data-conversation]");
  document.addEventListener("keydown", sendByEnter);
  onSocket(listen);
  if (list) open();
}
