"""What each command of hecto-fleet does with its options, and what it prints."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hecto.fleet import apply as applying
from hecto.fleet import audit, releases, snapshot, table, wait
from hecto.fleet import claim as claims
from hecto.fleet import roll as rolling
from hecto.fleet import secrets as secret_files
from hecto.fleet import state as states
from hecto.fleet.errors import NOT_READY, OK, FleetError, NotReadyError, UsageError
from hecto.fleet.layout import Layout
from hecto.fleet.lock import exclusive, is_free
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.wait import Patience

Options = argparse.Namespace


def status(options: Options, layout: Layout, supervisor: Supervisor) -> int:
    """Show every instance, and what a roll or a deploy is at."""
    while True:
        now = snapshot.take(layout, supervisor)
        notes = table.deploy_notes(states.load(layout.fleet_state), is_rolling=not is_free(layout.lock))
        if options.watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        if options.json:
            print(json.dumps(now.as_json() | notes.as_json()), flush=True)
        else:
            print("\n".join([table.render(now), *notes.lines()]), flush=True)
        if not options.watch:
            return OK if now.ready else NOT_READY
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            return OK


def history(options: Options, layout: Layout, _: Supervisor) -> int:
    """Show the latest lines of the history, newest last."""
    lines = audit.read(layout.history)[-options.lines :]
    for line in lines:
        print(json.dumps(line) if options.json else table.history_line(line))
    if not lines and not options.json:
        print("Nothing has changed the fleet of this host yet.")
    return OK


def apply(options: Options, layout: Layout, supervisor: Supervisor) -> int:
    """Bring the fleet to its size."""
    release = options.release or _current(layout)
    with _alone(options, layout) as done:
        claims.require(states.load(layout.fleet_state).claim, audit.who(options.who), options.run)
        plan = applying.apply(
            layout,
            supervisor,
            options.instances,
            release,
            check=options.check,
            patience=_patience(options),
            say=_say,
        )
        done.update({"release": release, "instances": options.instances, **plan.as_json()})
    would = "would " if options.check else ""
    parts = [
        f"{would}{verb} {applying.spell(numbers)}"
        for verb, numbers in (("start", plan.start), ("stop", plan.stop), ("resume", plan.resume + plan.admit))
        if numbers
    ]
    lines = ["; ".join(parts) or f"{options.instances} instances run, nothing to do"]
    if plan.due:
        lines.append(table.roll_due(plan.due))
    _report(options, plan.as_json() | {"message": lines[-1] if plan.due else ""}, "\n".join(lines))
    return OK


def roll(options: Options, layout: Layout, supervisor: Supervisor) -> int:
    """Move what has to be moved."""
    release = options.release or _current(layout)
    order = rolling.Order(release, audit.who(options.who), options.run, options.all, options.instances)
    with _alone(options, layout) as done:
        done["release"] = release
        rolled = rolling.roll(layout, supervisor, order, check=options.check, patience=_patience(options), say=_say)
        done.update(rolled.as_json())
    numbers = [number for batch in rolled.batches for number in batch] if options.check else rolled.moved
    would = "would move" if options.check else "moved"
    text = f"{would} {applying.spell(numbers)} to {release}" if numbers else "no roll is due, nothing to do"
    _report(options, rolled.as_json(), text)
    return OK


def activate(options: Options, layout: Layout, _: Supervisor) -> int:
    """Make a release the one of instances to come."""
    with _alone(options, layout) as done:
        activated = releases.activate(layout, options.release, keep=options.keep, check=options.check)
        done.update(activated.as_json())
    removed = f", removed {' '.join(activated.removed)}" if activated.removed else ""
    _report(options, activated.as_json(), f"{options.release} is current{removed}")
    return OK


def finish(options: Options, layout: Layout, supervisor: Supervisor) -> int:
    """Remember the release as good; raises NotReadyError unless every wanted instance runs it and is ready."""
    applying.require_release(layout, options.release)
    with _alone(options, layout) as done:
        wanted = supervisor.units().wanted
        if late := wait.until_ready(layout, supervisor, wanted, options.release, _patience(options).ready):
            raise NotReadyError(
                f"Not every instance runs {options.release}: {applying.describe(late)}. It is not remembered as good. "
                f"Run hecto-fleet roll --release {options.release}, or roll back."
            )
        state = states.load(layout.fleet_state)
        changed = state.last_good != options.release or state.roll is not None
        removed = releases.prune(layout, options.release, options.keep, check=options.check)
        if not options.check:
            rolling.finish_state(layout, state, options.release)
            claims.unclaim(layout, audit.who(options.who), options.run)
        done.update({"changed": changed or bool(removed), "release": options.release, "removed": removed})
    _report(options, dict(done), f"{options.release} is the last good release")
    return OK


def claim(options: Options, layout: Layout, _: Supervisor) -> int:
    """Take the host for a deploy."""
    with exclusive(layout.lock):
        held = claims.claim(
            layout,
            audit.who(options.who),
            options.run,
            options.release,
            options.seconds,
            take_over=options.take_over,
        )
    result = {"changed": True, "who": held.who, "since": claims.clock(held.since), "until": claims.clock(held.until)}
    _report(options, result, f"{held.who} has this host until {result['until']}")
    return OK


def unclaim(options: Options, layout: Layout, _: Supervisor) -> int:
    """Give the host back."""
    with exclusive(layout.lock):
        was_ours = claims.unclaim(layout, audit.who(options.who), options.run)
    _report(options, {"changed": was_ours}, "the host is free" if was_ours else "there was no claim of yours")
    return OK


def secrets(options: Options, layout: Layout, _: Supervisor) -> int:
    """Write secrets."""
    try:
        wanted = dict(json.load(sys.stdin))
    except (ValueError, TypeError):
        # Without the parser's own words: they would quote a part of the input.
        raise UsageError("Standard input is not a JSON object of names and values. No secret was written.") from None
    changed = secret_files.write(layout.secrets, wanted, check=options.check)
    _report(options, {"changed": bool(changed), "names": changed}, "changed: " + (" ".join(changed) or "none"))
    return OK


@contextmanager
def _alone(options: Options, layout: Layout) -> Iterator[dict[str, Any]]:
    """Hold the fleet while it is changed, and write down what came of it. Looking is allowed at any time."""
    done: dict[str, Any] = {}
    if options.check:
        yield done
        return
    with exclusive(layout.lock):
        begun = time.monotonic()
        try:
            yield done
        except FleetError as error:
            release = done.get("release") or getattr(options, "release", None)
            result = {"release": release, "result": str(error), "exit_code": error.code}
            audit.write(layout.history, audit.who(options.who), options.name, time.monotonic() - begun, result)
            raise
        if done.get("changed"):
            result = {key: value for key, value in done.items() if value not in ([], None, "")} | {"result": "done"}
            audit.write(layout.history, audit.who(options.who), options.name, time.monotonic() - begun, result)


def _current(layout: Layout) -> str:
    release = layout.current_release()
    if not release:
        raise UsageError(f"No release is current ({layout.current} is not there). Run the playbook site.yml first.")
    return release


def _patience(options: Options) -> Patience:
    return Patience(ready=options.ready_timeout, drain=options.drain_timeout)


def _say(text: str) -> None:
    # Progress goes beside the result, so that standard output stays one JSON object.
    print(text, file=sys.stderr, flush=True)


def _report(options: Options, result: dict[str, Any], text: str) -> None:
    print(json.dumps(result) if options.json else text)
