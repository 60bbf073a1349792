"""Are the secrets on a host those of the inventory: by their hashes, so that nobody sees one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any


def other_secrets(lines: Iterable[str], secrets: Mapping[str, str]) -> list[str]:
    """Names of the files, from the output of sha256sum, that hold none of these secrets; other lines are left alone."""
    known = {hashlib.sha256(str(value).encode()).hexdigest() for value in secrets.values()}
    found = (line.split(maxsplit=1) for line in lines if "/secrets/" in line)
    return sorted(PurePosixPath(path).name for digest, path in found if digest not in known)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as playbooks use them."""
        return {"hecto_other_secrets": other_secrets}
