"""A deploy, a refused deploy, the way back, more and fewer instances: nobody who works at that time may notice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.site import Site
from tests.chaos import steps, variants
from tests.chaos.campaign import Campaign
from tests.chaos.conftest import SEED
from tests.chaos.report import Report
from tests.chaos.variants import Built

pytestmark = pytest.mark.timeout(600)
Check = Callable[[], Report]
MORE = 2


@pytest.fixture(scope="module")
def built(site: Site) -> tuple[Built, Built]:
    """A release that works, and one that does not; which, the seed says. Both are there before the load."""
    broken = variants.QUICKLY_REFUSED[SEED % len(variants.QUICKLY_REFUSED)]
    return variants.build(variants.NEXT, site), variants.build(broken, site)


def test_deploy_refuse_and_roll_back(built: tuple[Built, Built], campaign: Campaign, nothing_is_lost: Check) -> None:
    (here,) = set(campaign.host.releases().values())
    steps.roll_there(campaign, built[0])
    steps.refuse(campaign, built[1])
    steps.roll_back(campaign, here)
    nothing_is_lost()


def test_scale(campaign: Campaign, nothing_is_lost: Check) -> None:
    count = len(campaign.host.numbers())
    steps.scale(campaign, count + MORE, count)
    nothing_is_lost()


def test_roller_is_killed(campaign: Campaign, nothing_is_lost: Check) -> None:
    steps.kill_the_roller(campaign)
    nothing_is_lost()
