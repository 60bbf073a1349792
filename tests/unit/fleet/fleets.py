"""What the tests of rolls do to a fleet, and what they expect of it."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from hecto.fleet import cli, snapshot
from hecto.fleet import state as states
from hecto.fleet.apply import apply
from hecto.fleet.host import Host
from hecto.fleet.layout import Layout
from hecto.fleet.plan import Order
from hecto.fleet.roll import Rolled, roll
from tests.unit.fleet.conftest import OLD
from tests.unit.fleet.processes import Processes

QUICKLY = ["--ready-timeout", "10", "--drain-timeout", "0.5", "--canary-seconds", "0.3"]


def begin(host: Host, processes: Processes, instances: int, release: str = OLD) -> None:
    """Have a fleet that runs a release, and remembers it as good."""
    apply(host, instances, release)
    processes.wanted = instances
    states.save(host.layout.fleet_state, states.State(last_good=release))
    processes.calls.clear()


def move(host: Host, release: str, *, check: bool = False, **more: Any) -> Rolled:
    return roll(host, Order(release, "ada", **more), check=check)


def states_of(layout: Layout, processes: Processes) -> dict[int, tuple[str, str | None]]:
    return {n: (i.state, i.release) for n, i in snapshot.take(layout, processes, wanted=()).instances.items()}


def assert_all_on(layout: Layout, processes: Processes, release: str, instances: int) -> None:
    """Every instance serves, on this release and pinned to it, and no trace is left of how it came there."""
    numbers = range(1, instances + 1)
    assert states_of(layout, processes) == dict.fromkeys(numbers, ("ready", release))
    assert layout.pinned() == dict.fromkeys(numbers, release)
    assert not any(layout.is_on_hold(number) for number in numbers)


def make_busy(layout: Layout, number: int, what: str, amount: int) -> None:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(layout.control(number)))
    connection.request("POST", f"/test?{what}={amount}")
    connection.getresponse().read()
    connection.close()


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for what must come to pass, however slow the machine is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def fleet(layout: Layout, processes: Processes, *words: str) -> int:
    """Run the command line."""
    return cli.run(cli.parser().parse_args(words), layout, processes)


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON object that a command printed."""
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found
