"""Passwords, random secrets and signed access tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

import argon2
import gevent
import jwt
from gevent.lock import BoundedSemaphore

from hecto.core import clock
from hecto.core.errors import Unauthenticated

ACCESS_TOKEN_LIFE = timedelta(minutes=15)

# RFC 9106, second recommended option, with 19 MiB as OWASP's password storage cheat sheet has it: a sign-in costs
# about 50 ms of one core, and a hundred instances may each be computing one.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Against a user that does not exist, so that the time of an answer does not tell who has an account. It is the hash of
# nothing, made up because computing one would take every start of an instance 30 ms.
_NOBODY = "$argon2id$v=19$m={0.memory_cost},t={0.time_cost},p={0.parallelism}${1}${2}".format(
    _hasher, *(base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
)
# What random_secret gives, the first half of it as the id of the session.
_SESSION_VALUE = re.compile(r"([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})")
# Hashing holds a core: more than two at a time would only slow down everything else in this process.
_hashing = BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """The argon2id hash of a password, computed beside the event loop."""
    with _hashing:
        return str(gevent.get_hub().threadpool.apply(_hasher.hash, (password,)))


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the right one; takes as long when there is no such user (``None``)."""
    with _hashing:
        return bool(gevent.get_hub().threadpool.apply(_verify, (password_hash, password)))


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        return _hasher.verify(password_hash or _NOBODY, password) and password_hash is not None
    except argon2.exceptions.VerificationError:
        return False


def random_secret() -> str:
    """256 random bits, safe in a URL and in a cookie."""
    return secrets.token_urlsafe(32)


def session_parts(value: str) -> tuple[str, str] | None:
    """The session id and the secret in a cookie or a refresh token; None for what was never made here."""
    found = _SESSION_VALUE.fullmatch(value)
    return (found[1], found[2]) if found else None


def digest(secret: str) -> str:
    """What is stored of a random secret. It has enough entropy to need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a valid access token says: whose it is and by which sign-in."""

    user_id: int
    session_id: str
    expires: int


class Tokens:
    """Signs and checks access tokens (JWT, HS256) and the CSRF tokens of browser sessions."""

    # Checking a signature costs more than all else that a cached read does; a client sends the same token for minutes.
    REMEMBERED = 4096

    def __init__(self, secret_key: str) -> None:
        self._access_key = _derive(secret_key, "access token")
        self._csrf_key = _derive(secret_key, "csrf token")
        self._refresh_key = _derive(secret_key, "refresh token")
        self._body_key = _derive(secret_key, "request body")
        self._checked: OrderedDict[str, AccessToken] = OrderedDict()

    def issue(self, user_id: int, session_id: str) -> str:
        """A signed access token, good for ACCESS_TOKEN_LIFE while its session lives."""
        issued = clock.now()
        claims = {"sub": str(user_id), "sid": session_id, "iat": issued, "exp": issued + ACCESS_TOKEN_LIFE}
        return jwt.encode(claims, self._access_key, algorithm="HS256")

    def check(self, token: str) -> AccessToken:
        """What the token says; raises Unauthenticated when it is forged, malformed or too old."""
        known = self._checked.get(token)
        if known is None:
            known = self._decode(token)
            self._checked[token] = known
            if len(self._checked) > self.REMEMBERED:
                self._checked.popitem(last=False)
        if known.expires <= clock.now().timestamp():
            raise Unauthenticated("The access token is too old. Get a new one at /api/auth/refresh.")
        return known

    def _decode(self, token: str) -> AccessToken:
        try:
            # Its end is looked at each time that it comes. Of its beginning the clocks of two hosts may disagree.
            claims = jwt.decode(
                token,
                self._access_key,
                algorithms=["HS256"],
                options={"require": ["sub", "sid", "exp"], "verify_exp": False, "verify_iat": False},
            )
            return AccessToken(int(claims["sub"]), str(claims["sid"]), int(claims["exp"]))
        except (jwt.InvalidTokenError, ValueError) as error:
            raise Unauthenticated("The access token is not one of ours. Sign in at /api/auth/login.") from error

    def refresh_secret(self, session_id: str, follows: str | None = None) -> str:
        """The secret of a refresh token: a fresh one, or the only one that follows another, however often it is asked.

        Its second half seals the first, so that a token of ours is known from one that was made up.
        """
        first = secrets.token_bytes(16) if follows is None else self._refresh_mac("next", session_id, follows.encode())
        made = first + self._refresh_mac("seal", session_id, first)
        return base64.urlsafe_b64encode(made).decode().rstrip("=")

    def is_refresh_secret(self, session_id: str, secret: str) -> bool:
        """Whether the secret was once given out for this session."""
        made = base64.urlsafe_b64decode(secret + "=")
        return hmac.compare_digest(made[16:], self._refresh_mac("seal", session_id, made[:16]))

    def _refresh_mac(self, purpose: str, session_id: str, content: bytes) -> bytes:
        return hmac.new(self._refresh_key, f"{purpose}:{session_id}:".encode() + content, "sha256").digest()[:16]

    def body_digest(self, body: bytes) -> bytes:
        """What is stored of a request's body. It may hold a password, which a plain digest would let one guess."""
        return hmac.new(self._body_key, body, "sha256").digest()

    def csrf(self, session_id: str) -> str:
        """The CSRF token of a browser session: derived, so nothing needs to be stored."""
        return hmac.new(self._csrf_key, session_id.encode(), "sha256").hexdigest()


def _derive(secret_key: str, purpose: str) -> bytes:
    """One key a purpose out of the site's secret, so that a token for one is never good for another."""
    return hmac.new(secret_key.encode(), purpose.encode(), "sha256").digest()
