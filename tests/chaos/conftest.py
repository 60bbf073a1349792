"""A load on the site that HECTO_NAME names, and the check of everything it did when the test is over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from control.progress import say
from control.site import CACHE, Site, load_site
from tests.chaos.campaign import Campaign, Size
from tests.chaos.report import Report
from tests.chaos.steps import quiet

SEED = int(os.environ.get("HECTO_CHAOS_SEED", "7"))
WARM_UP = 3.0
LOG = CACHE / "log" / "test"


@pytest.fixture(scope="session")
def site() -> Site:
    found = load_site()
    assert (found.directory / "credentials.json").exists(), "there is no running site. Start one with ./hecto up"
    return found


@pytest.fixture
def campaign(site: Site, request: pytest.FixtureRequest) -> Iterator[Campaign]:
    """A load that runs from here on. Its history stays in the site's directory."""
    name = request.node.name.removeprefix("test_")
    made = Campaign(site, site.directory / "chaos" / name, SEED, Size())
    try:
        made.begin()
        quiet(made, WARM_UP)
        yield made
    finally:
        made.close()


@pytest.fixture
def nothing_is_lost(campaign: Campaign, capsys: pytest.CaptureFixture[str]) -> Callable[[], Report]:
    """Ends the load and holds it against the database."""

    def check() -> Report:
        report = campaign.end()
        # The site goes with the run, its figures stay.
        LOG.mkdir(parents=True, exist_ok=True)
        report.write(LOG / f"chaos-{campaign.directory.name}")
        with capsys.disabled():
            say(f"\n{report.summary()}")
        shown = "\n".join(str(found) for found in [*report.findings, *report.failures][:12])
        assert report.damage == dict.fromkeys(report.damage, 0), f"seed {report.seed}, {campaign.directory}:\n{shown}"
        assert report.requests["sent"] > 0.9 * report.load["rate"] * report.seconds, "the load did not keep its rate"
        return report

    return check
