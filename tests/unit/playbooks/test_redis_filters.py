"""Who is the master of Redis, by what the hosts know."""

from __future__ import annotations

import pytest

from playbooks.filter_plugins.redis import redis_master


@pytest.mark.parametrize(
    ("looks", "master"),
    [
        ([], ""),
        ([["packages", "directories"], []], ""),
        ([["state", "master 10.0.0.1", "epoch 0"], ["packages"]], "10.0.0.1"),
        ([["master 10.0.0.1", "epoch 3"], ["master 10.0.0.2", "epoch 12"], ["master 10.0.0.1", "epoch 9"]], "10.0.0.2"),
        ([["master 10.0.0.3"], ["Redis"]], "10.0.0.3"),
    ],
    ids=["nothing", "new hosts", "one that is new", "the latest decision counts", "before the first decision"],
)
def test_the_master_is_whom_the_latest_decision_names(looks, master):
    assert redis_master(looks) == master
