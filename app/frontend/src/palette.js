// The palette (Ctrl+K): go anywhere, do anything, without taking the hands off the keyboard. It offers what the page's
// own links and buttons do (all that carry data-does), and searching for what was typed.
import { announce } from "./messages.js";

let dialog;
let input;
let list;
let options = [];
let chosen = 0;

/** Keys as they are drawn: "g t" is two of them. */
function caps(keys) {
  const hint = document.createElement("span");
  hint.className = "hint";
  hint.append(...keys.split(" ").flatMap((key) => {
    const cap = document.createElement("kbd");
    cap.textContent = key;
    return [cap, " "];
  }));
  return hint;
}

const matches = (text, words) => words.every((word) => text.toLowerCase().includes(word));

function gather(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  // What the page itself offers comes before what every page does.
  const offered = [...document.querySelectorAll("main [data-does]"), ...document.querySelectorAll(":not(main *)[data-does]")];
  const found = offered
    .filter((element) => matches(element.dataset.does, words))
    .map((element) => ({ text: element.dataset.does, icon: element.dataset.icon ?? "arrow-right", hint: element.dataset.key, run: () => act(element) }));
  if (query.trim()) {
    found.push({ text: `Find tasks with “${query.trim()}”`, icon: "search", run: () => location.assign(`/tasks?q=${encodeURIComponent(query.trim())}`) });
    if (document.querySelector('.sidebar [href="/messages"]')) {
      found.push({ text: `Find messages with “${query.trim()}”`, icon: "search", run: () => location.assign(`/messages/search?q=${encodeURIComponent(query.trim())}`) });
    }
  }
  return found;
}

function act(element) {
  if (element.matches("input, textarea, select")) element.focus();
  else element.click();
}

function icon(name) {
  const svg = document.getElementById("palette-icon").content.firstElementChild.cloneNode(true);
  const use = svg.querySelector("use");
  use.setAttribute("href", `${use.getAttribute("href").split("#")[0]}#${name}`);
  return svg;
}

function draw() {
  options = gather(input.value);
  chosen = Math.min(chosen, Math.max(0, options.length - 1));
  list.replaceChildren(...options.map(({ text, icon: name, hint }, index) => {
    const item = document.createElement("li");
    item.id = `palette-${index}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(index === chosen));
    item.append(icon(name), text);
    if (hint) item.append(caps(hint));
    return item;
  }));
  input.setAttribute("aria-activedescendant", options.length ? `palette-${chosen}` : "");
  list.children[chosen]?.scrollIntoView({ block: "nearest" });
}

function choose(index) {
  const option = options[index];
  if (!option) return announce("Nothing of that name.");
  dialog.close();
  option.run();
}

function type(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && options.length) {
    event.preventDefault();
    chosen = (chosen + step + options.length) % options.length;
    draw();
  } else if (event.key === "Enter") {
    event.preventDefault();
    choose(chosen);
  }
}

function open() {
  input.value = "";
  chosen = 0;
  draw();
  dialog.showModal();
}

/** Hook into the palette's dialog, where the page has one. */
export function startPalette() {
  dialog = document.getElementById("palette");
  if (!dialog) return;
  input = dialog.querySelector("input");
  list = dialog.querySelector("ul");
  input.addEventListener("input", () => { chosen = 0; draw(); });
  input.addEventListener("keydown", type);
  list.addEventListener("click", ({ target }) => choose([...list.children].indexOf(target.closest("li"))));
  // A click on the backdrop is one on the dialog itself.
  document.addEventListener("click", ({ target }) => {
    if (target.matches("dialog")) target.close();
    if (target.closest("[data-open=palette]")) open();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else if (!document.querySelector("dialog[open]")) open();
  });
}
