// Every request of htmx: writes carry a key that makes repeating them safe, and what fails in passing is tried again.
import { announce, toast } from "./messages.js";
import { signedOut } from "./signin.js";

// An instance that restarts, or a connection that drops, is back within seconds: 6 tries spread over about 12 s.
const TRIES = 6;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 4000;
const PASSING = new Set([502, 503, 504]);
/** Whether the answer says only that there is none yet; 409 with a time: a first attempt under this key is still at work. */
const passes = ({ status, headers }) => PASSING.has(status) || (status === 409 && headers.has("Retry-After"));
const READS = new Set(["GET", "HEAD"]);

/** The pause before try number `attempt`, with jitter so that a thousand browsers do not come back at once. */
export function pause(attempt, first = FIRST_PAUSE, longest = LONGEST_PAUSE) {
  const most = Math.min(longest, first * 2 ** attempt);
  return most / 2 + Math.random() * (most / 2);
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * fetch that goes on trying through network errors and 502, 503, 504. Only for requests that may be repeated, and whose
 * answers are read at once: it gives them when they are there to the last byte.
 */
export async function persistentFetch(url, options) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(url, options);
      if (!passes(response) || attempt >= TRIES - 1) {
        // An instance that is killed between head and body leaves an answer that breaks off. htmx would not repeat that.
        await response.clone().arrayBuffer();
        return response;
      }
    } catch (error) {
      if (options.signal?.aborted || attempt >= TRIES - 1) throw error;
    }
    if (attempt === 1) announce("The server does not answer. Trying again.");
    await sleep(pause(attempt));
  }
}

// One key for one user action. While its outcome is unknown (every try failed), sending the same form with the same
// content again is the same action: the server then answers with the first result instead of doing it twice. So does
// pressing Enter twice; another content is another action, whatever became of the first.
const open = new WeakMap();

function keyFor(element, content) {
  if (!open.has(element)) open.set(element, new Map());
  const keys = open.get(element);
  if (!keys.has(content)) keys.set(content, crypto.randomUUID());
  return keys.get(content);
}

/** Whether a part fetches itself because something changed, rather than because the user asked for something. */
export const isLive = (ctx) => /^(live|own):/.test(ctx?.sourceEvent?.type ?? "");

function prepare({ detail: { ctx } }) {
  const { request } = ctx;
  // Filters that are not set do not belong into the address.
  if (READS.has(request.method)) [...request.body].forEach(([name, value]) => value === "" && request.body.delete(name));
  if (!READS.has(request.method)) {
    ctx.content = `${request.action}?${new URLSearchParams(request.body)}`;
    request.headers["Idempotency-Key"] = keyFor(ctx.sourceElement, ctx.content);
    request.headers["X-CSRF-Token"] = document.querySelector("meta[name=csrf-token]")?.content ?? "";
  }
  ctx.fetch = persistentFetch;
}

// A part that waited for its turn may have been given other filters meanwhile: then it asks again, with those.
function refuseStale(event) {
  const { ctx } = event.detail;
  const address = ctx.sourceElement.getAttribute?.("hx-get");
  if (!isLive(ctx) || !address) return;
  const { pathname, search } = new URL(address, location.href);
  if (ctx.request.action === pathname + search) return;
  event.preventDefault();
  ctx.sourceElement.dispatchEvent(new CustomEvent("live:again"));
}

function settle({ detail: { ctx } }) {
  const response = ctx.response?.raw ?? ctx.response;
  if (response && !passes(response)) open.get(ctx.sourceElement)?.delete(ctx.content);
}

/** What a problem page says: its sentence, and the fields that it names. */
function problemOf(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const errors = [...page.querySelectorAll("[data-problem-field]")].map((line) => ({
    field: line.dataset.problemField,
    message: line.textContent.trim(),
  }));
  return { detail: page.querySelector("[data-problem-detail]")?.textContent.trim(), errors };
}

function failed({ detail: { ctx } }) {
  if (ctx.sourceElement.hasAttribute(`hx-status:${ctx.response.status}`)) return;
  if (ctx.response.status === 401) return signedOut();
  const { detail, errors } = problemOf(ctx.text);
  const form = ctx.sourceElement.closest?.("form");
  const shown = form ? errors.filter((error) => showFieldError(form, error)) : [];
  if (shown.length) {
    form.querySelector("[aria-invalid=true]").focus();
    return;
  }
  // A refresh that nobody asked for may fail in silence: the connection badge tells, and the next event repeats it.
  if (isLive(ctx)) return;
  toast(detail ?? `The server answered ${ctx.response.status}. Nothing was changed. Try again, or load the page anew.`);
}

function showFieldError(form, { field, message }) {
  const input = form.elements.namedItem(field);
  if (!(input instanceof HTMLElement)) return false;
  const id = `${input.id || field}-wrong`;
  let note = document.getElementById(id);
  if (!note) {
    note = document.createElement("p");
    note.id = id;
    note.className = "wrong";
    (input.closest(".field") ?? form).append(note);
  }
  note.textContent = message;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", id);
  return true;
}

/** What was wrong is being mended. */
function clearFieldError({ target }) {
  if (!target.hasAttribute("aria-invalid")) return;
  document.getElementById(target.getAttribute("aria-describedby"))?.remove();
  target.removeAttribute("aria-invalid");
  target.removeAttribute("aria-describedby");
}

function unreachable({ detail: { ctx, error } }) {
  if (!ctx || error?.name === "AbortError" || isLive(ctx)) return;
  toast("The server could not be reached, so it is not known whether this was saved. What you typed is still here: send it again, it will not be done twice.");
}

/** Hook into htmx. */
export function startRequests() {
  document.addEventListener("htmx:config:request", prepare);
  document.addEventListener("htmx:before:request", refuseStale);
  document.addEventListener("htmx:after:request", settle);
  document.addEventListener("htmx:response:error", failed);
  document.addEventListener("htmx:error", unreachable);
  document.addEventListener("input", clearFieldError);
}
