"""The short form of ./hecto bench cluster: an instance, a host and the primary die, and the primary is moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster import faults, slow_faults
from tests.cluster.faults import Fault
from tests.cluster.long import RTO_SECONDS, SWITCHOVER
from tests.cluster.trial import Trial

pytestmark = pytest.mark.timeout(900)


def test_nothing_is_lost(trial: Trial, every_promise_was_kept: Callable[[], None]) -> None:
    trial.suffer(Fault("instance killed", faults.kill_instance, unseen=True))
    trial.suffer(Fault(SWITCHOVER, slow_faults.switchover(trial.hecto), unseen=True))
    trial.suffer(Fault("primary killed", faults.kill_postmaster, rto=RTO_SECONDS))
    trial.suffer(Fault("app host lost", faults.lose_app_host, unseen=True, prepare=faults.spare))
    every_promise_was_kept()
