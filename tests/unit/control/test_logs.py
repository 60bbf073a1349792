"""The journal in short lines, for people."""

from __future__ import annotations

import json

import pytest

from control.logs import journal_command, shortened
from control.progress import Failure

ID = "0af7651916cd43dd8448eb211c80319c"


def entry(message: object, who: str = "hecto-2", priority: str = "6") -> str:
    return json.dumps(
        {
            "__REALTIME_TIMESTAMP": "1700000000123456",
            "SYSLOG_IDENTIFIER": who,
            "PRIORITY": priority,
            "MESSAGE": message,
        }
    )


def short(message: object, who: str = "hecto-2", priority: str = "6") -> str:
    """The line without its time."""
    (line,) = shortened([entry(message, who, priority)])
    return line[len("2023-11-14 22:13:20.123 ") :]


def test_a_line_of_an_instance_says_first_what_happened() -> None:
    said = {"level": "warning", "logger": "x", "message": "a request was slow", "request_id": ID, "milliseconds": 1200}
    line = short(json.dumps({**said, "instance": "instance-2", "release": "1a"}), priority="4")
    assert line == f"hecto-2    warning: a request was slow (request_id={ID} milliseconds=1200)\n"


def test_an_exception_is_below_its_message() -> None:
    said = {"message": "request GET / failed", "exception": "Traceback\nValueError: no"}
    assert short(json.dumps(said), priority="3").splitlines()[1:] == ["    Traceback", "    ValueError: no"]


def test_a_request_is_one_short_line() -> None:
    said = {
        "request_id": ID, "user": "3", "method": "GET", "path": "/tasks", "status": 200, "request_time": 0.012,
        "upstream": "unix:/run/hecto/1.sock, unix:/run/hecto/2.sock",
    }  # fmt: skip
    expected = f"nginx      200 GET /tasks in 0.012 s from instance 1, 2 by user 3 [{ID}]\n"
    assert short(json.dumps(said), "nginx") == expected
    assert " by user " not in short(json.dumps({**said, "user": ""}), "nginx")


@pytest.mark.parametrize(
    ("message", "shown"),
    [("Started hecto@2.service", "Started"), ("7", "7"), (list(b"caf\xff"), "caf\ufffd"), (None, "")],
)
def test_what_is_no_json_is_shown_as_it_is(message: object, shown: str) -> None:
    assert shown in short(message, "systemd")


def test_a_request_is_looked_for_wherever_it_may_have_been() -> None:
    words = journal_command(request=ID)
    assert f"--grep={ID}" in words
    assert "--unit=nginx.service" in words
    assert "--unit=postgresql@*.service" in words
    assert journal_command(instance=3)[5:] == ["--unit=hecto@3.service", "--lines=100"]


@pytest.mark.parametrize("request_id", ["short", "a b c d e f g", "x'; rm -rf /", ".*"])
def test_what_is_no_id_is_refused(request_id: str) -> None:
    with pytest.raises(Failure, match="no id of a request"):
        journal_command(request=request_id)
