"""What the clients know of the tasks together, and what they choose to do next."""

from __future__ import annotations

import random
from collections import defaultdict

from tests.chaos.history import Kind, State

# Half of the requests read, as people do; deletes are few, so that tasks live long enough to be fought over.
MIX = {
    Kind.LIST: 20,
    Kind.GET: 22,
    Kind.ACTIVITY: 8,
    Kind.CREATE: 18,
    Kind.EDIT: 18,
    Kind.COMMENT: 10,
    Kind.DELETE: 4,
}
KINDS, WEIGHTS = list(MIX), list(MIX.values())
# Tasks that everybody works on, so that clients meet; the others are each client's own.
HOT = 24
MEET = 0.15
# How often a client acts on what it should know to be over: an older version, a deleted task.
OUTDATED = 0.04
GRAVES = 200


class World:
    """The tasks that are there, each with the newest version that any client has seen."""

    def __init__(self, run: str, seed: int) -> None:
        self.run = run
        self.random = random.Random(seed)
        self._versions: dict[int, int] = {}
        self._own: defaultdict[int, list[int]] = defaultdict(list)
        self._hot: list[int] = []
        self._graves: list[int] = []

    def choose(self, client: int) -> Kind:
        """What a client does next; it must have a task before it can do something to one."""
        if not self._own[client] and not self._hot:
            return Kind.CREATE
        return self.random.choices(KINDS, WEIGHTS)[0]

    def pick(self, client: int, kind: Kind) -> tuple[int, int]:
        """A task to do something to, and the version that the client believes it has."""
        if self._graves and self.random.random() < OUTDATED:
            return self.random.choice(self._graves), 1
        own = self._own[client]
        shared = not own or (self._hot and self.random.random() < MEET)
        task = self.random.choice(self._hot if shared and self._hot else own or self._hot)
        version = self._versions.get(task, 1)
        # Everybody uses the newest version that anybody has seen, so rivals are those under way at the same moment.
        if kind in (Kind.EDIT, Kind.DELETE) and version > 1 and self.random.random() < OUTDATED:
            version -= 1
        return task, version

    def learn(self, client: int, states: list[State], *, created: bool = False) -> None:
        """Take note of what an answer showed."""
        for state in states:
            if state.task in self._versions or created:
                self._versions[state.task] = max(state.version, self._versions.get(state.task, 0))
        if created:
            (self._hot if len(self._hot) < HOT else self._own[client]).append(states[0].task)

    def bury(self, client: int, task: int) -> None:
        """The task is gone; it is asked for now and then, to see that it does not come back."""
        if self._versions.pop(task, None) is None:
            return
        for tasks in (self._hot, self._own[client]):
            if task in tasks:
                tasks.remove(task)
        self._graves = [*self._graves[-GRAVES:], task]
