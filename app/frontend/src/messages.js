// Telling people things: a short message on the screen, a sentence for screen readers.

/** Say something to screen readers, politely. */
export function announce(text) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = text;
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

/** A message that stays until it is closed. */
export function note(text, ...buttons) {
  const made = document.createElement("div");
  made.className = "toast";
  const words = document.createElement("p");
  words.textContent = text;
  const close = button("✕", () => made.remove());
  close.setAttribute("aria-label", "Close this message");
  made.append(words, ...buttons, close);
  document.getElementById("toasts").append(made);
  return made;
}

let offered = false;

/** Offer, once, to load the page in the version that the server runs by now. */
export function newVersion() {
  if (offered) return;
  offered = true;
  note("A new version of Hecto is there. Load the page again when it suits you.", button("Load again", () => location.reload()));
}

/** Show a message until it is closed or has been readable for long enough. */
export function toast(text) {
  const shown = note(text);
  // Reading takes about 60 ms a character; nobody is hurried below 6 s. Pointing at the message keeps it.
  const leave = () => (shown.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : shown.remove());
  setTimeout(leave, Math.max(6000, text.length * 60));
}
