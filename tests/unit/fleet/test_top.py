"""hecto-fleet top: what is read, and what is called a problem."""

from __future__ import annotations

import shutil
import socket
import threading

import pytest

from hecto.fleet.control import ControlError, Reply, SilentError
from hecto.fleet.top import machine, postgres, problems, redis, words
from hecto.fleet.top.asking import ask
from hecto.fleet.top.look import edge_connections
from hecto.fleet.top.settings import read
from tests.servers import scratch
from tests.unit.fleet.snapshots import GB, fleet, instance, session, snapshot


def found(now):
    return [one["what"] for one in problems.find(now)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.size(310 * 2**20), "310 MB"),
        (words.size(1.25 * GB), "1.2 GB"),
        (words.size(1023 * 2**20), "1.0 GB"),
        (words.size(0), "0 B"),
        (words.size(None), "-"),
        (words.rate(0.44), "0.4"),
        (words.rate(1234.5), "1234"),
        (words.percent(0.99999), "99.9%"),
        (words.percent(1.0), "100%"),
        (words.percent(2.5), "250%"),
        (words.seconds(0.0421), "42 ms"),
        (words.seconds(75), "75 s"),
        (words.seconds(3600), "60 min"),
        (words.one_line("a\n  b\x1b[31mc\u202e", 300), "a b [31mc"),
        (words.one_line("x" * 500, 10), "x" * 9 + "…"),
    ],
)
def test_amounts_and_texts_for_a_line(text, expected):
    assert text == expected


def test_the_worst_disk_is_a_real_and_writable_one(tmp_path):
    mounts = f"tmpfs /dev/shm tmpfs rw 0 0\n/dev/loop0 / squashfs ro 0 0\n/dev/sda1 {tmp_path} ext4 rw,noatime 0 0\n"
    worst = machine.worst_disk(mounts)
    assert worst["mount"] == str(tmp_path)
    assert 0 < worst["used"] <= 1
    assert machine.worst_disk("tmpfs /run tmpfs rw 0 0\n") is None


def test_memory_and_processors_are_read_as_the_kernel_writes_them(tmp_path):
    (tmp_path / "7").mkdir()
    spent = "7 (a (strange) name) S 1 7 7 0 -1 0 1 2 3 4 100 50 30 20 20 0 1 0"
    (tmp_path / "7" / "stat").write_text(spent)
    assert machine.processor_seconds([7, 8], tmp_path) == pytest.approx(2.0)
    assert machine.processor_seconds([8], tmp_path) is None
    meminfo = "MemTotal: 1000 kB\nMemAvailable: 400 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n"
    assert machine.memory(meminfo) == {"total": 1_024_000, "available": 409_600, "swapped": 6144}


def test_connections_of_the_edge_are_those_that_are_open(tmp_path):
    head = "  sl  local_address rem_address   st\n"
    line = "   0: 0100007F:{port:04X} 0100007F:D2F0 {state} 00000000:00000000\n"
    lines = [line.format(port=443, state="01"), line.format(port=443, state="0A"), line.format(port=5432, state="01")]
    (tmp_path / "tcp").write_text(head + "".join(lines))
    assert edge_connections(tmp_path) == 1


def test_where_postgresql_and_redis_are_is_what_the_instances_are_told(layout, tmp_path):
    sockets, redis_socket = tmp_path / "postgresql", tmp_path / "redis.sock"
    layout.environment.parent.mkdir(parents=True, exist_ok=True)
    layout.environment.write_text(
        f'HECTO_DATABASE_HOST="{sockets}"\nHECTO_REDIS_SOCKET="/r.sock"\nHECTO_DATABASE_POOL="3"\n'
    )
    etc = tmp_path / "etc"
    local = read(layout, sockets, redis_socket, etc)
    # Its socket is not there: the server is down, and not somewhere else.
    assert (local.postgres_here, local.redis_address, local.pool) == (True, "/r.sock", 3)
    layout.environment.write_text('HECTO_DATABASE_HOST="10.0.0.5"\nHECTO_REDIS_HOST="10.0.0.6"\n')
    remote = read(layout, sockets, redis_socket, etc)
    assert (remote.postgres_here, remote.postgres_host, remote.redis_address) == (False, "10.0.0.5", ("10.0.0.6", 6379))
    assert (remote.redis_here, remote.host) == (False, "")
    # One of several: its Redis is down, and the way of the instances leads to another.
    for name in ("redis/hecto.conf", "patroni/config.yml"):
        (etc / name).parent.mkdir(parents=True)
        (etc / name).touch()
    layout.environment.write_text('HECTO_HOST="one"\nHECTO_REDIS_SOCKET="/proxy.sock"\nHECTO_DATABASE_HOST="/proxy"\n')
    own = read(layout, sockets, redis_socket, etc)
    assert (own.host, own.redis_address, own.redis_here) == ("one", str(redis_socket), True)
    assert (own.postgres_host, own.postgres_here) == (str(sockets), True)
    shutil.rmtree(etc)
    layout.environment.unlink()
    nothing = read(layout, sockets, redis_socket, etc)
    assert (nothing.postgres_here, nothing.postgres_host, nothing.redis_address) == (False, "", None)


def test_rates_of_redis_are_of_two_looks_at_the_same_run():
    before = redis.parse(
        "# Stats\r\nrun_id:a\r\ntotal_commands_processed:100\r\nkeyspace_hits:5\r\nkeyspace_misses:5\r\n"
    )
    now = before | {
        "total_commands_processed": "300",
        "keyspace_hits": "95",
        "keyspace_misses": "15",
        "rejected_connections": "2",
    }
    figures = redis.figures(now, before, 2.0)
    assert (figures["operations"], figures["hit"], figures["rejected_now"]) == (100, 0.9, 2)
    anew = redis.figures(now | {"run_id": "b"}, before, 2.0)
    assert (anew["operations"], anew["rejected_now"]) == (0, 0)


def test_rates_of_postgresql_begin_anew_with_the_server():
    before = {"started": 1.0, "commits": 100, "rollbacks": 0, "hit": 1000, "read": 0, "deadlocks": 1}
    now = before | {"commits": 190, "rollbacks": 10, "hit": 1900, "read": 100, "deadlocks": 2}
    rates = postgres.rates(now, before, 10.0)
    assert (rates["transactions"], rates["rolled_back"], rates["hit_share"], rates["deadlocks_now"]) == (10, 1, 0.9, 1)
    assert postgres.rates(now | {"started": 2.0}, before, 10.0)["transactions"] is None


def test_the_slowest_statements_are_those_that_took_the_most_time_just_now():
    before = {1: (1000, 50_000.0), 2: (10, 100.0)}
    now = {1: (1001, 50_001.0), 2: (20, 1100.0), 3: (1, 20.0), 4: (1, 0.1)}
    assert [(one["id"], one["calls"], one["mean"]) for one in postgres.slowest(now, before)] == [
        (2, 10, 0.1),
        (3, 1, 0.02),
        (1, 1, 0.001),
    ]


def test_a_healthy_host_has_no_problem():
    assert found(snapshot()) == []


def test_what_holds_others_up_is_named_with_who_does_it():
    now = snapshot()
    holder = {"pid": 99, "who": "psql", "state": "idle in transaction"}
    now["postgres"] |= {
        "waiting": [session("instance-2", 3.0) | {"blocked_by": [holder]}],
        "waiters": 4,
        "transaction": session("psql", 40.0, "idle in transaction"),
        "query": session("instance-2", 30.0),
    }
    assert found(now) == [
        "instance-2 has waited 3.0 s for a lock of psql (pid 99, idle in transaction)",
        "psql (pid 4711) is idle in a transaction since 40 s",
        "instance-2 (pid 4711) runs a query since 30 s",
    ]


@pytest.mark.parametrize(
    ("part", "change", "expected"),
    [
        ("postgres", {"state": "down", "why": "Connection refused"}, "PostgreSQL does not answer: Connection refused"),
        (
            "postgres",
            {"sessions": [{"who": "x", "state": "idle", "count": 95}]},
            "PostgreSQL has 95 of 100 connections",
        ),
        (
            "postgres",
            {"archiver": {"on": True, "failed": 3, "failing": True, "age": None}},
            "PostgreSQL cannot archive its log (3 failures)",
        ),
        (
            "postgres",
            {"replicas": [{"who": "two", "state": "streaming", "sync": "async", "seconds": 90.0, "bytes": GB}]},
            "replica two is 90 s, 1.0 GB behind",
        ),
        ("postgres", {"replica": True, "behind": 45.0}, "this replica is 45 s behind"),
        ("redis", {"state": "down", "why": "no answer within 1 s"}, "Redis does not answer: no answer within 1 s"),
        (
            "postgres",
            {"state": "down", "why": "Connection refused", "here": True, "of_several": True},
            "the PostgreSQL of this host does not answer: Connection refused",
        ),
        (
            "redis",
            {"state": "down", "why": "Connection refused", "here": True, "of_several": True},
            "the Redis of this host does not answer: Connection refused",
        ),
        ("redis", {"memory": 3_900_000}, "Redis has 3.7 MB of 3.8 MB in use"),
        ("redis", {"aof": "failing"}, "Redis cannot write its data to the disk"),
        ("redis", {"role": "replica", "link": "down"}, "this Redis does not reach its primary"),
        ("fleet", {"errors": 2.0}, "2.0 requests a second end in an error"),
        ("fleet", {"restarted": 2}, "instances ended and were restarted, 2 times since this began"),
        ("fleet", {"releases": {"a": 3, "b": 1}}, "several releases run: a on 3, b on 1"),
        ("machine", {"disk": {"mount": "/", "used": 0.97, "free": 1, "of": "inodes"}}, "/ is 97% full (inodes)"),
        ("machine", {"cpu": 1.0, "load": [20.0, 1, 1]}, "all processors are busy (load 20.0 on 4 cores)"),
    ],
)
def test_each_trouble_is_told_alone(part, change, expected):
    now = snapshot()
    now[part] = {**now[part], **change}
    assert found(now) == [expected]


def test_instances_that_are_not_ready_come_first_and_few_are_named():
    bad = [instance(n, state="crashing", problem="ended with exit-code") for n in range(1, 6)]
    now = snapshot(fleet=fleet([*bad, instance(6)]))
    assert found(now) == [*(f"instance-{n} is crashing" for n in (1, 2, 3)), "2 more instances are not ready"]
    assert "no instance is ready" in found(snapshot(fleet=fleet(bad)))


@pytest.fixture
def listener():
    """Makes unix sockets that answer with given bytes, or never."""
    kept, directory = [], scratch()

    def make(name, answer):
        path = directory / name
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        kept.append(server)

        def serve():
            connection, _ = server.accept()
            kept.append(connection)
            connection.recv(1000)
            if answer is not None:
                connection.sendall(answer)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return path

    yield make
    for one in kept:
        one.close()
    shutil.rmtree(directory)


def test_a_silent_instance_costs_its_own_time_alone(listener, tmp_path):
    body = b'{"state":"ready","release":"r","uptime":1,"in_flight":0,"websockets":2,"pid":1,"requests":3,"errors":0}'
    good = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body
    paths = {
        1: listener("1", good),
        2: listener("2", None),
        3: tmp_path / "absent",
        4: listener("4", b"HTTP/1.1 500 Oops\r\n\r\n"),
        5: listener("5", b"HTTP/1.1 200 OK\r\n\r\n[]"),
    }
    answers = ask(paths, 0.5)
    assert answers[1] == Reply("ready", "r", 1.0, 0, 2, 1, 3, 0)
    assert isinstance(answers[2], SilentError)
    assert all(isinstance(answers[n], ControlError) and not isinstance(answers[n], SilentError) for n in (3, 4, 5))
