"""What the playbooks conclude from the answers of hecto-fleet and hecto-admin."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NOBODY = "none"


def schemas(releases: Iterable[str]) -> dict[str, str]:
    """Which schema each release knows, from the lines of their release.json; an old one does not say it."""
    return {one["id"]: str(one.get("schema", "")) for one in map(json.loads, releases)}


def oldest_schema(hosts: Iterable[tuple[str, Iterable[str]]]) -> str:
    """The schema that the oldest release knows which runs anywhere: pairs of a host's status and its releases.

    What an instance is pinned to counts as well: it would run that after a crash.
    """
    found = []
    for status, releases in hosts:
        known = schemas(releases)
        instances = json.loads(status)["instances"]
        running = {one[key] for one in instances for key in ("release", "pin") if one[key]}
        found += [known.get(release, "") for release in running]
    return min(found, default=NOBODY)


def answer(result: Mapping[str, Any]) -> dict[str, Any]:
    """The last JSON object that a command printed; empty when it printed none."""
    for line in reversed(str(result.get("stdout", "")).splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def said(result: Mapping[str, Any]) -> str:
    """Why a task failed, in the words of whoever knows best: the tool, what it printed, or Ansible."""
    if error := answer(result).get("error"):
        return str(error)
    printed = str(result.get("stderr") or result.get("stdout") or "").strip()
    return printed or str(result.get("msg", "no reason was given"))


def previous(status: Mapping[str, Any]) -> str:
    """The release to go back to: the last good one, or the one before where that is current; empty for none."""
    good = (status.get("last_good"), status.get("good_before"))
    return next((str(release) for release in good if release and release != status["release"]), "")


def refusal(goal: str, releases: Iterable[str], schema: Mapping[str, Any]) -> str:
    """Why a host cannot go back to a release; empty when it can. `schema` is what hecto-admin says."""
    kept = schemas(releases)
    choice = f"There are {', '.join(sorted(kept))}: name one with -e hecto_release=ID"
    if not goal:
        return f"No release ran well before the current one, so there is none to go back to by default. {choice}."
    if goal not in kept:
        return f"Release {goal} is not here any more. {choice}, or deploy the sources of the one that you mean."
    floor = schema.get("floor")
    if floor and kept[goal] < floor:
        return (
            f"The schema is ahead of release {goal}, which knows {kept[goal] or 'only an older one'}: what releases "
            f"before {floor} use has been taken away, and they would fail. Choose a later one, or deploy a mended one."
        )
    return ""


def this_run(_: str) -> str:
    """A name for this run of ansible-playbook: it tells whether the process still is at work on this machine."""
    number = os.getpid()
    # Ansible works in processes of its own, of which the first one counts.
    while (parent := _stat(number)[0]) and "ansible" in _command(parent):
        number = parent
    return f"{socket.gethostname()}/{number}/{_stat(number)[1]}"


def is_dead(claim: Mapping[str, Any] | None, who: str) -> bool:
    """Whether a claim is of this person on this machine, and its run has ended without an end: one may go on."""
    machine, _, process = str((claim or {}).get("run", "")).partition("/")
    if not claim or claim.get("who") != who or machine != socket.gethostname():
        return False
    number, _, started = process.partition("/")
    return _stat(int(number))[1] != started


def pool_is_due(roll_due: Iterable[Mapping[str, Any]]) -> bool:
    """Whether instances have another number of connections than they should, and run the right release."""
    reasons = " ".join(reason for one in roll_due for reason in one["reasons"])
    return "HECTO_DATABASE_POOL" in reasons and "release " not in reasons


def _stat(number: int) -> tuple[int, str]:
    """The parent of a process and when it started; nothing when it is gone."""
    try:
        # The name in parentheses may contain anything.
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0, ""
    return int(fields[1]), fields[19]


def _command(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except OSError:
        return ""


def spell(numbers: Iterable[int]) -> str:
    """Instances for a person: instance 5, instances 1-4 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    what = "instance" if len(runs) == len(runs[0]) == 1 else "instances"
    return " ".join([what, *("-".join(map(str, run)) for run in runs)])


class FilterModule:
    """Ansible's entry."""

    def filters(self) -> dict[str, Any]:
        """Name the filters."""
        return {
            "hecto_schemas": schemas,
            "hecto_oldest_schema": oldest_schema,
            "hecto_answer": answer,
            "hecto_said": said,
            "hecto_previous": previous,
            "hecto_refusal": refusal,
            "hecto_this_run": this_run,
            "hecto_is_dead": is_dead,
            "hecto_pool_is_due": pool_is_due,
            "hecto_spell": spell,
        }
