"""hecto-fleet in a process of its own, which kills itself with -9 just before, or just after, one of its effects.

Called with the host's directory, the point (such as "before pin 2", or "never"), and the words of the command line.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hecto.fleet import canary, cli, move
from hecto.fleet import state as states
from hecto.fleet.layout import Layout
from tests.unit.fleet.processes import layout_in
from tests.unit.fleet.remote import Remote

ROOT, POINT = Path(sys.argv[1]), sys.argv[2]
SEEN: dict[str, int] = {}


def effect(name: str, does: Callable[..., Any]) -> Callable[..., Any]:
    """Count a call, and die at the one that is meant."""

    @functools.wraps(does)
    def counted(*arguments: Any, **more: Any) -> Any:
        SEEN[name] = SEEN.get(name, 0) + 1
        point = f"{name} {SEEN[name]}"
        if f"before {point}" == POINT:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = does(*arguments, **more)
        if f"after {point}" == POINT:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return counted


def ask_all(paths: Any, action: str = "status", *more: Any) -> Any:
    return effect(action, functools.partial(_ask_all, paths, action, *more))()


_ask_all = move.ask_all
move.ask_all = ask_all
move.check_all = effect("check", move.check_all)
canary.watch = effect("watch", canary.watch)
states.save = effect("save", states.save)
for method in ("hold", "unhold", "pin"):
    setattr(Layout, method, effect(method, getattr(Layout, method)))
remote = Remote(ROOT / "supervisor")
remote.start = effect("start", remote.start)  # type: ignore[method-assign]
remote.stop = effect("stop", remote.stop)  # type: ignore[method-assign]

# Whoever runs the tests in the background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(cli.run(cli.parser().parse_args(sys.argv[3:]), layout_in(ROOT), remote))
