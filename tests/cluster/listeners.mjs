// Official Socket.IO clients that hear what the load writes, as open pages do: they come back by themselves. What they hear goes to
// standard output, one JSON array a line: [listener, seconds, what, ...]. NODE_EXTRA_CA_CERTS names the site's authority.
//
//     node listeners.mjs PACKAGE_JSON URL < [{"email": ..., "password": ..., "listeners": 10}, ...]
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { io } = createRequire(process.argv[2])("socket.io-client");
const url = process.argv[3];
// Access tokens live for 15 minutes.
const REFRESH_MS = 8 * 60 * 1000;
const RETRY_MS = 1000;
const PATIENCE_MS = 10_000;
const TOLD = ["task.created", "task.updated", "task.deleted"];

function write(listener, what, ...more) {
  process.stdout.write(`${JSON.stringify([listener, Date.now() / 1000, what, ...more])}\n`);
}

async function ask(path, body) {
  const answer = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Somebody who is signed in, with the access token of the moment.
class Person {
  async begin({ email, password }) {
    this.tokens = await ask("/api/auth/login", { email, password });
    this.keep();
  }

  async keep() {
    for (;;) {
      await pause(REFRESH_MS);
      for (;;) {
        try {
          this.tokens = await ask("/api/auth/refresh", { refresh_token: this.tokens.refresh_token });
          break;
        } catch (error) {
          process.stderr.write(`refresh: ${error.message}\n`);
          await pause(RETRY_MS);
        }
      }
    }
  }
}

function listen(person, listener) {
  const socket = io(url, {
    auth: (give) => give({ token: person.tokens.access_token }),
    transports: ["websocket"],
    reconnectionDelay: 200,
    reconnectionDelayMax: 1000,
    timeout: 5000,
    forceNew: true,
  });
  // As docs/realtime.md asks: what came of a replay that was cut off comes again.
  socket.io.on("close", () => {
    socket.receiveBuffer.length = 0;
  });
  socket.on("connect", () => write(listener, "connect", Boolean(socket.recovered)));
  socket.on("missed", () => write(listener, "missed"));
  socket.on("disconnect", (reason) => {
    write(listener, "disconnect", reason);
    // The server ended the session, as it does when a token has run out: then one has to connect by oneself.
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), RETRY_MS);
  });
  socket.on("connect_error", (error) => {
    write(listener, "refused", error.message);
    if (!socket.active) setTimeout(() => socket.connect(), RETRY_MS);
  });
  for (const what of TOLD) {
    socket.on(what, ({ event, id, version, title }, offset) => {
      write(listener, what, event, id, version, title, offset);
    });
  }
}

let number = 0;
for (const account of JSON.parse(readFileSync(0, "utf-8"))) {
  const person = new Person();
  await person.begin(account);
  for (let one = 0; one < account.listeners; one += 1) {
    listen(person, number);
    number += 1;
  }
}
