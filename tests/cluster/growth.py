"""One host with people on it becomes three, as docs/several-hosts-postgres.md has it, with the table in bench/results.

./hecto bench growth [--seed S] [--keep]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from control import packages
from control.deploy import write_credentials
from control.host import ensure_hosts
from control.progress import Failure, say
from control.site import CLUSTER_HOSTS, ROOT, Site, load_site
from tests.chaos.campaign import Campaign, Size
from tests.chaos.commands import Done, Hecto, finish
from tests.cluster import table
from tests.cluster.cluster import Cluster
from tests.cluster.faults import Fault, kill_postmaster
from tests.cluster.long import CLIENTS, LISTENERS, LONGEST, QUIET_SECONDS, RATE, RESULTS, RTO_SECONDS
from tests.cluster.trial import Listeners, Trial

# The part of the local cluster that is there first.
ONE_HOST = """\
all:
  children:
    postgres: &the_host
      hosts:
        host-1: {host_number: 1}
    redis: *the_host
    app: *the_host
    lb: *the_host
"""


class Growth(Trial):
    """A trial that begins on one host, where no cluster could be whole yet."""

    def begin(self) -> None:
        """Open the pages, then start the load."""
        self._pages = Listeners(self.credentials, self.listeners, self.directory)
        Campaign.begin(self)


class Steps:
    """The steps of the page, on one site."""

    def __init__(self, site: Site, hecto: Hecto) -> None:
        self._site = site
        self._hecto = hecto
        # People come to the first host by an address that it keeps, so that nobody's DNS has to change meanwhile.
        self.url = f"https://{site.hosts[0].address}"

    def set_up_one_host(self) -> None:
        """The site as it was, on the first host alone."""
        inventory = self._site.directory / "one-host"
        inventory.mkdir(exist_ok=True)
        (inventory / "hosts.yml").write_text(ONE_HOST)
        variables = inventory / "group_vars"
        variables.unlink(missing_ok=True)
        variables.symlink_to(self._site.inventory / "group_vars")
        alone = {"hecto_state_directory": str(self._site.directory), "lb_addresses": []}
        self._play("site.yml", alone, inventory=inventory).require()

    def grow(self, _cluster: Cluster) -> str:
        """The larger inventory, first without the word that it needs, and the roll after it."""
        refused = self._play("site.yml", {})
        assert refused.code != 0, "site.yml went on without having been told to take the server over"
        assert "Nothing was changed" in refused.output, refused.output[-3000:]
        self._play("site.yml", {"patroni_take_over": True}).require()
        self._play("rolling-restart.yml", {}).require()
        return "site.yml with three hosts and patroni_take_over, then rolling-restart.yml"

    def _play(self, name: str, variables: dict[str, object], *, inventory: Path | None = None) -> Done:
        words = json.dumps({"hecto_public_url": self.url, **variables})
        return self._hecto.playbook(name, "-e", words, inventory=inventory)


def main() -> int:
    """Run it, write the table, and say whether every promise was kept."""
    parser = argparse.ArgumentParser(prog="./hecto bench growth", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of the load")
    parser.add_argument("--keep", action="store_true", help="leave the site as it is at the end")
    options = parser.parse_args()
    site = load_site(size=CLUSTER_HOSTS)
    if site.saved:
        raise Failure(
            f"the site '{site.name}' is there from before, and has grown",
            advice=f"remove it and begin anew: HECTO_NAME={site.name} ./hecto destroy --yes",
        )
    packages.install(packages.for_hosts() + packages.for_releases())
    site = ensure_hosts(site)
    directory = site.directory / "chaos" / "growth"
    directory.mkdir(parents=True, exist_ok=True)
    hecto = Hecto(site, directory / "site.log")
    steps = Steps(site, hecto)
    steps.set_up_one_host()
    _let_the_load_in(site, steps.url)
    trial = Growth(site, directory, options.seed, Size(RATE, CLIENTS, 0, LONGEST), listeners=LISTENERS)
    broke_off = ""
    try:
        trial.begin()
        with trial.phase("before"):
            trial.rest(QUIET_SECONDS)
        try:
            trial.suffer(Fault("one host becomes three", steps.grow))
            trial.suffer(Fault("primary killed, afterwards", kill_postmaster, rto=RTO_SECONDS))
        except (Failure, AssertionError) as error:
            broke_off = str(error)
            say(f"hecto: {error}")
        rows = trial.conclude()
    finally:
        trial.close()
    verdict = table.promises(rows, trial.report, trial.hearing, broke_off)
    table.show(rows, verdict)
    command = f"./hecto bench growth --seed {options.seed}"
    table.write(RESULTS / "growth", command, rows, trial.report, trial.hearing, verdict)
    say(f"  {(RESULTS / 'growth.md').relative_to(ROOT)}")
    kept_all = all(kept == "yes" for _, _, kept in verdict)
    if kept_all and not options.keep:
        hecto.destroy().require()
    else:
        say(f"  The site stays for whoever looks into it: HECTO_NAME={site.name} ./hecto status")
    return 0 if kept_all else 1


def _let_the_load_in(site: Site, url: str) -> None:
    credentials = write_credentials(site) | {"url": url}
    (site.directory / "credentials.json").write_text(json.dumps(credentials))


if __name__ == "__main__":
    finish(main)
