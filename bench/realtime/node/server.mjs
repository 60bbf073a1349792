// Socket.IO as its documentation sets it up: several processes, with Redis between them.
import { createServer } from "node:http";
import { createAdapter as pubSubAdapter } from "@socket.io/redis-adapter";
import { createAdapter as streamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { BENCH_ADAPTER, BENCH_SOCKET, BENCH_REDIS, BENCH_REDIS_USER, BENCH_REDIS_PASSWORD } = process.env;
// As bench/realtime/emitting.py has them.
const TEXT = "x".repeat(190);
const EVENT = "told";

async function connected() {
  const client = createClient({
    username: BENCH_REDIS_USER,
    password: BENCH_REDIS_PASSWORD,
    socket: { path: BENCH_REDIS },
  });
  // Without a listener node ends at the first error; Redis outlives this process, unless the run has broken off.
  client.on("error", (error) => console.error(error));
  await client.connect();
  return client;
}

async function adapted() {
  if (BENCH_ADAPTER === "streams") {
    return { adapter: streamsAdapter(await connected()), connectionStateRecovery: {} };
  }
  return { adapter: pubSubAdapter(await connected(), await connected()) };
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// The same as emit() of bench/realtime/emitting.py. The clock is that of Python's time.monotonic_ns.
async function emit({ rooms, first, count, rate }) {
  const began = performance.now();
  for (let number = 0; number < count; number += 1) {
    const early = began + (number * 1000) / rate - performance.now();
    if (early > 0) await pause(early);
    const room = number % rooms;
    const seq = first + Math.floor(number / rooms);
    // A moment is less than 2^53 ns until the machine has been up for a hundred days.
    const at = Number(process.hrtime.bigint());
    io.to(`bench-${room}`).emit(EVENT, { room, seq, at, text: TEXT });
  }
  return { seconds: (performance.now() - began) / 1000 };
}

async function answer(request, response) {
  const url = new URL(request.url, "http://localhost");
  const asked = Object.fromEntries([...url.searchParams].map(([name, value]) => [name, Number(value)]));
  if (url.pathname === "/bench/settle") globalThis.gc();
  const found = url.pathname === "/bench/emit" ? await emit(asked) : {};
  response.setHeader("Content-Type", "application/json").end(JSON.stringify(found));
}

const http = createServer((request, response) => {
  if (!request.url.startsWith("/socket.io/")) answer(request, response);
});
const io = new Server(http, await adapted());
io.on("connection", (socket) => {
  socket.on("enter", async (room, entered) => {
    await socket.join(room);
    entered(room);
  });
});
http.listen(BENCH_SOCKET);
