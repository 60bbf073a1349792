"""hecto-fleet top: what is drawn in how much room, of one host and of several."""

from __future__ import annotations

import copy

import pytest

from hecto.fleet.top import draw, several
from tests.unit.fleet.snapshots import GB, fleet, instance, session, snapshot


def lines(now, width=80, height=24):
    return [draw.paint(line, width, colour=False) for line in draw.frame(now, width, height)]


def test_a_hundred_instances_fit_into_the_smallest_terminal_and_fill_a_large_one():
    rows = [instance(n) for n in range(1, 101)]
    now = snapshot(fleet=fleet([*rows[:40], instance(41, state="hung", cpu=0.0, problem="x"), *rows[41:]]))
    now["problems"] = [{"what": f"trouble {n}", "means": "something " * 20} for n in range(9)]
    waiting = [
        session("instance-2", 3.0, text="UPDATE " + "x" * 300)
        | {"blocked_by": [{"pid": 1, "who": "psql", "state": "idle"}]}
    ] * 5
    slow = [{"id": "1", "calls": 10, "mean": 0.2, "total": 2.0, "text": "SELECT\n\x1b[2J" + "y" * 300}] * 3
    now["postgres"] |= {
        "waiting": waiting,
        "slow": slow,
        "transaction": session("psql", 3.0),
        "query": session("psql", 3.0),
    }
    small = lines(now)
    assert len(small) <= 24
    assert max(map(len, small)) <= 80
    assert small[1].startswith(" ! trouble 0: something")
    assert "and 6 more problems" in small[4]
    # The one that needs somebody, then who is busiest.
    shown = [line.split()[0] for line in small if line.startswith(" instance-")]
    assert shown[:2] == ["instance-41", "instance-100"]
    assert any("keys" in line and "append-only file" in line for line in small)
    assert "\x1b" not in "".join(small)
    large = lines(now, 200, 140)
    assert sum(line.startswith(" instance-") for line in large) == 100


def test_every_column_of_an_instance_fits_at_its_largest():
    row = instance(
        999, state="draining", requests=99_999.0, in_flight=999, websockets=2000, cpu=1.0, memory=1.5 * GB, restarts=999
    )
    line = next(line for line in lines(snapshot(fleet=fleet([row])), 200) if line.startswith(" instance-999"))
    assert line.split() == [
        *(
            "instance-999",
            "draining",
            "aaaaaaaaaaaa",
            "23h",
            "53m",
            "99999",
            "0",
            "999",
            "2000",
            "100%",
            "1.5",
            "GB",
            "999",
        )
    ]
    assert len(line) <= 80


def test_what_is_not_on_this_host_or_away_is_said():
    text = "\n".join(lines(snapshot(postgres=None, redis=None, fleet=None, nginx=None)))
    assert text.count("not on this host") == 2
    assert "no instances on this host" in text
    down = {"state": "down", "why": "Connection refused"}
    assert "\n".join(lines(snapshot(postgres=down, redis=down))).count("down: Connection refused") == 2


def test_colours_are_written_only_when_they_are_wanted():
    line = [draw.Span("bad", draw.WRONG), draw.Span(" news")]
    assert draw.paint(line, 80, colour=False) == "bad news"
    assert draw.paint(line, 5, colour=True) == "\x1b[1;31mbad\x1b[0m n"


def test_hosts_are_put_side_by_side_with_sums_and_the_worst_first():
    one, two = snapshot(), snapshot(host="two", redis=None)
    shared = {"what": "PostgreSQL does not answer", "means": "x"}
    one["problems"], two["problems"] = [shared], [shared, {"what": "/ is full", "means": "y"}]
    replica = copy.deepcopy(one["postgres"]) | {"replica": True, "behind": 0.0}
    together = several.together({"one": one, "two": two | {"postgres": replica}}, {"three": "Connection refused"})
    assert [host["name"] for host in together["hosts"]] == ["two", "one"]
    assert (together["fleet"]["ready"], together["fleet"]["requests"], together["fleet"]["websockets"]) == (4, 6.0, 40)
    assert [(one["host"], one["what"]) for one in together["problems"]] == [
        ("three", "says nothing: Connection refused"),
        ("two, one", "PostgreSQL does not answer"),
        ("two", "/ is full"),
    ]
    text = "\n".join(draw.paint(line, 120, colour=False) for line in several.frame(together, 40))
    assert "2 of 3 hosts" in text
    # Of the two servers the primary is shown in full.
    assert "17.2 primary" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"role": "primary", "link": None}, "primary"),
        ({"role": "replica", "link": "up"}, "replica"),
        ({"role": "replica", "link": "down"}, "cut off"),
        ({"state": "down", "why": "Connection refused"}, "down"),
        # Elsewhere: what it is there is no news of this host.
        ({"role": "primary", "here": False}, "-"),
    ],
)
def test_of_a_host_is_told_what_its_own_redis_is(change, expected):
    one = snapshot()
    one["redis"] |= change
    text = "\n".join(
        draw.paint(line, 120, colour=False) for line in several.frame(several.together({"one": one}, {}), 40)
    )
    assert next(line for line in text.splitlines() if line.startswith(" one ")).endswith(f" {expected}")
