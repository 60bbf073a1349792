"""Whatever happens to instances and to the servers around them, no client sees a failed request or a wrong answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos import steps
from tests.chaos.campaign import Campaign
from tests.chaos.report import Report

pytestmark = pytest.mark.timeout(300)
Check = Callable[[], Report]
# A database that was restarted answers again within this time, and so do its clients.
OUTAGE_SECONDS = 10.0


def test_kill_9(campaign: Campaign, nothing_is_lost: Check) -> None:
    steps.kills(campaign, 10, pause=(1.5, 3.5))
    assert nothing_is_lost().kills == 10


def test_sigstop(campaign: Campaign, nothing_is_lost: Check) -> None:
    steps.freeze(campaign)
    nothing_is_lost()


def test_servers(campaign: Campaign, nothing_is_lost: Check) -> None:
    steps.servers(campaign)
    report = nothing_is_lost()
    outage = report.phase("restart of PostgreSQL")
    assert outage["failed_seconds"] < OUTAGE_SECONDS
