"""What each command of hecto-fleet does with its options, and what it prints."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hecto.fleet import apply as applying
from hecto.fleet import audit, deploys, releases, snapshot, table, wait
from hecto.fleet import claim as claims
from hecto.fleet import roll as rolling
from hecto.fleet import secrets as secret_files
from hecto.fleet import state as states
from hecto.fleet.errors import INTERRUPTED, LOCKED, NOT_READY, OK, USAGE, FleetError, NotReadyError, UsageError
from hecto.fleet.host import Host, Patience
from hecto.fleet.layout import Layout
from hecto.fleet.lock import exclusive
from hecto.fleet.plan import Order
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.words import describe, spell

Options = argparse.Namespace


def status(options: Options, layout: Layout, supervisor: Supervisor) -> int:
    """Show every instance, and what a roll or a deploy is at."""
    while True:
        now, known = snapshot.take(layout, supervisor), deploys.look(layout)
        if options.watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        _report(options, now.as_json() | known.as_json(), "\n".join([table.render(now), *known.lines()]))
        if not options.watch:
            return OK if now.ready else NOT_READY
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            return OK


def apply(options: Options, layout: Layout, supervisor: Supervisor) -> int:
    """Bring the fleet to its size."""
    release = options.release or _current(layout)
    host = _host(options, layout, supervisor)
    with _alone(options, layout) as done:
        if options.who and not options.check:
            claims.require(states.load(layout.fleet_state), options.who, options.run)
        plan = applying.apply(host, options.instances, release, check=options.check)
        done.update(release=release, instances=options.instances, **plan.as_json())
    would = "would " if options.check else ""
    parts = [
        f"{would}{verb} {spell(numbers)}"
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
    order = Order(release, audit.who(options.who), options.run, options.all, options.instances, options.batch)
    with _alone(options, layout) as done:
        rolled = rolling.roll(_host(options, layout, supervisor), order, check=options.check)
        done.update(rolled.as_json())
    if not rolled.batches:
        text = "no roll is due, nothing to do"
    elif options.check:
        text = f"would move to {release}, one batch after the other: " + ", ".join(map(spell, rolled.batches))
    else:
        text = f"moved {spell(rolled.moved)} to {release}"
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
    """Remember a release as good, now that every wanted instance runs it."""
    releases.require(layout, options.release)
    host = _host(options, layout, supervisor)
    who = audit.who(options.who)
    with _alone(options, layout) as done:
        state = states.load(layout.fleet_state)
        if not options.check:
            claims.require(state, who, options.run)
        wanted = supervisor.units().wanted
        if not wanted:
            raise NotReadyError("hecto.target lists no instance, so nothing shows that a release is good.")
        if late := wait.until_ready(host, wanted, options.release, fresh=False):
            raise NotReadyError(
                f"Not every instance runs {options.release}: {describe(late)}. It is not remembered as good, and the "
                f"others serve. Run hecto-fleet roll --release {options.release}, then this again; or roll back."
            )
        is_news = state.remember(options.release)
        removed = releases.prune(layout, state.releases, options.keep, check=options.check)
        if not options.check:
            state.claim = None if state.claim and claims.is_of(state.claim, who, options.run) else state.claim
            states.save(layout.fleet_state, state)
        result = {"changed": is_news or bool(removed), "release": options.release, "removed": removed}
        done.update(result)
    _report(options, result, f"{options.release} is the last good release")
    return OK


def claim(options: Options, layout: Layout, _: Supervisor) -> int:
    """Take the host for a deploy, or for what --what says."""
    with _alone(options, layout) as done:
        taken, before = claims.take(
            layout,
            audit.who(options.who),
            options.run,
            options.release,
            options.seconds,
            what=options.what,
            over=options.take_over,
        )
        if before:
            done.update(changed=True, release=options.release, taken_from=before.who)
    result = {"changed": True, **deploys.claim_as_json(taken), "taken_from": before.who if before else None}
    taken_from = f", taken over from {before.who}" if before else ""
    _report(options, result, f"{taken.who} has this host until {result['until']}{taken_from}")
    return OK


def unclaim(options: Options, layout: Layout, _: Supervisor) -> int:
    """Give the host back."""
    with _alone(options, layout) as done:
        given_back = claims.give_back(layout, audit.who(options.who), options.run)
        was_ours = given_back is not None
        if given_back and (options.failed or given_back.what):
            # Of a run that was refused between two commands, and of one that is no deploy, no other line tells.
            result = options.failed.splitlines()[0] if options.failed else "done"
            done.update(changed=True, release=given_back.release, result=result)
    _report(options, {"changed": was_ours}, "the host is free" if was_ours else "there was no claim of yours")
    return OK


def history(options: Options, layout: Layout, _: Supervisor) -> int:
    """Show the latest lines of the history, newest last; with --json each is one object on a line of its own."""
    lines = audit.read(layout.history)
    lines = lines[-options.lines :] if options.lines else lines
    for line in lines:
        _report(options, line, table.history_line(line))
    if not lines and not options.json:
        print("Nothing has changed the fleet of this host yet.")
    return OK


def secrets(options: Options, layout: Layout, _: Supervisor) -> int:
    """Write secrets."""
    try:
        wanted = dict(json.load(sys.stdin))
    except (ValueError, TypeError):
        # Without the parser's own words: they would quote a part of the input.
        raise UsageError("Standard input is not a JSON object of names and values. No secret was written.") from None
    begun = time.monotonic()
    changed = secret_files.write(layout.secrets, wanted, check=options.check)
    if changed and not options.check:
        _note(options, layout, begun, names=changed, result="done")
    _report(options, {"changed": bool(changed), "names": changed}, "changed: " + (" ".join(changed) or "none"))
    return OK


@contextmanager
def _alone(options: Options, layout: Layout) -> Iterator[dict[str, Any]]:
    """Hold the fleet while it is changed, and write down what came of it. Looking is allowed at any time."""
    done: dict[str, Any] = {}
    if getattr(options, "check", False):
        yield done
        return
    with exclusive(layout.lock):
        audit.turn(layout.history)
        begun = time.monotonic()
        goal = {"release": release} if (release := getattr(options, "release", None)) else {}
        try:
            yield done
        except FleetError as error:
            # What was refused did nothing.
            if error.code not in (USAGE, LOCKED):
                _note(options, layout, begun, **goal, result=str(error).splitlines()[0], exit_code=error.code)
            raise
        except KeyboardInterrupt:
            _note(options, layout, begun, **goal, result="interrupted", exit_code=INTERRUPTED)
            raise
        if done.pop("changed", False):
            said = {name: value for name, value in done.items() if value not in ([], None, "", False)}
            _note(options, layout, begun, **{"result": "done", **said})


def _note(options: Options, layout: Layout, begun: float, **result: Any) -> None:
    what = {"what": options.what} if options.what else {}
    audit.write(layout.history, audit.who(options.who), options.name, time.monotonic() - begun, what | result)


def _current(layout: Layout) -> str:
    release = layout.current_release()
    if not release:
        raise UsageError(f"No release is current ({layout.current} is not there). Run the playbook site.yml first.")
    return release


def _host(options: Options, layout: Layout, supervisor: Supervisor) -> Host:
    patience = Patience(ready=options.ready_timeout, drain=options.drain_timeout, canary=options.canary_seconds)
    return Host(layout, supervisor, patience, say)


def say(text: str) -> None:
    """Tell how far a run is, beside the result, so that standard output stays one JSON object."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # Whoever started this has gone away. That must not stop it half-way.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  until the process ends


def _report(options: Options, result: dict[str, Any], text: str) -> None:
    try:
        print(json.dumps(result) if options.json else text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  until the process ends
