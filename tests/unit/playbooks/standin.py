"""A hecto-fleet without systemd: claims, history and what a host remembers are the real ones, instances are a file.

It is run by the playbooks, as /opt/hecto/releases/ID/bin/hecto-fleet of a host that is the directory in $HOST. Its file
`broken` names a release that never gets ready there.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from hecto.fleet import claim, cli, state
from hecto.fleet.errors import FleetError, ReturnedError
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Systemd

HOST = Path(os.environ["HOST"])
LAYOUT = Layout(
    HOST / "opt/hecto", HOST / "run", HOST / "var", HOST / "etc", HOST / "cred", HOST / "lock", HOST / "log"
)
REAL = ("claim", "unclaim", "activate", "history")


class Nobody(Systemd):
    """Commands that ask for no instance need no supervisor."""


def main() -> int:
    options = cli.parser().parse_args()
    changes = not getattr(options, "check", False) and options.name not in ("status", "history")
    if changes:
        with (HOST.parent / "calls").open("a") as calls:
            calls.write(" ".join([HOST.name, options.name, getattr(options, "release", None) or ""]).strip() + "\n")
    if options.name in REAL:
        return cli.run(options, LAYOUT, object())  # type: ignore[arg-type]
    try:
        answer: dict[str, Any] = globals()[options.name](options)
    except FleetError as error:
        answer = {"changed": False, "error": str(error), "exit_code": error.code}
    print(json.dumps(answer))  # noqa: T201  the playbook reads it
    return answer.get("exit_code", 0)


def instances(found: dict[str, str] | None = None) -> dict[str, str]:
    """Number and release of what runs; with `found` this is what runs from now on."""
    file = HOST / "instances.json"
    if found is not None:
        file.write_text(json.dumps(found))
    return json.loads(file.read_text())


def status(_: Namespace) -> dict[str, Any]:
    known, current = state.load(LAYOUT.fleet_state), LAYOUT.current_release()
    held = known.claim if known.claim and known.claim.holds else None
    running = instances()
    wanted = [str(number) for number in range(1, int((HOST / "wanted").read_text()) + 1)]
    rows = [
        {"number": int(n), "release": running.get(n), "pin": running.get(n), "pid": int(n in running)}
        for n in sorted({*running, *wanted})
    ]
    due = [{"instance": int(n), "reasons": [f"release {r}"]} for n, r in running.items() if r != current]
    return {
        "ready": True,
        "release": current,
        "instances": rows,
        "roll_due": due + json.loads((HOST / "due.json").read_text()),
        "last_good": known.last_good,
        "good_before": known.good_before,
        "claim": {"who": held.who, "run": held.run} if held else None,
    }


def roll(options: Namespace) -> dict[str, Any]:
    running, known = instances(), state.load(LAYOUT.fleet_state)
    old = [one["instance"] for one in json.loads((HOST / "due.json").read_text())]
    due = [int(n) for n, release in running.items() if options.all or release != options.release or int(n) in old]
    if options.check:
        return {"changed": bool(due), "batches": [[number] for number in due]}
    claim.require(known, options.who, options.run)
    if options.release in (HOST / "broken").read_text():
        instances(dict.fromkeys(running, str(known.last_good)))
        if (HOST / "takes").is_symlink():
            (HOST / "takes").touch()
        raise ReturnedError(
            f"On release {options.release} instance-1 never was ready. Everything is back on what it ran before."
        )
    chosen = options.instances or due
    instances(running | dict.fromkeys(map(str, chosen), options.release))
    left = [one for one in json.loads((HOST / "due.json").read_text()) if one["instance"] not in chosen]
    (HOST / "due.json").write_text(json.dumps(left))
    return {"changed": bool(chosen), "moved": chosen}


def apply(options: Namespace) -> dict[str, Any]:
    running = instances()
    wanted = [str(number) for number in range(1, options.instances + 1)]
    instances({number: running.get(number, options.release) for number in wanted})
    return {"changed": wanted != list(running), "roll_due": status(options)["roll_due"], "message": ""}


def finish(options: Namespace) -> dict[str, Any]:
    known = state.load(LAYOUT.fleet_state)
    is_news = known.remember(options.release)
    known.claim = None
    state.save(LAYOUT.fleet_state, known)
    return {"changed": is_news}


if __name__ == "__main__":
    sys.exit(main())
