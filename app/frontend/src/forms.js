// Small habits of forms.
import { isLive } from "./requests.js";
import { changed } from "./typed.js";

// A choice that takes effect at once: <select data-submit>, radio buttons of a filter.
function submitOnChange({ target }) {
  if (target.closest("[data-submit]")) target.form?.requestSubmit();
}

// Ctrl+Enter sends the form from anywhere in it. Escape leaves it by the link marked as the way out, unless that would
// throw away what was typed.
function sendOrLeave(event) {
  const form = event.target.closest?.("form");
  if (!form) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  } else if (event.key === "Escape" && !changed(form)) {
    form.querySelector("[data-leave]")?.click();
  }
}

// After a successful write, forms marked for it are empty again and keep the focus: the next line can be typed at once.
// One in which the next line stands already stays as it is.
function clearAfter({ detail: { ctx } }) {
  const form = ctx.sourceElement;
  if (!form.matches?.("form[data-clear]") || ctx.response.status >= 400) return;
  if (String(new URLSearchParams(new FormData(form))) !== String(ctx.request.body)) return;
  form.reset();
  form.querySelector("[name]:not([type=hidden])")?.focus();
}

// What each form saved last. A change that waited behind another of the same form was made on top of it, so it begins
// (was_...) with what that one saved; else the user would be in conflict with themselves.
const saved = new WeakMap();

function begin({ detail: { ctx } }) {
  ctx.savedBefore = saved.get(ctx.sourceElement);
}

function rebase({ detail: { ctx } }) {
  const since = saved.get(ctx.sourceElement);
  if (!since || since === ctx.savedBefore) return;
  for (const name of [...ctx.request.body.keys()]) {
    const field = name.replace(/^was_/, "");
    if (field !== name && since.has(field)) ctx.request.body.set(name, since.get(field));
  }
}

function remember({ detail: { ctx } }) {
  if (ctx.request.method === "POST" && ctx.response.status < 400) saved.set(ctx.sourceElement, ctx.request.body);
}

// In a conflict: take over what the other person wrote.
function takeTheirs({ target }) {
  const button = target.closest("[data-take]");
  if (!button) return;
  const input = document.getElementById(button.dataset.take);
  input.value = button.dataset.value;
  input.focus();
  button.closest(".conflict").remove();
}

// A form that took the place of what was read leaves the focus where one goes on.
function returnFocus({ detail: { ctx } }) {
  if (isLive(ctx) || document.activeElement !== document.body) return;
  document.querySelector("[data-home]")?.focus({ preventScroll: true });
}

// A field that had the focus when it came has had it: htmx would give it again whenever the part around it is fetched anew,
// and take it from the field in which somebody is typing by then.
function focusOnce({ target }) {
  target.removeAttribute?.("autofocus");
}

// What was typed and not saved is not left behind without a question.
function keepTyped(event) {
  const forms = [...document.querySelectorAll("form[data-dirty]:not(.htmx-request)")];
  if (forms.some(changed)) event.preventDefault();
}

/** Hook into the document, once for all forms that will ever be in it. */
export function startForms() {
  document.addEventListener("change", submitOnChange);
  document.addEventListener("keydown", sendOrLeave);
  document.addEventListener("htmx:config:request", begin);
  document.addEventListener("htmx:before:request", rebase);
  document.addEventListener("htmx:after:request", remember);
  document.addEventListener("htmx:after:request", clearAfter);
  document.addEventListener("click", takeTheirs);
  document.addEventListener("htmx:after:swap", returnFocus);
  document.addEventListener("focusin", focusOnce);
  focusOnce({ target: document.activeElement ?? document });
  window.addEventListener("beforeunload", keepTyped);
  // A link to a field means: begin to type there.
  if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.focus();
}
