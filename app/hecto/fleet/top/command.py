"""What `hecto-fleet top` does with its options."""

import argparse
import json
import os
import shutil
import sys
import time
from functools import partial
from typing import Any

from hecto.fleet.errors import OK
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.top import draw
from hecto.fleet.top.look import Looker
from hecto.fleet.top.screen import is_terminal, screen

# Rates are differences: one look needs another before it.
FIRST_SECONDS = 1.0


def top(options: argparse.Namespace, layout: Layout, supervisor: Supervisor) -> int:
    """Show the host live; once where nobody looks or a program asks, unless it wants to follow."""
    if options.follow:
        return _follow(options, Looker(layout, supervisor))
    if options.json or options.once or not is_terminal():
        return _once(options, Looker(layout, supervisor, whole=True))
    return _live(options, Looker(layout, supervisor))


def _once(options: argparse.Namespace, looker: Looker) -> int:
    looker.look()
    time.sleep(FIRST_SECONDS)
    now = looker.look()
    if options.json:
        print(json.dumps(now))
    else:
        print(as_text(now, shutil.get_terminal_size((120, 24)).columns))
    return OK


def as_text(now: dict[str, Any], width: int) -> str:
    """Everything, without colours, for a pipe or a file."""
    return "\n".join(draw.paint(line, width, colour=False) for line in draw.whole(now, width))


def _follow(options: argparse.Namespace, looker: Looker) -> int:
    """One snapshot a line, as long as somebody reads."""
    try:
        pause = FIRST_SECONDS
        while True:
            print(json.dumps(looker.look()), flush=True)
            time.sleep(pause)
            pause = options.every
    except (BrokenPipeError, KeyboardInterrupt):
        # What Python would write at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _live(options: argparse.Namespace, looker: Looker) -> int:
    now = looker.look()
    try:
        with screen() as shown:
            due = FIRST_SECONDS
            while True:
                shown.draw(partial(draw.frame, now))
                end = time.monotonic() + due
                while (why := shown.wait(end - time.monotonic())) == "size":
                    shown.draw(partial(draw.frame, now))
                if why == "quit":
                    return OK
                now, due = looker.look(), options.every
    except KeyboardInterrupt:
        return OK
