"""One client: does one operation after another as a browser or as a plain script does, and writes down what came."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import gevent
import orjson

from tests.chaos.history import WRITES, Attempt, Entry, Kind, Operation, Outcome, State, Writer, now
from tests.chaos.wire import Answer, Connection, NoAnswer
from tests.chaos.world import World

# As the browser's part of the product repeats (app/frontend/src/requests.js).
PASSING = (0, 502, 503, 504)
TRIES = 6
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0
LIST_LIMIT, ACTIVITY_LIMIT = 20, 10
STATUSES = ("open", "doing", "done")
# Access tokens live for 15 minutes.
REFRESH_AFTER = 600.0


class Client:
    """A user of its own with a connection of its own."""

    def __init__(self, number: int, host: str, connection: Connection, world: World, writer: Writer) -> None:
        self.number = number
        # Half of them repeat what got no answer under one key, as browsers do; the others never repeat anything.
        self.careful = number % 2 == 0
        self._host = host
        self.connection = connection
        self._world = world
        self._writer = writer
        self._serial = itertools.count(1)
        self._access = self._refresh = ""
        self._refreshed = 0.0

    def signed_in(self, answer: dict[str, Any]) -> None:
        """Take the tokens of a sign-in or of its renewal."""
        self._access, self._refresh = answer["access_token"], answer["refresh_token"]
        self._refreshed = now()

    def act(self) -> None:
        """Do one thing."""
        if now() - self._refreshed > REFRESH_AFTER:
            self._renew()
        kind = self._world.choose(self.number)
        operation = self._begin(kind)
        doing: dict[Kind, Callable[[Operation], None]] = {
            Kind.CREATE: self._create,
            Kind.LIST: self._list,
        }
        if kind not in doing:
            operation.task, operation.version = self._world.pick(self.number, kind)
        try:
            doing.get(kind, self._to_a_task)(operation)
        except (ValueError, LookupError, TypeError) as error:
            _spoil(operation, f"the answer cannot be read: {error!r}")
        operation.end = now()
        self._writer.add(operation)

    def _begin(self, kind: Kind) -> Operation:
        token = f"{self._world.run}.{self.number}.{next(self._serial)}"
        return Operation(token, self.number, kind, now(), keyed=self.careful and kind in WRITES)

    def _renew(self) -> None:
        operation = self._begin(Kind.REFRESH)
        # Everybody repeats this one: within half a minute the same refresh token may come again.
        answer = self._send(operation, "POST", "/api/auth/refresh", {"refresh_token": self._refresh}, tries=TRIES)
        if answer and answer.status == 200:
            self.signed_in(orjson.loads(answer.body))
        operation.end = now()
        self._writer.add(operation)

    def _create(self, operation: Operation) -> None:
        body = {"title": operation.id, "priority": self._world.random.randint(1, 4)}
        answer = self._send(operation, "POST", "/api/tasks", body)
        if answer and operation.outcome is Outcome.OK:
            operation.states = [_state(orjson.loads(answer.body))]
            operation.task = operation.states[0].task
            self._world.learn(self.number, operation.states, created=True)

    def _list(self, operation: Operation) -> None:
        operation.filtered = self._world.random.random() < 0.5
        mine = f"&q={self._world.run}.{self.number}." if operation.filtered else ""
        answer = self._send(operation, "GET", f"/api/tasks?limit={LIST_LIMIT}{mine}")
        if answer and operation.outcome is Outcome.OK:
            page = orjson.loads(answer.body)
            operation.states = [_state(item) for item in page["items"]]
            operation.whole = page["next"] is None
            self._world.learn(self.number, operation.states)

    def _to_a_task(self, operation: Operation) -> None:
        kind, task = operation.kind, f"/api/tasks/{operation.task}"
        if kind is Kind.GET:
            answer = self._send(operation, "GET", task)
        elif kind is Kind.ACTIVITY:
            answer = self._send(operation, "GET", f"{task}/activity?limit={ACTIVITY_LIMIT}")
        elif kind is Kind.EDIT:
            answer = self._send(operation, "PATCH", task, self._change(operation))
        elif kind is Kind.COMMENT:
            answer = self._send(operation, "POST", f"{task}/comments", {"text": operation.id})
        else:
            answer = self._send(operation, "DELETE", f"{task}?version={operation.version}")
        if answer:
            self._take(operation, answer)

    def _change(self, operation: Operation) -> dict[str, Any]:
        change: dict[str, Any] = {"version": operation.version, "title": operation.id}
        if self._world.random.random() < 0.3:
            change["status"] = self._world.random.choice(STATUSES)
        return change

    def _take(self, operation: Operation, answer: Answer) -> None:
        """Keep what the answer says about the task."""
        assert operation.task is not None
        gone = answer.status == 404 or (operation.kind is Kind.DELETE and answer.status == 204)
        if gone:
            self._world.bury(self.number, operation.task)
        elif answer.status in (200, 201, 409):
            body = orjson.loads(answer.body)
            if operation.kind is Kind.ACTIVITY:
                operation.entries = [_entry(line) for line in body["items"]]
                operation.whole = len(operation.entries) < ACTIVITY_LIMIT
            elif operation.kind is Kind.COMMENT:
                operation.entries = [_entry(body)] if answer.status == 201 else []
            elif shown := body.get("current") if answer.status == 409 else body:
                operation.states = [_state(shown)]
                self._world.learn(self.number, operation.states)

    def _send(self, operation: Operation, method: str, path: str, body: Any = None, tries: int = 0) -> Answer | None:
        """Send, and again where this client repeats; returns the last answer."""
        content = b"" if body is None else orjson.dumps(body)
        head = self._head(operation, method, path, content)
        answer = None
        for number in range(tries or (TRIES if self.careful else 1)):
            if number:
                most = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (number - 1))
                gevent.sleep(random.uniform(most / 2, most))
            answer = self._attempt(operation, head, content)
            if operation.status not in PASSING:
                break
        operation.outcome = _outcome(operation.status)
        return answer

    def _attempt(self, operation: Operation, head: bytes, content: bytes) -> Answer | None:
        begin, answer, error = now(), None, ""
        try:
            answer = self.connection.request(head, content, repeatable=operation.keyed or head.startswith(b"GET "))
        except NoAnswer as problem:
            error = str(problem)
        operation.status = answer.status if answer else 0
        replayed = bool(answer and answer.says(b"idempotency-replayed: true"))
        if answer and answer.status >= 400 and answer.status not in (404, 409):
            error = answer.body[:300].decode(errors="replace")
        operation.attempts.append(Attempt(begin, now(), operation.status, replayed, error))
        return answer

    def _head(self, operation: Operation, method: str, path: str, content: bytes) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        if operation.kind is not Kind.REFRESH:
            lines.append(f"Authorization: Bearer {self._access}")
        if operation.keyed:
            lines.append(f"Idempotency-Key: {operation.id}")
        if method != "GET":
            lines.append(f"Content-Length: {len(content)}")
        if content:
            lines.append("Content-Type: application/json")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _spoil(operation: Operation, error: str) -> None:
    """An answer that is no answer: as if none had come."""
    operation.attempts[-1] = operation.attempts[-1]._replace(status=0, error=error)
    operation.status, operation.outcome = 0, Outcome.UNKNOWN


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome.OK
    # What an instance says it has refused, it must not have done. Beyond that nothing is known.
    return Outcome.REFUSED if 400 <= status < 500 else Outcome.UNKNOWN


def _state(task: dict[str, Any]) -> State:
    return State(task["id"], task["version"], task["title"], task["status"])


def _entry(line: dict[str, Any]) -> Entry:
    return Entry(line["id"], line["verb"], token_of(line["data"]))


def token_of(data: dict[str, Any]) -> str:
    """The operation that a line of history tells of: its title, the new one of [old, new], or the text."""
    value = data.get("title", data.get("text", ""))
    return str(value[1] if isinstance(value, list) else value)
