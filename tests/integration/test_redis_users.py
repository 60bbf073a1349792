"""What each user of Redis may ask, by the role's own template and a server that reads it."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.servers import PASSWORD, REPOSITORY, scratch, stop, wait_until

# What the exporter of Debian 13 asks with each scrape, with the options that role exporters gives it.
EXPORTER = (
    "PING",
    "CLIENT SETNAME redis_exporter",
    "INFO ALL",
    "SLOWLOG LEN",
    "SLOWLOG GET 1",
    "LATENCY LATEST",
    "LATENCY HISTOGRAM",
)


@pytest.fixture(scope="module")
def ask():
    """Asks a server that runs with the users of a watched site."""
    directory = scratch()
    world = Environment(  # noqa: S701  it writes no pages
        loader=FileSystemLoader(REPOSITORY / "roles/redis/templates"), undefined=StrictUndefined, trim_blocks=True
    )
    world.filters["hash"] = lambda text, kind: hashlib.new(kind, text.encode()).hexdigest()
    passwords = {f"redis_{name}_password": PASSWORD for name in ("app", "admin", "monitor")}
    users = world.get_template("users.acl.j2").render(
        **passwords, __redis_is_cluster=False, __redis_is_replicated=False
    )
    (directory / "users.acl").write_text(users)
    words = [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        directory / "redis.sock",
        "--aclfile",
        directory / "users.acl",
        "--save",
        "",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=directory)

    def run(user: str, command: str) -> str:
        words = ["redis-cli", "-s", directory / "redis.sock", "--user", user, "--pass", PASSWORD, "--no-auth-warning"]
        return subprocess.run([*words, *command.split()], text=True, capture_output=True, check=False).stdout.strip()

    wait_until(lambda: run("admin", "PING") == "PONG", "Redis", process)
    yield run
    stop(process)


def test_the_exporter_may_ask_all_that_it_asks(ask) -> None:
    ask("admin", "ACL LOG RESET")
    for command in EXPORTER:
        assert "NOPERM" not in ask("monitor", command), command
    assert ask("admin", "ACL LOG") == ""


@pytest.mark.parametrize(
    "command", ["GET a", "KEYS *", "CONFIG GET *", "CLIENT LIST", "SLOWLOG RESET", "MONITOR", "ACL LOG"]
)
def test_and_nothing_else(ask, command: str) -> None:
    assert ask("monitor", command).startswith("NOPERM")
