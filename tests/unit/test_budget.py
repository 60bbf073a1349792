"""The budget: the reference host's numbers, the limits, and what it says where the sum does not work out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import load

budget = load("playbooks/filter_plugins/budget.py")

REFERENCE: dict[str, Any] = {
    "cores": 16,
    "memory_mb": 65536,
    "instances": 100,
    "clients": 5000,
    "max_connections": 500,
    "reserved_connections": 20,
    "pool_max": 4,
    "instance_memory_mb": 128,
}


def plan(**changes: Any) -> dict[str, Any]:
    """Plan the reference host, but for the changes."""
    planned: dict[str, Any] = budget.plan(**{**REFERENCE, **changes})
    return planned


def test_reference_host() -> None:
    planned = plan()
    assert planned["pool"] == 4
    assert planned["connections"] == {"max": 500, "reserved": 20, "instances": 400}
    assert planned["postgres"]["shared_buffers_mb"] == 8192
    assert planned["postgres"]["effective_cache_size_mb"] == 24576
    assert planned["postgres"]["maintenance_work_mem_mb"] == 2048
    assert planned["postgres"]["work_mem_mb"] == 16
    assert planned["redis"]["maxmemory_mb"] == 2048
    assert planned["memory_mb"]["instances"] == 12800


@pytest.mark.parametrize("memory_mb", [1024, 2048, 4096, 16384, 65536, 262144])
@pytest.mark.parametrize("instances", [1, 4, 12, 100])
def test_memory_is_never_given_twice(memory_mb: int, instances: int) -> None:
    try:
        planned = plan(memory_mb=memory_mb, instances=instances, cores=2, clients=200)
    except budget.BudgetError:
        assert memory_mb < 512 + instances * 128 + 512, "this host is large enough"
        return
    assert sum(planned["memory_mb"].values()) == memory_mb
    assert all(share >= 0 for share in planned["memory_mb"].values())
    postgres = planned["postgres"]
    assert postgres["shared_buffers_mb"] < planned["memory_mb"]["postgres"]
    assert postgres["min_wal_size_mb"] <= postgres["max_wal_size_mb"]


@pytest.mark.parametrize(("maximum", "pool"), [(520, 4), (420, 4), (419, 3), (220, 2), (219, 1), (120, 1)])
def test_pool_is_an_equal_share_up_to_the_most_an_instance_may_hold(maximum: int, pool: int) -> None:
    planned = plan(max_connections=maximum)
    assert planned["pool"] == pool
    assert planned["connections"]["instances"] + planned["connections"]["reserved"] <= maximum


def test_too_few_connections_names_both_numbers_that_help() -> None:
    with pytest.raises(
        budget.BudgetError,
        match=r"Raise postgres_max_connections to at least 120, or lower hecto_instances to at most 99\.",
    ):
        plan(max_connections=119)


def test_no_advice_that_cannot_be_followed() -> None:
    with pytest.raises(budget.BudgetError) as caught:
        plan(max_connections=10)
    assert "hecto_instances" not in str(caught.value)


def test_what_the_message_advises_works() -> None:
    assert plan(max_connections=120)["pool"] == 1
    assert plan(max_connections=119, instances=99)["pool"] == 1


def test_the_database_serves_all_hosts_of_the_application() -> None:
    assert plan(instances=30, app_hosts=3, max_connections=200)["pool"] == 2
    with pytest.raises(budget.BudgetError, match="90 instances cannot share 109"):
        plan(instances=30, app_hosts=3, max_connections=109)


def test_too_little_memory_says_how_much_and_how_many_fit() -> None:
    with pytest.raises(budget.BudgetError, match="hecto_instances to at most") as caught:
        plan(memory_mb=8192)
    numbers = re.search(r"at least (\d+) MB .* at most (\d+)\.", str(caught.value))
    assert numbers
    enough, fit = map(int, numbers.groups())
    assert plan(memory_mb=8192, instances=fit)["instances"] == fit
    assert plan(memory_mb=enough)["instances"] == 100
    for too_much in ({"memory_mb": 8192, "instances": fit + 1}, {"memory_mb": enough - 1}):
        with pytest.raises(budget.BudgetError):
            plan(**too_much)


def test_no_instance_gets_the_database_s_port() -> None:
    """Instance 432 would listen on 127.0.0.1:5432."""
    many = {"memory_mb": 262144, "max_connections": 1100}
    assert plan(instances=431, **many)["instances"] == 431
    with pytest.raises(budget.BudgetError, match=r"instance 432 would .*:5432.* to at most 431, or"):
        plan(instances=432, **many)
    assert plan(instances=999, database_port=6432, **many)["instances"] == 999
    assert plan(instances=432, services=["app", "lb"], **many)["instances"] == 432
    with pytest.raises(budget.BudgetError, match=r"hecto_instances is 1000: it must be at most 999\."):
        plan(instances=1000, **many)


def test_one_gigabyte_carries_a_small_fleet() -> None:
    planned = plan(memory_mb=1024, cores=1, instances=3, clients=50, max_connections=100)
    assert planned["postgres"]["shared_buffers_mb"] >= 64
    assert planned["postgres"]["work_mem_mb"] >= 1


@pytest.mark.parametrize("memory_mb", [3072, 4096, 6144, 8192, 24576])
def test_a_fleet_can_grow_threefold_without_a_restart_of_the_database(memory_mb: int) -> None:
    def database(instances: int) -> Any:
        accepted = budget.connections(instances, pool_max=4, reserved=20, cores=2)
        return plan(memory_mb=memory_mb, cores=2, clients=500, instances=instances, max_connections=accepted)[
            "postgres"
        ]

    assert database(4) == database(12)


def test_a_dedicated_database_host_gets_all_but_the_system() -> None:
    planned = plan(services=["postgres"])
    assert planned["memory_mb"] == {
        "system": 2048,
        "instances": 0,
        "others": 0,
        "redis": 0,
        "nginx": 0,
        "postgres": 63488,
        "free": 0,
    }


def test_an_edge_host_needs_no_memory_for_the_others() -> None:
    planned = plan(services=["lb"], memory_mb=1024, cores=2)
    assert planned["memory_mb"]["postgres"] == 0
    assert planned["huge_pages"] == 0


def test_files_cover_a_burst() -> None:
    planned = plan(clients=20000)
    assert planned["instance"]["websockets"] == 400
    assert planned["instance"]["files"] >= 2 * 400 + planned["pool"]
    # Every client is two connections to nginx, and a restart can put twice the average on one worker.
    assert planned["nginx"]["worker_connections"] * planned["nginx"]["workers"] >= 20000 * 2 * 2
    assert planned["nginx"]["files"] >= planned["nginx"]["worker_connections"] * 2
    assert planned["redis"]["files"] > planned["redis"]["clients"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("instances", 0, "hecto_instances is 0: it must be at least 1"),
        ("instances", "many", "hecto_instances is 'many': write a whole number"),
        ("instances", "", "hecto_instances is '': write a whole number"),
        ("instances", 2.5, "hecto_instances is 2.5: write a whole number"),
        ("instances", True, "hecto_instances is True"),
        ("cores", -1, "host_cores is -1"),
        ("memory_mb", 64, "host_memory_mb is 64: it must be at least 512"),
        ("memory_mb", "64 GB", "host_memory_mb is '64 GB': write a whole number"),
        ("clients", None, "hecto_clients is None"),
        ("instance_memory_mb", 1, "hecto_instance_memory_mb is 1"),
        ("reserved_connections", 0, "postgres_reserved_connections is 0"),
        ("reserved_connections", 7, "postgres_reserved_connections is 7: it must be at least 8"),
        ("pool_max", 0, "hecto_database_pool_max is 0"),
        ("services", ["postgres", "mail"], "unknown services mail"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(budget.BudgetError) as caught:
        plan(**{name: value})
    assert message in str(caught.value)


def test_numbers_may_come_as_text() -> None:
    assert plan(instances="100", cores="16") == plan()


@pytest.mark.parametrize(("instances", "wanted"), [(1, 100), (4, 100), (20, 100), (21, 200), (100, 500), (400, 500)])
def test_connections_are_the_full_pools_within_bounds(instances: int, wanted: int) -> None:
    assert budget.connections(instances, pool_max=4, reserved=20) == wanted


def test_connections_leave_room_for_the_fleet_that_the_cores_are_good_for() -> None:
    """Changing the number restarts PostgreSQL, which no client should see while a fleet grows."""
    assert budget.connections(20, pool_max=4, reserved=20, cores=16) == budget.connections(
        96, pool_max=4, reserved=20, cores=16
    )


def test_table_shows_every_service_and_its_number() -> None:
    text = budget.table(plan())
    for words in (
        "100",
        "500",
        "12800 MB",
        "32768 MB",
        "8192 MB of shared buffers",
        "16 workers",
        "400 for instances, 20 reserved, 80 to spare",
    ):
        assert words in text


def test_table_of_a_host_leaves_out_what_runs_on_others() -> None:
    text = budget.table(plan(services=("postgres", "etcd"), app_hosts=3, hosts=5))
    assert "Memory: postgres" in text
    for elsewhere in ("Instances", "Pool", "Redis", "Memory: redis", "nginx"):
        assert elsewhere not in text


def test_what_the_plan_prints_is_what_the_roles_get() -> None:
    root = Path(__file__).resolve().parents[2]
    inventory = (root / "inventory/defaults.yml").read_text()
    taken = set(re.findall(r"hecto_plan\.([a-z_.]+)", inventory))
    assert {"nginx.worker_connections", "nginx.files", "instance.files", "redis", "postgres", "pool"} <= taken
    for template in ("nginx.conf.j2", "unit.conf.j2"):
        assert "{{ nginx_open_files }}" in (root / "roles/nginx/templates" / template).read_text()


def test_filters_take_what_templates_give() -> None:
    filters = budget.FilterModule().filters()
    assert filters["hecto_plan"](REFERENCE) == plan()
    assert filters["hecto_connections"]({"instances": 100, "pool_max": 4, "reserved": 20}) == 500


def test_several_hosts_get_a_pooler_when_their_pools_are_too_many_together() -> None:
    fleet = {"instances": 100, "pool_max": 4, "reserved": 20}
    assert not budget.is_pooled("auto", **fleet, app_hosts=1)  # one host of any size goes without
    assert not budget.is_pooled("auto", instances=30, pool_max=4, reserved=20, app_hosts=3)
    assert budget.is_pooled("auto", **fleet, app_hosts=3)
    accepted = budget.connections(**fleet, app_hosts=3, cores=16)
    planned = plan(cores=16, memory_mb=65536, instances=100, max_connections=accepted, app_hosts=3, hosts=3)
    assert planned["pgbouncer"]
    assert planned["pool"] == 4
    assert planned["pgbouncer_pool"] * 3 + planned["connections"]["reserved"] <= accepted <= budget.CONNECTIONS_MOST


def test_one_host_gets_a_pooler_that_is_asked_for() -> None:
    fleet = {"instances": 100, "pool_max": 4, "reserved": 20}
    assert budget.is_pooled("always", **fleet, app_hosts=1)
    accepted = budget.connections(**fleet, cores=16, pooler="always")
    assert accepted == 200
    planned = plan(cores=16, memory_mb=65536, instances=100, max_connections=accepted, pooler="always")
    assert planned["pool"] == 4
    assert planned["pgbouncer_pool"] == accepted - planned["connections"]["reserved"]
    assert planned["memory_mb"]["others"] == budget.PROXY
    with pytest.raises(budget.BudgetError, match="use auto or always"):
        budget.is_pooled("yes", **fleet, app_hosts=1)
