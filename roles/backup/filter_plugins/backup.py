"""Which files of a host are not as they should be: found in one look, however many there are."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_DIFFERS = """\
[ "$(stat --format='%a %U %G' {path} 2>/dev/null)" = {owner} ] &&
    [ "$(sha256sum < {path})" = {digest} ] || echo {path}"""


def differing(files: Iterable[Mapping[str, Any]]) -> str:
    """Shell script that prints the path of every file that is missing or has another content, mode, owner or group.

    path, text: of a file. mode: as stat shows it, such as 644. group: root by default, as the owner always is.
    """
    return "\n".join(
        _DIFFERS.format(
            path=shlex.quote(file["path"]),
            owner=shlex.quote(f"{file['mode']} root {file.get('group', 'root')}"),
            digest=shlex.quote(f"{hashlib.sha256(file['text'].encode()).hexdigest()}  -"),
        )
        for file in files
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as the role uses them."""
        return {"hecto_differing": differing}
