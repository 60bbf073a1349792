"""What the role postgres writes about passwords and networks is what PostgreSQL understands."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from tests.plugins import load

filters = load("roles/postgres/filter_plugins/postgres.py")


def test_verifier_is_the_same_for_the_same_password() -> None:
    verifier = filters.postgres_scram("correct horse battery", "seed")
    assert verifier == filters.postgres_scram("correct horse battery", "seed")
    assert verifier != filters.postgres_scram("correct horse batterz", "seed")
    assert verifier != filters.postgres_scram("correct horse battery", "seeds")


def test_verifier_lets_the_password_in() -> None:
    """The check that a server makes of a client's proof (RFC 5802, section 3)."""
    _, parameters, keys = filters.postgres_scram("correct horse battery", "seed").split("$")
    iterations, salt = parameters.split(":")
    stored_key, server_key = (base64.b64decode(key) for key in keys.split(":"))
    salted = hashlib.pbkdf2_hmac("sha256", b"correct horse battery", base64.b64decode(salt), int(iterations))
    conversation = b"n=,r=1,r=12,s=salt,i=4096,c=biws,r=12"
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(stored_key, conversation, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    recovered = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(recovered).digest() == stored_key
    assert hmac.digest(salted, b"Server Key", "sha256") == server_key


@pytest.mark.parametrize("password", ["", "short", "with\nline break in it", "Größe ist nicht ASCII"])
def test_a_password_that_would_not_work_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="at least 12 characters"):
        filters.postgres_scram(password, "seed")


def test_networks() -> None:
    assert filters.postgres_networks(["10.0.0.0/24", "fd00::/64", "192.0.2.7"]) == [
        "10.0.0.0/24",
        "fd00::/64",
        "192.0.2.7/32",
    ]
    for wrong in ("10.0.0.0/99", "10.0.0.1/24", "everybody"):
        with pytest.raises(ValueError, match="postgres_client_networks"):
            filters.postgres_networks([wrong])
