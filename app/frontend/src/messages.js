// Telling people things: a short message on the screen, a sentence for screen readers.

/** Say something to screen readers, politely. */
export function announce(text) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = text;
}

/** Show a message until it is closed or has been readable for long enough. */
export function toast(text) {
  const stack = document.getElementById("toasts");
  const note = document.createElement("div");
  note.className = "toast";
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.setAttribute("aria-label", "Close this message");
  close.textContent = "✕";
  close.addEventListener("click", () => note.remove());
  note.append(words, close);
  stack.append(note);
  // Reading takes about 60 ms a character; nobody is hurried below 6 s. Pointing at the message keeps it.
  const leave = () => (note.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : note.remove());
  setTimeout(leave, Math.max(6000, text.length * 60));
}
