// The keyboard. A key is declared where it acts: <a data-key="c">, <input data-key="/">, <a data-key="g t">; so the keys
// of a page are those of what it shows, and the help (?) lists exactly these.

// How long the second key of a pair may take.
const PAIR = 1000;
let first = "";
let timer;

const typing = (element) => element.closest("input, textarea, select, [contenteditable]");

function use(element) {
  if (element.matches("input, textarea, select")) {
    element.focus();
    element.select?.();
  } else {
    element.click();
  }
}

function press(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "j" || event.key === "k") return move(event.key === "j" ? 1 : -1);
  const keys = first ? `${first} ${event.key}` : event.key;
  clearTimeout(timer);
  first = "";
  const found = document.querySelector(`[data-key="${CSS.escape(keys)}"]`);
  if (found) {
    event.preventDefault();
    use(found);
  } else if (document.querySelector(`[data-key^="${CSS.escape(event.key)} "]`)) {
    first = event.key;
    timer = setTimeout(() => { first = ""; }, PAIR);
  }
}

/** Focus the next or previous row of the page's list. */
function move(step) {
  const links = [...document.querySelectorAll(".row-link")];
  const at = links.findIndex((link) => link === document.activeElement);
  const next = links[at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step];
  next?.focus();
}

/** Leave a field with Escape, so that keys work again. */
function leave(event) {
  if (event.key === "Escape" && typing(event.target) && !event.target.closest("dialog")) event.target.blur();
}

function listKeys() {
  const list = document.querySelector("#keys dl");
  list.querySelectorAll("[data-listed]").forEach((line) => line.remove());
  for (const element of document.querySelectorAll("[data-key][data-does]")) {
    const keys = document.createElement("dt");
    keys.append(...element.dataset.key.split(" ").flatMap((key, index) => {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      return index ? [" then ", cap] : [cap];
    }));
    const does = document.createElement("dd");
    does.textContent = element.dataset.does;
    for (const line of [keys, does]) line.dataset.listed = "";
    list.append(keys, does);
  }
}

/** Hook into the document. */
export function startKeys() {
  document.addEventListener("keydown", press);
  document.addEventListener("keydown", leave);
  document.addEventListener("click", ({ target }) => {
    if (!target.closest("[data-open=keys]")) return;
    listKeys();
    document.getElementById("keys").showModal();
  });
}
