"""Permissions: declared by modules with a label for people, granted through roles, required by routes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Granted to administrators instead of a list, so that a permission that a later release adds is theirs at once.
EVERYTHING = "*"

# What a route says that needs no permission of its own. They are markers, never stored in a role.
PUBLIC = "public"
SIGNED_IN = "signed-in"
# Of a route that ends sign-ins: where the one it comes by has ended already, all is as it was asked for.
SIGNING_OUT = "signing-out"
# Of a route that ends all sign-ins of its user, the one it comes by, too: only a repeat may come by one that has ended.
SIGNING_OUT_EVERYWHERE = "signing-out-everywhere"
MARKERS = (PUBLIC, SIGNED_IN, SIGNING_OUT, SIGNING_OUT_EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the user behind a request or a socket, and the sign-in it came by."""

    id: int
    name: str
    email: str
    permissions: frozenset[str]
    session_id: str
    # When the sign-in runs out, in seconds since 1970.
    ends: float = math.inf

    def may(self, permission: str) -> bool:
        """Whether one of this user's roles grants the permission."""
        return permission in self.permissions or EVERYTHING in self.permissions


def system() -> Actor:
    """The actor of what Hecto itself does, with every permission."""
    return Actor(0, "Hecto", "", frozenset({EVERYTHING}), "")


class Registry:
    """Every permission of the installed modules."""

    def __init__(self) -> None:
        self.labels: dict[str, str] = {}

    def declare(self, permissions: dict[str, str]) -> None:
        """Make permissions known, each with its label."""
        self.labels.update(permissions)

    def check(self, permission: str, where: str) -> None:
        """Raise LookupError for a route that requires what no module declares: a mistake stops the start."""
        if permission not in MARKERS and permission not in self.labels:
            raise LookupError(f"{where} requires the permission {permission!r}, which no module declares")

    def unknown(self, permissions: Iterable[str]) -> set[str]:
        """Those of the permissions that no module declares."""
        return {permission for permission in permissions if permission not in self.labels and permission != EVERYTHING}
