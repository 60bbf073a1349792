"""Run a playbook: its output in a log, its present task on the terminal, one line for each finished role."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from control.progress import Failure, Step, say, step, tail
from control.shell import attempt, run
from control.site import ROOT, Site
from control.tools import environment, tool

# A site may run on this very machine, as that of ./hecto up does: who works on it comes before who changes it.
POLITELY = ("nice", "--adjustment=10")

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:(?P<role>[a-z_]+) : )?(?P<task>.*)\] \**$")
_ERROR_STARTS = ("fatal:", "[ERROR]", "ERROR!", "failed:")
_PLAY = re.compile(r"^PLAY \[(?P<name>.*)\] \**$")
_BATCH = "hecto : Batch | "
_RECAP = re.compile(r"^\S+\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=")


def run_playbook(
    playbook: str, arguments: Sequence[str], site: Site, variables: Mapping[str, str] | None = None
) -> int:
    """Run a playbook of this project on a site and return how many tasks changed something."""
    log = site.log / f"{Path(playbook).stem}.log"
    log.unlink(missing_ok=True)
    env = {**environment(), "HECTO_NAME": site.name, "ANSIBLE_NOCOLOR": "1", **(variables or {})}
    # A proxy of this machine has nothing to do with hosts, and Ansible would take its language from the terminal.
    env |= {"LC_ALL": "C.UTF-8"}
    with step(f"Playbook {playbook}") as current:
        # A roll is nearly all one role: its plays say more.
        follower = Follower(current, by_play=playbook != "site.yml")
        try:
            run(
                [*POLITELY, tool("ansible-playbook"), "-i", site.inventory, *arguments, ROOT / "playbooks" / playbook],
                log=log,
                env=env,
                cwd=ROOT,
                watch=follower.see,
            )
        except Failure as failure:
            raise Failure(
                f"playbook {playbook} failed in task '{follower.failed or follower.task}'",
                log=log,
                tail=_last_word(log) or _error(log) or failure.tail,
                advice="see the message above; then run the same command again, it goes on where it stopped",
            ) from None
        current.title += f": {follower.changed} changed"
    return follower.changed


def plans(inventory: Path, site: Site) -> dict[str, str]:
    """The computed plan of every host of an inventory; no host is asked."""
    env = {**environment(), "HECTO_NAME": site.name, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    command: list[str | Path] = [tool("ansible-playbook"), "-i", inventory, ROOT / "playbooks" / "plan.yml"]
    done = attempt(command, env=env)
    try:
        results = json.loads(done.stdout[done.stdout.index("{") :])["plays"][-1]["tasks"][-1]["hosts"]
    except (ValueError, LookupError):
        raise Failure(
            f"the plan of {inventory} cannot be computed", tail=(done.stderr or done.stdout).strip()
        ) from None
    refused = {name: str(result["msg"]) for name, result in results.items() if result.get("failed")}
    if refused:
        lines = "\n".join(f"{name}: {message}" for name, message in refused.items())
        raise Failure(f"the plan of {inventory} does not work out", tail=lines)
    return {name: str(result["msg"]) for name, result in results.items()}


class Follower:
    """Follows the output of ansible-playbook: says which part has ended, a role or a play, and each batch of a roll."""

    def __init__(self, current: Step, *, by_play: bool = False) -> None:
        self.task = "(none yet)"
        self.failed = ""
        self.changed = 0
        self._step = current
        self._by_play = by_play
        self._part = ""
        self._since = time.monotonic()
        self._batch = ""
        self._batch_since = 0.0

    def see(self, line: str) -> None:
        """Take note of one line of output."""
        if found := _PLAY.match(line):
            self._finish_batch()
            if self._by_play and found["name"] != self._part:
                self._finish(found["name"])
        elif found := _TASK.match(line):
            role = found["role"] or ""
            self.task = f"{role} : {found['task']}" if role else found["task"]
            self._step.note(self.task)
            self._finish_batch()
            if not self._by_play and role != self._part.removeprefix("role "):
                self._finish(f"role {role}" if role else "")
            if self.task.startswith(_BATCH):
                self._batch, self._batch_since = self.task.removeprefix(_BATCH), time.monotonic()
        elif line.startswith(_ERROR_STARTS):
            self._finish_batch("FAIL")
            self.failed = self.failed or self.task  # handlers still run after it
        elif found := _RECAP.match(line):
            self._finish_batch()
            self._finish("")
            self.changed += int(found["changed"])

    def _finish(self, following: str) -> None:
        now = time.monotonic()
        if self._part:
            self._line(self._part, now - self._since)
        self._part, self._since = following, now

    def _finish_batch(self, mark: str = "") -> None:
        if self._batch:
            self._line(f"batch {self._batch}", time.monotonic() - self._batch_since, mark)
        self._batch = ""

    def _line(self, text: str, seconds: float, mark: str = "") -> None:
        clear = "\r\033[K" if os.isatty(2) else ""
        say(f"{clear}  {mark:<4}   {text:<56} {seconds:6.1f} s")


def _last_word(log: Path) -> str:
    """What a playbook says by itself, of wrong values or when it has put things right; empty otherwise."""
    _, _, failure = log.read_text(errors="replace").rpartition("[ERROR]: Task failed: ")
    words = failure.removeprefix("Action failed: ")
    return re.split(r"\n(?:Origin:|fatal:)", words)[0].strip() if words != failure else ""


def _error(log: Path) -> str:
    """The first fatal message of a run: what follows it is only its consequence."""
    lines = log.read_text(errors="replace").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_ERROR_STARTS)]
    if not starts:
        return tail(log)
    start = starts[0]
    return "\n".join(line for line in lines[start : start + 25] if line.strip())
