// Who else looks at the record of this page. The server says it when the page enters the record's room, and again
// whenever somebody comes or goes.
import { onSocket } from "./live.js";
import { enterRoom } from "./room.js";

// As in templates/components/parts.html.
const HUES = 8;

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

/** Show the company on pages of a record. */
export function startCompany() {
  const place = document.querySelector("[data-company]");
  if (!place) return;
  const room = place.dataset.company;
  onSocket((socket) => {
    enterRoom(socket, room, () => place.isConnected, (answer) => answer?.present && show(place, answer.present));
    socket.on("presence", (event) => event.room === room && show(place, event.present));
  });
}
