"""A supervisor of real processes on this machine, in systemd's place: it starts, restarts, stops and reports them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path

from hecto.fleet.drift import read_environment
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Unit, Units

STANDIN = Path(__file__).with_name("standin.py")


def layout_in(root: Path) -> Layout:
    """A host's directories inside of one."""
    names = ("opt", "run", "var", "etc", "credentials", "lock", "log")
    return Layout(*(root / name for name in names))


class Processes:
    """Runs each instance as a child process and starts it again when it ends, like Restart=always does."""

    def __init__(self, layout: Layout, wanted: int = 0) -> None:
        self.layout = layout
        self.wanted = wanted
        self.target_active = False
        self.calls: list[tuple[str, list[int]]] = []
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        self._restarts: dict[int, int] = {}
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def units(self) -> Units:
        with self._guard:
            found = {
                number: Unit(
                    number=number,
                    active="active" if child.poll() is None else "activating",
                    sub="running" if child.poll() is None else "auto-restart",
                    result="success" if child.poll() is None else "exit-code",
                    pid=child.pid,
                    restarts=self._restarts[number],
                    started=self._started[number],
                    files=(self.layout.config / "unit",),
                )
                for number, child in self._children.items()
            }
        return Units(frozenset(range(1, self.wanted + 1)), self.target_active, found)

    def start(self, numbers: Collection[int]) -> None:
        self.calls.append(("start", list(numbers)))
        with self._guard:
            for number in numbers:
                self._restarts[number] = 0
                self._spawn(number)

    def stop(self, numbers: Collection[int]) -> None:
        if not numbers:
            return
        self.calls.append(("stop", list(numbers)))
        with self._guard:
            children = [self._children.pop(number) for number in numbers if number in self._children]
        for child in children:
            self._end(child)

    def start_target(self) -> None:
        self.calls.append(("start_target", []))
        self.target_active = True

    def journal(self, number: int, since: float) -> list[str]:
        return [f"the last words of instance-{number}"]

    def kill(self, number: int, which: signal.Signals) -> None:
        """Do to an instance what a test wants to see survived; one that is killed is gone when this returns."""
        child = self._children[number]
        child.send_signal(which)
        if which == signal.SIGKILL:
            child.wait(10)

    def close(self) -> None:
        """End everything."""
        self._closed.set()
        self._keeper.join()
        for child in self._children.values():
            self._end(child)

    def _spawn(self, number: int) -> None:
        release = os.readlink(self.layout.pins / str(number))
        environment = read_environment(self.layout.environment) | {"HECTO_INSTANCE": str(number)}
        credentials = self.layout.credentials / f"hecto@{number}.service"
        credentials.mkdir(parents=True, exist_ok=True)
        for secret in self.layout.secrets.iterdir():
            (credentials / secret.name).write_bytes(secret.read_bytes())
        self._children[number] = subprocess.Popen([sys.executable, "-I", str(STANDIN), release], env=environment)
        self._started[number] = time.time()

    def _keep(self) -> None:
        while not self._closed.wait(0.05):
            with self._guard:
                for number, child in list(self._children.items()):
                    if child.poll() is not None:
                        self._restarts[number] += 1
                        self._spawn(number)

    def moves(self) -> list[int]:
        """Which instances were started, in their order."""
        return [number for verb, numbers in self.calls if verb == "start" for number in numbers]

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.send_signal(signal.SIGCONT)
        child.terminate()
        child.wait(10)
