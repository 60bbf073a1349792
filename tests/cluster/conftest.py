"""A load and open pages on the cluster that HECTO_NAME names, and the check of everything when the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from control.deploy import write_credentials
from control.progress import say
from control.site import Site, load_site
from tests.chaos.campaign import Size
from tests.chaos.conftest import LOG, SEED
from tests.cluster import table
from tests.cluster.trial import Trial

# Three hosts, the load and the checks share two cores.
SIZE = Size(rate=12.0, clients=8, seconds=1500.0)
LISTENERS = 6
WARM_UP = 3.0


@pytest.fixture(scope="session")
def site() -> Site:
    found = load_site()
    assert found.is_cluster, "this needs a running cluster. Start one with ./hecto up --cluster"
    if not (found.directory / "credentials.json").exists():
        write_credentials(found)
    return found


@pytest.fixture
def trial(site: Site, request: pytest.FixtureRequest) -> Iterator[Trial]:
    """A load that runs from here on. Its history stays in the site's directory."""
    name = request.node.name.removeprefix("test_")
    made = Trial(site, site.directory / "chaos" / name, SEED, SIZE, listeners=LISTENERS)
    try:
        made.begin()
        with made.phase("before"):
            made.rest(WARM_UP)
        yield made
    finally:
        made.close()


@pytest.fixture
def every_promise_was_kept(trial: Trial, capsys: pytest.CaptureFixture[str]) -> Callable[[], None]:
    """Ends the load and holds it against the database."""

    def check() -> None:
        rows = trial.conclude()
        verdict = table.promises(rows, trial.report, trial.hearing, "")
        # The site goes with the run, its figures stay.
        LOG.mkdir(parents=True, exist_ok=True)
        table.write(LOG / f"cluster-{trial.directory.name}", "./hecto test", rows, trial.report, trial.hearing, verdict)
        with capsys.disabled():
            say(f"\n{trial.report.summary()}\n{table.summary(rows)}")
        broken = [f"{promise}: {measured}" for promise, measured, kept in verdict if kept != "yes"]
        shown = [*trial.report.findings, *trial.report.failures, *trial.hearing.wrong]
        detail = "\n".join(str(one) for one in shown[:12])
        assert broken == [], f"seed {SEED}, {trial.directory}:\n{detail}"

    return check
