"""The journal of a host for people: what nginx, the instances and PostgreSQL say, in short lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from control.progress import Failure

# What journalctl has to give of each line, beside its time.
FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,PRIORITY"
# Whoever may have to say something of a request.
SERVICES = (
    "nginx.service",
    "hecto-nginx-log.service",
    "hecto@*.service",
    "postgresql@*.service",
    "patroni.service",
    "redis-server.service",
)
# Said of every line, or shown elsewhere in it.
KNOWN = {"time", "level", "logger", "message", "instance", "release", "exception"}
GRAVITY = {"0": "emergency", "1": "alert", "2": "critical", "3": "error", "4": "warning"}


def journal_command(
    *, instance: int | None = None, request: str = "", lines: int = 100, follow: bool = False
) -> list[str]:
    """The command that reads the journal on a host: of the instances, or all that was said of one request."""
    words = ["journalctl", "--no-pager", "--quiet", "--output=json", f"--output-fields={FIELDS}"]
    units = SERVICES if request else (f"hecto@{instance or '*'}.service",)
    words += [f"--unit={unit}" for unit in units]
    if request:
        if not re.fullmatch(r"[A-Za-z0-9._~-]{8,64}", request):
            raise Failure(
                f"'{request}' is no id of a request",
                advice="take it from the error that somebody was shown, or from the header X-Request-ID of the answer",
            )
        words.append(f"--grep={re.escape(request)}")
    words += [f"--lines={lines}"]
    return [*words, *(["--follow"] if follow else [])]


def show(command: Sequence[str], *, raw: bool) -> int:
    """Run a command that prints the journal as JSON, and print it in short form, or raw; returns its exit code."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        entries = process.stdout or ()
        for line in entries if raw else shortened(entries):
            sys.stdout.write(line)
            sys.stdout.flush()
        code = process.wait()
    # journalctl's way to say that nothing was found.
    return 0 if code == 1 else code


def shortened(entries: Iterable[str]) -> Iterator[str]:
    """Short lines for entries of `journalctl --output=json`."""
    for text in entries:
        entry = json.loads(text)
        moment = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6).astimezone()
        gravity = GRAVITY.get(entry.get("PRIORITY", "6"), "")
        said = _said(_text(entry.get("MESSAGE")))
        who = entry.get("SYSLOG_IDENTIFIER", "")
        yield f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {who:<10} {gravity + ': ' if gravity else ''}{said}\n"


def _text(message: Any) -> str:
    """journalctl gives what is no clean text as a list of bytes, and what is too long as nothing."""
    if isinstance(message, list):
        return bytes(message).decode(errors="replace")
    return message or ""


def _said(message: str) -> str:
    try:
        line = json.loads(message)
    except ValueError:
        return message
    if not isinstance(line, dict):
        return message
    return _request(line) if "upstream" in line else _event(line)


def _request(line: dict[str, Any]) -> str:
    """nginx's line of a request."""
    who = f" by user {line['user']}" if line.get("user") else ""
    upstream = line["upstream"].replace("unix:/run/hecto/", "").replace(".sock", "")
    tried = f" from instance {upstream}" if upstream else ""
    return (
        f"{line['status']} {line['method']} {line['path']} in {line['request_time']} s{tried}{who}"
        f" [{line['request_id']}]"
    )


def _event(line: dict[str, Any]) -> str:
    """A line of an instance: what it says first, then what it adds."""
    more = " ".join(f"{name}={value}" for name, value in line.items() if name not in KNOWN)
    lines = [f"{line.get('message', '')}{f' ({more})' if more else ''}"]
    return "\n    ".join(lines + str(line.get("exception", "")).splitlines())
