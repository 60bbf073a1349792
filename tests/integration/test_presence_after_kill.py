"""What an instance that was killed has said of its people runs out, and those who look at the record are told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.integration.test_rooms import Socket, connect  # noqa: F401  a fixture
from tests.servers import REPOSITORY, AppInstance, Site

# As in brief.py: how long a word holds, and what passes until somebody looks.
HOLDS, SAY = 2, 0.5


def started(site: Site) -> AppInstance:
    return AppInstance(site, app="tests.integration.brief:app", PYTHONPATH=f"{REPOSITORY / 'app'}:{REPOSITORY}")


@pytest.fixture(scope="module")
def survivor(site: Site) -> Iterator[AppInstance]:
    found = started(site)
    yield found
    found.stop()


@pytest.fixture
def mortal(site: Site) -> Iterator[AppInstance]:
    """An instance that the test kills."""
    found = started(site)
    yield found
    found.stop()


def ids(present: list[dict]) -> list[int]:
    return sorted(person["id"] for person in present)


def until_present(socket: Socket, expected: list[int], seconds: float = 10) -> None:
    """Wait for the word that these are there, and no others."""
    deadline = time.monotonic() + seconds
    while (found := sorted(socket.present())) != sorted(expected):
        assert time.monotonic() < deadline, f"{found} are said to be there instead of {expected}"


def test_people_of_an_instance_that_was_killed_are_not_shown_for_longer_than_its_word_holds(
    mara,
    jonas,
    connect,  # noqa: F811
    survivor,
    mortal,
):
    task = f"task:{mara.create_task()['id']}"
    watcher = connect(mara.at(survivor))
    watcher.ask("join", task)
    connect(jonas.at(mortal)).ask("join", task)
    until_present(watcher, [mara.user_id, jonas.user_id])
    # Whoever lives says so again and again: nobody is told, and nobody goes, while a word would have run out.
    time.sleep(HOLDS + 2 * SAY)
    assert not [name for name, *_ in list(watcher.heard.queue) if name == "presence"]
    newcomer = connect(mara.at(survivor))
    assert ids(newcomer.ask("join", task)["present"]) == sorted([mara.user_id, jonas.user_id])
    killed = time.monotonic()
    mortal.kill()
    until_present(watcher, [mara.user_id])
    assert time.monotonic() - killed < HOLDS + 2 * SAY + 1
    assert ids(connect(mara.at(survivor)).ask("join", task)["present"]) == [mara.user_id]


def test_somebody_whose_instance_was_killed_and_who_came_back_elsewhere_stays(
    mara,
    jonas,
    connect,  # noqa: F811
    survivor,
    mortal,
):
    """The old word runs out, and not the new one: those who look see no coming and going."""
    task = f"task:{mara.create_task()['id']}"
    watcher = connect(mara.at(survivor))
    watcher.ask("join", task)
    connect(jonas.at(mortal)).ask("join", task)
    both = [mara.user_id, jonas.user_id]
    until_present(watcher, both)
    mortal.kill()
    connect(jonas.at(survivor)).ask("join", task)
    time.sleep(HOLDS + 3 * SAY)
    told = [ids(data["present"]) for name, data in list(watcher.heard.queue) if name == "presence"]
    assert told
    assert all(present == sorted(both) for present in told)
