"""Every fault on a cluster of its own, under load, with the table in bench/results.

./hecto bench cluster [--seed S] [--only WORD] [--rounds N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from control.progress import say
from control.site import CLUSTER_HOSTS, CLUSTER_INSTANCES, ROOT, load_site
from tests.chaos.campaign import Size
from tests.chaos.commands import Hecto, Host, finish
from tests.chaos.variants import NEXT, build
from tests.cluster import slow_faults, table
from tests.cluster.faults import (
    Fault,
    cut_power_of,
    freeze_primary,
    freeze_redis,
    kill_instance,
    kill_patroni,
    kill_postmaster,
    kill_redis,
    lose_app_host,
    lose_edge,
    lose_etcd,
    lose_redis,
    partition_primary,
    spare,
    stop_patroni_in_its_tracks,
)
from tests.cluster.trial import Trial

RESULTS = ROOT / "bench" / "results"
# Three hosts, the load and the checks share two cores: little enough that what is slow is slow by the fault.
RATE, CLIENTS, LISTENERS = 15.0, 12, 12
LONGEST = 7200.0
QUIET_SECONDS = 60.0
# What is promised.
RTO_SECONDS = 30.0

FAULTS = (
    Fault("instance killed", kill_instance, unseen=True),
    Fault("app host lost", lose_app_host, unseen=True, prepare=spare),
    Fault("primary killed", kill_postmaster, rto=RTO_SECONDS),
    Fault("primary and Patroni killed", kill_patroni, rto=RTO_SECONDS),
    Fault("primary and Patroni stopped in their tracks", stop_patroni_in_its_tracks),
    Fault("host of the primary frozen", freeze_primary),
    Fault("primary cut off", partition_primary),
    *(Fault(f"power cut of host-{number}", cut_power_of(number)) for number in range(1, CLUSTER_HOSTS + 1)),
    Fault("etcd leader lost", lose_etcd("leader"), unseen=True),
    Fault("etcd follower lost", lose_etcd("follower"), unseen=True),
    Fault("Redis master killed", kill_redis),
    Fault("Redis master lost", lose_redis),
    Fault("Redis master stopped in its tracks", freeze_redis),
    Fault("edge host lost", lose_edge),
)
SWITCHOVER, DEPLOY = "planned switchover", "rolling deploy and a switchover in it"
REMOVE, UPDATE = "app host removed and added", "updates with a restart of every host"
RENEW = "new authority and certificates between the hosts"
DISK, CLOCK = "disk of the database full", "clock of a host an hour ahead"


def main() -> int:
    """Run it, write the table, and say whether every promise was kept."""
    parser = argparse.ArgumentParser(prog="./hecto bench cluster", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of the load")
    parser.add_argument("--only", default="", metavar="WORD", help="only faults with this in their name")
    parser.add_argument("--rounds", type=int, default=1, help="each fault so many times")
    parser.add_argument("--keep", action="store_true", help="leave the site as it is at the end")
    options = parser.parse_args()
    site = load_site(size=CLUSTER_HOSTS)
    directory = site.directory / "chaos" / "long"
    directory.mkdir(parents=True, exist_ok=True)
    hecto = Hecto(site, directory / "site.log")
    hecto.up(CLUSTER_INSTANCES).require()
    site = load_site()
    next_release = build(NEXT, site)
    trial = Trial(site, directory, options.seed, Size(RATE, CLIENTS, 0, LONGEST), listeners=LISTENERS)
    steps = [
        *(partial(trial.suffer, fault) for fault in FAULTS if options.only in fault.name),
        *_slow(trial, next_release, options.only),
    ]
    try:
        trial.begin()
        with trial.phase("before"):
            trial.rest(QUIET_SECONDS)
        broke_off = _try(trial, [step for step in steps for _ in range(options.rounds)])
        say("  holding what was answered and heard against what is there")
        rows = trial.conclude()
    finally:
        trial.close()
    verdict = table.promises(rows, trial.report, trial.hearing, broke_off)
    table.show(rows, verdict)
    results = directory if options.only else RESULTS
    command = f"./hecto bench cluster --seed {options.seed} --rounds {options.rounds}"
    table.write(results / "cluster", command, rows, trial.report, trial.hearing, verdict)
    say(f"  {results / 'cluster.md'}")
    kept_all = all(kept == "yes" for _, _, kept in verdict)
    if kept_all and not options.keep:
        hecto.destroy().require()
    elif not kept_all:
        say(f"  The site stays for whoever looks into it: HECTO_NAME={site.name} ./hecto status")
    return 0 if kept_all else 1


def _slow(trial: Trial, next_release: slow_faults.Built, only: str) -> list[Callable[[], object]]:
    """Faults that need something put up first."""
    hecto, cluster = trial.hecto, trial.cluster

    def disk() -> None:
        with _put_up(trial, DISK, slow_faults.small_disk(cluster)):
            trial.suffer(Fault(DISK, slow_faults.fill_disk))

    def clock() -> None:
        with _put_up(trial, CLOCK, slow_faults.own_clock(cluster)) as host:
            trial.suffer(Fault(CLOCK, slow_faults.move_clock(host)))

    def deploy() -> None:
        trial.suffer(Fault(DEPLOY, slow_faults.deploy_and_switch_over(hecto, next_release), unseen=True))
        with trial.phase("back to the release before", bounded=True):
            hecto.rollback().require()

    def switchover() -> None:
        trial.suffer(Fault(SWITCHOVER, slow_faults.switchover(hecto), unseen=True))

    def remove() -> None:
        trial.suffer(Fault(REMOVE, slow_faults.remove_app_host(hecto), unseen=True))

    def renew() -> None:
        trial.suffer(Fault(RENEW, slow_faults.renew_certificates(hecto), unseen=True))

    def update() -> None:
        # A connection to the public address ends where that moves to another host, so a client may have to repeat.
        trial.suffer(Fault(UPDATE, slow_faults.update_hosts(hecto)))

    steps = {
        SWITCHOVER: switchover,
        DEPLOY: deploy,
        REMOVE: remove,
        UPDATE: update,
        RENEW: renew,
        DISK: disk,
        CLOCK: clock,
    }
    return [step for name, step in steps.items() if only in name]


@contextmanager
def _put_up(trial: Trial, name: str, what: AbstractContextManager[Host]) -> Iterator[Host]:
    """What a fault needs, put up and put back in phases of their own, whose errors are none of the fault's."""
    with ExitStack() as stack:
        with trial.phase(f"preparing for {name}", bounded=True):
            host = stack.enter_context(what)
        try:
            yield host
        finally:
            with trial.phase(f"putting back after {name}", bounded=True):
                stack.close()
                trial.cluster.wait_until_whole(slow_faults.WHOLE_SECONDS)


def _try(trial: Trial, steps: list[Callable[[], object]]) -> str:
    """Do one step after another. Returns what could not be done; a cluster that is not whole again ends it."""
    failures: list[str] = []

    def attempt(step: Callable[[], object]) -> bool:
        try:
            step()
        except Exception as error:  # whatever it was, what is measured before and after it is worth a report
            say(f"hecto: {type(error).__name__}: {error}")
            failures.append(f"{type(error).__name__}: {error}".partition("\n")[0])
            return False
        return True

    for step in steps:
        if not attempt(step) and not attempt(lambda: trial.cluster.wait_until_whole(slow_faults.WHOLE_SECONDS)):
            break
    return "; ".join(failures)


if __name__ == "__main__":
    finish(main)
