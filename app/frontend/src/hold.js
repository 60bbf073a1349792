// A live list never moves a row away under the pointer. While somebody points at it or works in it, changes are shown
// in the rows that stand; rows that come or go wait behind a button, or until the pointer has left.

const WATCHED = "[data-live=rows]";

const rowsOf = (root) => [...root.querySelectorAll("[data-row]")];
const keysOf = (root) => rowsOf(root).map((row) => row.id).join();

// A finger leaves no pointer behind, though :hover and the focus stay where it was last.
const pointer = matchMedia("(hover: hover)");

function inUse(list) {
  return (pointer.matches && list.matches(":hover")) || rowsOf(list).some((row) => row.querySelector(":focus-visible"));
}

/** The new answer with the rows of the old one: each as new as can be, none come, none gone. */
function withStandingRows(list, fragment) {
  const fresh = new Map(rowsOf(fragment).map((row) => [row.id, row]));
  const body = rowsOf(fragment)[0]?.parentElement;
  if (!body) return false;
  body.replaceChildren(...rowsOf(list).map((row) => fresh.get(row.id) ?? row.cloneNode(true)));
  return true;
}

function beforeSwap(event) {
  const { ctx, tasks } = event.detail;
  const list = ctx.target;
  if (!list?.matches?.(WATCHED)) return;
  const button = list.querySelector("[data-held]");
  const main = tasks.find((task) => task.type === "main");
  // The user's own changes, and pressing the button, are shown at once.
  const asked = !ctx.sourceEvent?.type?.startsWith("live:");
  if (!main || asked || !rowsOf(list).length || !inUse(list)) return;
  if (keysOf(list) === keysOf(main.fragment)) return;
  if (!withStandingRows(list, main.fragment)) return event.preventDefault();
  main.fragment.querySelector("[data-held]")?.removeAttribute("hidden");
  button?.removeAttribute("hidden");
}

function show(list) {
  list.dispatchEvent(new CustomEvent("own:look"));
}

/** When nobody points at the list or works in it any more, what waited comes. */
function left({ target, relatedTarget }) {
  const list = target.closest?.(WATCHED);
  if (!list || list.contains(relatedTarget)) return;
  if (list.querySelector("[data-held]:not([hidden])") && !inUse(list)) show(list);
}

/** Hook into htmx's swaps. */
export function startHolding() {
  document.addEventListener("htmx:before:swap", beforeSwap);
  document.addEventListener("click", ({ target }) => {
    if (target.closest("[data-held]")) show(target.closest(WATCHED));
  });
  for (const leaving of ["pointerout", "focusout"]) document.addEventListener(leaving, left);
}
