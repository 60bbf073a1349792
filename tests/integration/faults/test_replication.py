"""A commit that no standby has got yet is not told to anybody as done, whoever cut its wait short."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from tests.servers import wait_until

NOBODY = "a standby that is not there"


@pytest.fixture
def waiting(postgres):
    """Commits wait for a standby; call it to let them go on."""

    def choose(names: str) -> None:
        postgres.sql("postgres", f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        postgres.sql("postgres", "SELECT pg_reload_conf()")
        wait_until(lambda: postgres.sql("postgres", "SHOW synchronous_standby_names").strip() == names, "the setting")

    choose(f'"{NOBODY}"')
    yield lambda: choose("")
    choose("")


def held(postgres) -> list[str]:
    """The backends of the application that wait for a standby."""
    return postgres.sql(
        "postgres", "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = 'hecto_app'"
    ).split()


def cut_short(postgres, how: str = "pg_cancel_backend") -> None:
    """End the wait of a commit: it stands here, and the server says to its client that it is done."""
    wait_until(lambda: bool(held(postgres)), "a commit that waits")
    for backend in held(postgres):
        postgres.sql("postgres", f"SELECT {how}({backend})")


class Writing(threading.Thread):
    """A task that somebody makes meanwhile."""

    def __init__(self, user, title: str, key: str) -> None:
        super().__init__()
        self.user, self.title, self.key = user, title, key
        self.answer = None

    def run(self) -> None:
        self.answer = self.user.request(
            "POST", "/api/tasks", json={"title": self.title}, headers={"Idempotency-Key": self.key}, timeout=60
        )


def made(postgres, title: str) -> str:
    return postgres.sql("faults", f"SELECT count(*) FROM task WHERE title = '{title}'").strip()


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_whose_wait_was_cut_short_is_answered_when_a_standby_has_it(postgres, user, waiting, how):
    title = f"waits {how}"
    writing = Writing(user, title, uuid.uuid4().hex)
    writing.start()
    cut_short(postgres, how)
    assert made(postgres, title) == "1", "it stands on this server"
    wait_until(lambda: bool(held(postgres)), "the wait of whoever settles it")
    assert writing.is_alive(), "it was told as done before any standby had it"
    waiting()
    writing.join(30)
    assert writing.answer.status_code == 201
    assert made(postgres, title) == "1"


def test_a_write_that_cannot_be_settled_is_told_as_unknown(postgres, user, waiting):
    key = uuid.uuid4().hex
    writing = Writing(user, "never settled", key)
    writing.start()
    deadline = time.monotonic() + 60
    while writing.is_alive() and time.monotonic() < deadline:
        for backend in held(postgres):
            postgres.sql("postgres", f"SELECT pg_cancel_backend({backend})")
        time.sleep(0.05)
    writing.join(1)
    assert writing.answer.status_code == 504
    assert "not known" in writing.answer.json()["title"]
    waiting()
    again = Writing(user, "never settled", key)
    again.start()
    again.join(30)
    assert again.answer.status_code == 201
    assert made(postgres, "never settled") == "1"
