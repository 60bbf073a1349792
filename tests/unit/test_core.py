"""The parts of the core that need no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hecto.core import clock, security
from hecto.core.db import beginning, containing
from hecto.core.errors import Unauthenticated
from hecto.core.gate import LocalLimiter
from hecto.core.input import pointer
from hecto.core.permissions import Actor, Registry


def test_a_token_ends_when_its_time_is_over(monkeypatch):
    tokens = security.Tokens("k" * 64)
    token = tokens.issue(5, "session")
    assert tokens.check(token).user_id == 5
    later = clock.now() + security.ACCESS_TOKEN_LIFE + timedelta(seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(Unauthenticated):
        tokens.check(token)


def test_keys_of_another_site_do_not_fit():
    with pytest.raises(Unauthenticated):
        security.Tokens("a" * 64).check(security.Tokens("b" * 64).issue(1, "x"))


def test_remembered_tokens_are_bounded(monkeypatch):
    monkeypatch.setattr(security.Tokens, "REMEMBERED", 3)
    tokens = security.Tokens("k" * 64)
    for number in range(10):
        tokens.check(tokens.issue(number, "x"))
    assert len(tokens._checked) == 3


def test_passwords():
    hashed = security.hash_password("correct horse")
    assert hashed.startswith("$argon2id$")
    assert security.verify_password(hashed, "correct horse")
    assert not security.verify_password(hashed, "wrong horse")
    assert not security.verify_password(None, "correct horse")


def test_the_csrf_token_belongs_to_a_session():
    tokens = security.Tokens("k" * 64)
    assert tokens.csrf("one") == tokens.csrf("one") != tokens.csrf("two")


def test_the_local_limiter_starts_anew_after_its_window(monkeypatch):
    moment = 100.0
    monkeypatch.setattr("time.monotonic", lambda: moment)
    limiter = LocalLimiter()
    assert [limiter.count("a")[0] for _ in range(3)] == [1, 2, 3]
    assert limiter.count("b")[0] == 1
    moment = 161.0
    assert limiter.count("a")[0] == 1


def test_the_local_limiter_keeps_a_bounded_number(monkeypatch):
    monkeypatch.setattr(LocalLimiter, "MOST", 100)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    limiter = LocalLimiter()
    for number in range(1000):
        limiter.count(str(number))
    assert len(limiter._counts) == 100
    assert limiter.count("999")[0] == 2, "the newest are kept"
    assert limiter.count("0")[0] == 1


def test_a_token_of_a_host_whose_clock_is_ahead_is_good(monkeypatch):
    tokens = security.Tokens("k" * 64)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=1))
    token = tokens.issue(5, "session")
    monkeypatch.undo()
    assert tokens.check(token).user_id == 5


def test_a_route_with_an_unknown_permission_is_refused():
    registry = Registry()
    registry.declare({"tasks.read": "See tasks"})
    registry.check("tasks.read", "GET /")
    with pytest.raises(LookupError, match=r"GET /x requires the permission 'tasks\.raed'"):
        registry.check("tasks.raed", "GET /x")


def test_permissions():
    member = Actor(1, "M", "m@example.com", frozenset({"tasks.read"}), "s")
    assert member.may("tasks.read")
    assert not member.may("tasks.write")
    assert Actor(2, "A", "a@example.com", frozenset({"*"}), "s").may("anything")


@pytest.mark.parametrize(("location", "expected"), [((), ""), (("a", 0, "b/c~d"), "/a/0/b~1c~0d")])
def test_pointers(location, expected):
    assert pointer(location) == expected


def test_wildcards_are_literal():
    assert containing("50%_\\") == r"%50\%\_\\%"
    assert beginning("50%_\\") == r"50\%\_\\%"


def test_now_has_a_time_zone():
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
