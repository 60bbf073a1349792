// The room of the record that a page shows. The page enters it whenever it connects, and asks again until the server
// says yes or no: without Redis, or at an instance that is too busy to answer, it would hear nothing and not know it.

// How long the server may take to answer.
const ANSWER = 5000;
// Between two questions, with jitter: when Redis comes back, all the pages of a site ask.
const AGAIN = 2000;
const SPREAD = 3000;
// As in realtime/rooms.py: asking again changes nothing.
const FINAL = new Set(["There is no such room", "Too many rooms"]);

const isOver = (answer) => answer && (!answer.error || FINAL.has(answer.error.title));

/**
 * Enter a room for as long as `shown` says that the page shows its record. `answered` is called with what the server
 * says, or with nothing when it does not in time: once for each connection, and once more when that was not the end.
 */
export function enterRoom(socket, room, shown, answered) {
  let question = 0;
  let timer;

  function ask(first) {
    clearTimeout(timer);
    if (!socket.connected || !shown()) return;
    question += 1;
    const asked = question;
    socket.timeout(ANSWER).emit("join", room, (late, answer) => {
      // Of two questions only the second counts; and when the connection ends, the next one begins with a question.
      if (asked !== question || !socket.connected) return;
      if (first || isOver(answer)) answered(answer);
      if (!isOver(answer)) timer = setTimeout(ask, AGAIN + Math.random() * SPREAD, false);
    });
  }

  socket.on("connect", () => ask(true));
  socket.on("missed", () => ask(true));
}
