// Who else looks at the record of this page: the server says it when the page enters the record's room, and again
// whenever somebody comes or goes. And who is here at all: a part of a page that asks now and then.
import { changed, onSocket } from "./live.js";
import { enterRoom } from "./room.js";

// As in templates/components/parts.html.
const HUES = 8;
// An event for everybody whenever somebody comes or goes would cost each instance; a minute of delay costs
// nobody anything. With jitter, since an instance that restarts brings many pages back at once.
const LOOK = 45_000;
const JITTER = 30_000;

function show(place, people) {
  const others = people.filter((person) => String(person.id) !== document.body.dataset.user);
  place.hidden = !others.length;
  place.querySelector("[data-people]").replaceChildren(...others.map(avatar));
}

function avatar(person) {
  const item = document.createElement("li");
  const picture = document.createElement("span");
  picture.className = "avatar";
  picture.dataset.hue = person.id % HUES;
  picture.dataset.online = "";
  picture.textContent = initials(person.name);
  picture.ariaHidden = "true";
  const name = document.createElement("span");
  name.className = "sr-only";
  name.textContent = person.name;
  item.title = person.name;
  item.append(picture, name);
  return item;
}

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  return [words[0] ?? "?", ...words.slice(1).slice(-1)].map((word) => [...word][0]).join("").toUpperCase();
}

/** Look anew, for as long as the page is there; while nobody looks at it, it waits for somebody to do so. */
function lookAround() {
  changed("present");
  setTimeout(lookAround, LOOK + Math.random() * JITTER);
}

/** Show the company on pages of a record, and keep the list of everybody right where a page has it. */
export function startCompany() {
  if (document.querySelector("[data-present]")) setTimeout(lookAround, LOOK + Math.random() * JITTER);
  const place = document.querySelector("[data-company]");
  if (!place) return;
  const room = place.dataset.company;
  onSocket((socket) => {
    enterRoom(socket, room, () => place.isConnected, (answer) => answer?.present && show(place, answer.present));
    socket.on("presence", (event) => event.room === room && show(place, event.present));
  });
}
