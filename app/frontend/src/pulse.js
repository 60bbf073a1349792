// Parts that show what nobody tells of, such as how busy the site is, fetch themselves again while somebody looks.
const EVERY = 5000;

/** Have every part with data-pulse hear of it: hx-trigger="live:pulse from:document". */
export function startPulse() {
  if (!document.querySelector("[data-pulse]")) return;
  const beat = () => document.hidden || document.dispatchEvent(new CustomEvent("live:pulse"));
  setInterval(beat, EVERY);
  document.addEventListener("visibilitychange", beat);
}
