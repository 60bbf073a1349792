// Names behind an @ in the message that is being written: a list to choose from, by keyboard or pointer. The field keeps
// the focus, and stays a text box: a <textarea> may have no other role, so the list is announced in words.
import { announce } from "./messages.js";

const MOST = 6;
const PAUSE = 150;
// As in modules/messages/mentions.py: not the @ of an e-mail address.
const AT = /(?<![\w.+@-])@([\p{L}\p{N}][^@\n]{0,60})?$/u;

let field;
let list;
let people = [];
let chosen = 0;
let asked = 0;
let timer;
// What nobody's name has: longer words with it need no question.
let nobody;

/** What stands between the last @ and the cursor; undefined where no name is being typed. */
function typed() {
  const found = AT.exec(field.value.slice(0, field.selectionStart));
  return found ? found[1] ?? "" : undefined;
}

/** People whose names have these words: of a site, or of the members of a channel that is not public. */
async function look(words) {
  const response = await fetch(`${field.dataset.mentions}?${new URLSearchParams({ q: words })}`).catch(() => undefined);
  if (!response?.ok) return [];
  const { items, members } = await response.json();
  const wanted = words.toLowerCase();
  const found = (items ?? members).filter(({ active, name }) => active !== false && name.toLowerCase().includes(wanted));
  // A name calls all who have it.
  return [...new Map(found.map((person) => [person.name.toLowerCase(), person])).values()];
}

async function offer() {
  asked += 1;
  const question = asked;
  const words = typed()?.trim();
  if (words === undefined || (nobody && words.startsWith(nobody))) return show([]);
  const found = await look(words);
  if (question !== asked) return;
  nobody = found.length ? undefined : words;
  // A name that stands there in full needs no choice: Enter sends.
  show(found.filter(({ name }) => name.toLowerCase() !== words.toLowerCase()).slice(0, MOST));
}

function show(found) {
  if (found.length && found.length !== people.length) announce(`Names: ${found.length}. Arrow keys choose, Enter takes.`);
  people = found;
  chosen = 0;
  list.hidden = !found.length;
  list.replaceChildren(...found.map(({ name }, index) => {
    const item = document.createElement("li");
    item.id = `mention-${index}`;
    item.role = "option";
    item.textContent = name;
    return item;
  }));
  point();
}

function point() {
  [...list.children].forEach((item, index) => { item.ariaSelected = String(index === chosen); });
  if (people.length) field.setAttribute("aria-activedescendant", `mention-${chosen}`);
  else field.removeAttribute("aria-activedescendant");
}

function take(person) {
  const end = field.selectionStart;
  if (person && typed() !== undefined) field.setRangeText(`${person.name} `, end - typed().length, end, "end");
  close();
}

/** Show nothing, also of what was asked for. */
function close() {
  clearTimeout(timer);
  asked += 1;
  show([]);
}

function press(event) {
  if (list.hidden || event.isComposing || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    chosen = (chosen + step + people.length) % people.length;
    point();
  } else if (event.key === "Enter" || event.key === "Tab") take(people[chosen]);
  else if (event.key === "Escape") close();
  else return;
  // Or Enter would send, and Escape leave the field.
  event.preventDefault();
  event.stopPropagation();
}

/** Offer names in the composer, where the page has one. */
export function startMentions() {
  field = document.querySelector("[data-mentions]");
  if (!field) return;
  list = document.getElementById("mentions");
  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(offer, PAUSE); });
  field.addEventListener("keydown", press);
  field.addEventListener("blur", close);
  // The field keeps the focus.
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  list.addEventListener("click", ({ target }) => take(people[[...list.children].indexOf(target.closest("li"))]));
}
