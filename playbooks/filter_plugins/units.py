"""Commands about packages, directories and systemd units that several roles run on a host, to look before they act."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# systemd only warns of a misspelt directive and goes on without it, which may be a missing protection. The file is put
# into a directory that comes before systemd's own, so it counts as it will, together with the rest of its unit. That a
# program is not there is no fault of a file: an instance has none before its first release.
_CHECK = """\
set -e; command -v systemd-analyze >/dev/null;
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT; install -D -m 644 "$0" "$d/{place}";
said=$(SYSTEMD_UNIT_PATH="$d:" systemd-analyze verify --man=no --recursive-errors=no {unit} 2>&1 |
    grep -e "^$d/" -e "^{unit}:" | grep -v "is not executable") || true;
[ -z "$said" ] || {{ echo "$said" >&2; exit 1; }}"""

# The time when a unit last changed its state, to the microsecond, and in UTC, which find understands anywhere.
_STALE = """\
since=$(systemctl show {unit} --property={since} --value --timestamp=us+utc)
if [ -n "$since" ] && find {files} -newerct "$since" 2>/dev/null | grep -q .; then echo {name}; fi"""


def unit_check(unit: str, *, drop_in: bool = True) -> str:
    """Command for `validate:` of a template: would systemd take this file as the unit's, or as a drop-in of it?"""
    place = f"{unit}.d/hecto.conf" if drop_in else unit
    return f"sh -c {shlex.quote(' '.join(_CHECK.format(place=place, unit=unit).split()))} %s"


def stale(units: Iterable[Mapping[str, Any]]) -> str:
    """Shell script that prints the name of every entry whose files are newer than what its unit has taken over.

    What a run writes, it notifies a handler of; but a run that was cut in between has forgotten, while files have not.
    name: what is printed. unit: whose time counts. files: what it reads.
    reload: whether a reload is enough for it to read them; otherwise only a start counts.
    """
    return "\n".join(
        _STALE.format(
            name=shlex.quote(entry["name"]),
            unit=shlex.quote(entry["unit"]),
            since="StateChangeTimestamp" if entry.get("reload") else "ActiveEnterTimestamp",
            files=shlex.join(entry["files"]),
        )
        for entry in units
    )


def absent(packages: Iterable[str]) -> str:
    """Shell script that prints `packages` unless all of them are installed.

    dpkg answers in milliseconds; Ansible's module takes a second, each time, to read all that apt knows.
    """
    asked = f"dpkg-query --show --showformat='${{db:Status-Status}}\\n' {shlex.join(packages)} 2>&1"
    return f"if {asked} | grep -qvxF installed; then echo packages; fi"


def lacking(directories: Iterable[str]) -> str:
    """Shell script that prints `directories` unless all of them are there."""
    return f'for path in {shlex.join(directories)}; do [ -d "$path" ] || echo directories; done'


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as roles use them."""
        return {
            "hecto_unit_check": unit_check,
            "hecto_stale": stale,
            "hecto_absent": absent,
            "hecto_lacking": lacking,
        }
