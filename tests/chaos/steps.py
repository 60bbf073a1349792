"""The parts of a campaign: each does one thing to the site under load, as a phase with figures of its own."""

from __future__ import annotations

from tests.chaos import faults
from tests.chaos.campaign import Campaign
from tests.chaos.faults import KILLS, Fault
from tests.chaos.history import now
from tests.chaos.variants import Built

# A fault comes while the site still heals from the one before, now and then; mostly it has just healed.
PAUSE = (3.0, 7.0)
# Time for what a fault has stirred up to show in the requests that follow.
AFTERWARDS = 3.0
# The names of the phases that rolls are judged by. A deploy also brings files and looks around, when nothing is away;
# so the time in which instances are moved is measured by itself, too.
THERE, BACK, MOVING = "roll to the next release", "roll back", ", while instances move"


def quiet(campaign: Campaign, seconds: float, name: str = "before") -> None:
    """Nothing happens: what the others are compared with."""
    with campaign.phase(name):
        campaign.rest(seconds)


def roll_there(campaign: Campaign, built: Built) -> float:
    """A rolling deploy of another release; returns the seconds of the roll itself."""
    with campaign.phase(THERE):
        begun = now()
        done = campaign.hecto.deploy(built.command)
        campaign.note(f"deploy of {built.id}", begun, seconds=done.seconds)
    assert done.code == 0, f"the deploy failed with {done.code}:\n{done.output[-3000:]}{done.errors[-1000:]}"
    return _rolled(campaign, built.id, THERE, begun)


def refuse(campaign: Campaign, built: Built) -> None:
    """A deploy of a broken release, which must leave everything as it was."""
    before = set(campaign.host.releases().values())
    with campaign.phase(f"deploy of a release that {built.kind}"):
        begun = now()
        done = campaign.hecto.deploy(built.command)
        campaign.note(f"refused deploy of {built.id}, which {built.kind}", begun, seconds=done.seconds)
    assert done.code != 0, f"a release that {built.kind} was deployed"
    # Not any failure: the playbook has to say that it found the fault and went back.
    assert "back on what it ran before" in done.output, f"the deploy was not refused:\n{done.output[-3000:]}"
    campaign.host.wait_until_ready()
    assert set(campaign.host.releases().values()) == before, "after the refused deploy others run than before"


def roll_back(campaign: Campaign, expected: str) -> float:
    """Back to the release before; returns the seconds of the roll itself."""
    with campaign.phase(BACK):
        begun = now()
        done = campaign.hecto.rollback()
        campaign.note(f"rollback to {expected}", begun, seconds=done.seconds)
    assert done.code == 0, f"the rollback failed with {done.code}:\n{done.output[-3000:]}{done.errors[-1000:]}"
    return _rolled(campaign, expected, BACK, begun)


def scale(campaign: Campaign, *counts: int) -> None:
    """More and fewer instances."""
    for count in counts:
        with campaign.phase(f"scale to {count}"):
            begun = now()
            done = campaign.hecto.scale(count)
            campaign.note(f"scale to {count}", begun, seconds=done.seconds)
            campaign.rest(AFTERWARDS)
        assert done.code == 0, f"scaling failed with {done.code}:\n{done.output[-3000:]}{done.errors[-1000:]}"
        assert len(campaign.host.numbers()) == count


def kills(campaign: Campaign, count: int, pause: tuple[float, float] = PAUSE) -> None:
    """kill -9 of workers, arbiters and units, one after another and every fourth time two at once."""
    numbers, given = campaign.host.numbers(), 0
    with campaign.phase("kill -9"):
        while given < count:
            pair = given % 5 == 3
            chosen = campaign.random.sample(numbers, 2 if pair else 1)
            found = [campaign.random.choice(KILLS)(number) for number in chosen]
            fault: Fault = faults.both(*found) if pair else found[0]
            campaign.strike(fault, kills=len(chosen))
            given += len(chosen)
            campaign.rest(*pause)
    campaign.host.wait_until_ready()


def freeze(campaign: Campaign, count: int = 1) -> None:
    """SIGSTOP of an instance for longer than nginx waits for it, then SIGCONT."""
    with campaign.phase("SIGSTOP of an instance"):
        for number in campaign.random.sample(campaign.host.numbers(), count):
            campaign.strike(faults.freeze(number))
            campaign.rest(AFTERWARDS)
    campaign.host.wait_until_ready()


def kill_the_roller(campaign: Campaign, pause: tuple[float, float] = (0.0, 6.0)) -> None:
    """A rolling restart whose roller dies in the middle, and goes on when it is called again."""
    with campaign.phase("roll whose roller is killed"):
        moment = campaign.random.uniform(*pause)
        campaign.strike(lambda host: faults.kill_roller(host, moment), kills=1)
    campaign.host.wait_until_ready()


def servers(campaign: Campaign) -> None:
    """What is around the instances: Redis, nginx and PostgreSQL, each stopped and started or reloaded."""
    with campaign.phase("restart of Redis"):
        campaign.strike(faults.restart_redis)
        campaign.rest(AFTERWARDS * 2)
    with campaign.phase("reload of nginx"):
        campaign.strike(faults.reload_nginx)
        campaign.rest(AFTERWARDS)
    # Whoever is connected to that worker is cut off: only a client that repeats by its key does not notice.
    with campaign.phase("kill -9 of a worker of nginx", bounded=True):
        campaign.strike(faults.kill_nginx_worker, kills=1)
        campaign.rest(AFTERWARDS)
    with campaign.phase("restart of PostgreSQL", bounded=True):
        campaign.strike(faults.restart_postgres)
        campaign.rest(AFTERWARDS * 3)
    campaign.host.wait_until_ready()


def _rolled(campaign: Campaign, wanted: str, phase: str, since: float) -> float:
    releases = campaign.host.releases()
    assert set(releases.values()) == {wanted}, f"not all run {wanted}: {releases}"
    begin, end = campaign.host.rolled(since)
    campaign.part(phase + MOVING, begin, end)
    return round(end - begin, 1)
