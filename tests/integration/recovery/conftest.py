"""A fleet of two instances, clients that move between them, and what makes them move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Client
from tests.integration.recovery.clients import NodeClient, NodeClients
from tests.integration.recovery.fleet import Edge, Fleet
from tests.servers import Site


@pytest.fixture(scope="session")
def fleet(site: Site) -> Iterator[Fleet]:
    found = Fleet(site)
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def nothing_goes_wrong_inside(fleet: Fleet) -> Iterator[None]:
    """Whatever happens to an instance, it is prepared for it."""
    before = fleet.tracebacks()
    yield
    new = [each for each in fleet.tracebacks() if each not in before]
    assert not new, new[0][:5000]


@pytest.fixture(scope="session")
def edge(directory: Path, fleet: Fleet) -> Iterator[Edge]:
    found = Edge(directory / "edge", fleet)
    yield found
    found.stop()


@pytest.fixture
def member(fleet: Fleet) -> Client:
    """Somebody new, signed in, whose room nobody else is in."""
    return fleet.member()


@pytest.fixture
def token(member: Client) -> str:
    return str(member.headers["Authorization"])[7:]


@pytest.fixture
def room(member: Client) -> str:
    """The room that every socket of the member is in."""
    return f"user:{member.user_id}"


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[NodeClients]:
    found = NodeClients(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def connect(fleet: Fleet, clients: NodeClients, token: str) -> Callable[..., NodeClient]:
    """Connect a client of the member to an instance, the first one unless told otherwise."""

    def connected(*transports: str, at: int = 0, **options: object) -> NodeClient:
        return clients.connected(fleet.urls[at], token, *transports, **options)

    return connected


@pytest.fixture
def client(connect: Callable[..., NodeClient]) -> NodeClient:
    """A client of the member at the first instance."""
    return connect()
