"""hecto-fleet top where each of three hosts has a Redis: it tells of the host's own, not of the one in use."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from hecto.fleet.layout import Layout
from hecto.fleet.top import several
from hecto.fleet.top.redis import Redis
from hecto.fleet.top.settings import read
from tests.redis_cluster import Cluster, Host
from tests.servers import PASSWORD, scratch, wait_until
from tests.unit.fleet.snapshots import snapshot


@pytest.fixture
def cluster():
    found = Cluster(scratch() / "redis-cluster")
    yield found
    found.stop()


def looker(cluster: Cluster, host: Host) -> Redis:
    """What looks on a host whose instances are told the way to the primary."""
    layout = Layout(config=host.place / "hecto")
    layout.secrets.mkdir(parents=True, exist_ok=True)
    (layout.secrets / "redis-password").write_text(PASSWORD)
    layout.environment.write_text(f'HECTO_HOST="{host.name}"\nHECTO_REDIS_SOCKET="{cluster.socket}"\n')
    # Where the role would have put its settings, and no PostgreSQL.
    (host.place / "redis").mkdir(exist_ok=True)
    (host.place / "redis/hecto.conf").touch()
    nothing = Path("/nonexistent")
    return Redis(layout, read(layout, sockets=nothing, redis_socket=host.socket, etc=host.place))


def shown(found: dict[str, object]) -> dict[str, str]:
    """The last column of each host's line."""
    now = several.together({name: snapshot(redis=one) for name, one in found.items()}, {})
    return {host["name"]: several._host(host).split()[-1] for host in now["hosts"]}


def test_each_host_tells_of_its_own_and_whether_its_copy_follows(cluster: Cluster) -> None:
    lookers = {host.name: looker(cluster, host) for host in cluster.hosts}

    def look() -> dict[str, dict[str, object]]:
        return {name: one.look() for name, one in lookers.items()}

    found = look()
    told = {
        host.name: host.info()["role"].replace("master", "primary").replace("slave", "replica")
        for host in cluster.hosts
    }
    assert (
        {name: one["role"] for name, one in found.items()}
        == told
        == {"r1": "primary", "r2": "replica", "r3": "replica"}
    )
    assert (found["r1"]["replicas"], found["r2"]["link"], found["r3"]["link"]) == (2, "up", "up")
    assert shown(found) == {"r1": "primary", "r2": "replica", "r3": "replica"}

    # One is away, and another takes its place: that is seen from where it was and from where it is.
    cluster.hosts[0].sentinel.signal(signal.SIGSTOP)
    cluster.hosts[0].redis.kill()
    wait_until(lambda: {one.get("role") for one in look().values()} == {None, "primary", "replica"}, "another primary")
    found = look()
    assert (found["r1"]["state"], found["r1"]["of_several"]) == ("down", True)
    assert shown(found)["r1"] == "down"
