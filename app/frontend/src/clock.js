// Times as people say them, in their own language and time zone. The server writes them in full, for when this is not running.
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const language = document.documentElement.lang || "en";
const relative = new Intl.RelativeTimeFormat(language, { numeric: "always", style: "short" });
const full = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" });

/** "3 min. ago" for a moment, seen from now. */
export function ago(moment, now = Date.now()) {
  const seconds = (moment - now) / 1000;
  const [unit, size] = UNITS.find(([, least]) => Math.abs(seconds) >= least) ?? [];
  return unit ? relative.format(Math.round(seconds / size), unit) : "just now";
}

function write(element) {
  const moment = new Date(element.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const text = ago(moment);
  if (element.textContent !== text) element.textContent = text;
  element.title = full.format(moment);
}

function writeAll(root = document) {
  root.querySelectorAll?.("time[data-ago]").forEach(write);
}

/** Rewrite all times now, every half minute, and whenever a fragment arrives. */
export function startClocks() {
  writeAll();
  setInterval(writeAll, 30_000);
  document.addEventListener("htmx:after:settle", ({ target }) => writeAll(target.parentElement ?? document));
}
