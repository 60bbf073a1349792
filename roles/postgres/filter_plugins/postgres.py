"""Filters that put values into PostgreSQL's own notation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from typing import Any

ITERATIONS = 4096  # PostgreSQL's own number; a client that logs in repeats the work, once for each connection


def postgres_scram(password: str, seed: str) -> str:
    """The SCRAM-SHA-256 verifier of `password` (RFC 5802 and 7677), in PostgreSQL's notation.

    PostgreSQL draws a new salt whenever it is given a password, so nobody can see whether it is the same one. Here the
    salt comes from `seed`, which is random and secret but stays the same: the same password gives the same verifier.
    """
    if not password.isascii() or not password.isprintable() or len(password) < 12:
        raise ValueError(
            "a database password must have at least 12 characters, all printable ASCII: "
            "make a new one, or delete its secret file and run again"
        )
    salt = hashlib.sha256(seed.encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    return f"SCRAM-SHA-256${ITERATIONS}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def postgres_networks(networks: list[str]) -> list[str]:
    """Write networks as pg_hba.conf does; a wrong one in that file would keep the server from its next start."""
    try:
        return [str(ipaddress.ip_network(network)) for network in networks]
    except ValueError as error:
        raise ValueError(
            f"postgres_client_networks: {error}; write networks such as 10.0.0.0/24 or fd00::/64"
        ) from None


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as templates use them."""
        return {"postgres_scram": postgres_scram, "postgres_networks": postgres_networks}
