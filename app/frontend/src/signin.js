// The sign-in of this browser, which all of its tabs share: where one shows the sign-in page, the others follow, and
// come back with it. A page on which something was typed stays, and says what to do.
import { note, toast } from "./messages.js";
import { anythingTyped } from "./typed.js";

// The message that the sign-in has ended, while it stands.
let ended;

const address = () => `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;

/** The sign-in has ended. */
export function signedOut() {
  if (!anythingTyped()) return location.assign(address());
  if (ended?.isConnected) return;
  const link = document.createElement("a");
  link.href = address();
  link.target = "_blank";
  link.textContent = "Sign in";
  ended = note("Your sign-in has ended. What you typed is still here: sign in in another tab, then send it again.", link);
}

/** Somebody has signed in in another tab: if it is the same person, this page goes on where it was. */
async function signedInElsewhere() {
  const answer = await fetch(location.href).catch(() => undefined);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  ended.remove();
  if (page.body.dataset.user !== document.body.dataset.user) {
    ended = note("Somebody else has signed in in this browser. Nothing can be sent from this page any more: load it again.");
    return;
  }
  ended = undefined;
  document.querySelector("meta[name=csrf-token]").content = page.querySelector("meta[name=csrf-token]").content;
  document.dispatchEvent(new CustomEvent("signed-in"));
  toast("You are signed in again. What you typed can be sent now.");
}

/** Share it among the tabs. */
export function startSignIn() {
  const signedIn = Boolean(document.body.dataset.user);
  if (!signedIn && !document.querySelector("form[action='/sign-in']")) return;
  const tabs = new BroadcastChannel("hecto");
  tabs.postMessage(signedIn ? "signed-in" : "signed-out");
  tabs.addEventListener("message", ({ data }) => {
    if (signedIn && data === "signed-out") signedOut();
    if (ended && data === "signed-in") signedInElsewhere();
    if (!signedIn && data === "signed-in") location.assign(document.querySelector("[name=next]").value);
  });
}
