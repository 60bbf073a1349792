// Official Socket.IO clients that do what they are told, one JSON object a line, and report what happens to them likewise.
// Its argument is a file beside the node_modules that holds socket.io-client.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { io } = createRequire(process.argv[2])("socket.io-client");
const sockets = new Map();

function report(name, what, more = {}) {
  process.stdout.write(`${JSON.stringify({ name, what, ...more })}\n`);
}

const commands = {
  connect({ name, url, auth, transports, reconnection }) {
    const socket = io(url, {
      auth,
      transports,
      reconnection,
      reconnectionDelay: 50,
      reconnectionDelayMax: 500,
      forceNew: true,
      // The certificate is made for the run.
      rejectUnauthorized: false,
    });
    sockets.set(name, socket);
    socket.io.on("open", () => {
      socket.io.engine.on("upgrade", (transport) => report(name, "upgrade", { transport: transport.name }));
    });
    socket.on("connect", () => {
      const transport = socket.io.engine.transport.name;
      report(name, "connect", { id: socket.id, pid: socket._pid, recovered: Boolean(socket.recovered), transport });
    });
    socket.on("disconnect", (reason) => report(name, "disconnect", { reason }));
    socket.on("connect_error", (error) => {
      // A refusal by the server ends all attempts; what has no subscriptions left does not try again.
      report(name, "connect_error", { message: error.message, refused: !socket.active });
    });
    socket.onAny((event, ...args) => report(name, "event", { event, args }));
  },

  // The connection ends below Socket.IO, as when a device changes networks and notices.
  engineClose({ name }) {
    sockets.get(name).io.engine.close();
  },

  // The same, for a client that would come back by itself: it waits until it is told to.
  hold({ name }) {
    const { io: manager } = sockets.get(name);
    manager.reconnection(false);
    manager.engine.close();
    manager.reconnection(true);
  },

  // The TCP connection ends without a word of WebSocket's.
  kill({ name }) {
    sockets.get(name).io.engine.transport.ws._socket.destroy();
  },

  // Come back, at the address that is given.
  reconnect({ name, url }) {
    const socket = sockets.get(name);
    socket.io.uri = url;
    socket.connect();
  },

  // Where the next attempt of a client that comes back by itself goes.
  setUrl({ name, url }) {
    sockets.get(name).io.uri = url;
  },

  setAuth({ name, auth }) {
    sockets.get(name).auth = auth;
  },

  // Say something that is answered.
  ask({ name, event, about }) {
    sockets.get(name).emit(event, about, (answer) => report(name, "answer", { answer }));
  },

  // The end of the session, said in so many words.
  disconnect({ name }) {
    sockets.get(name).disconnect();
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  })
  .on("close", () => process.exit());
