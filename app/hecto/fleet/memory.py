"""What an instance costs in memory."""

import re
from pathlib import Path

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def of_process_tree(pid: int) -> int | None:
    """The proportional memory of a process and its descendants in bytes: pages shared by n processes count 1/n each."""
    if pid <= 0:
        return None
    sizes = [size for member in _tree(pid) if (size := _pss(member)) is not None]
    return sum(sizes) if sizes else None


def _tree(pid: int) -> list[int]:
    members = [pid]
    for member in members:
        try:
            for task in Path(f"/proc/{member}/task").iterdir():
                members += [int(child) for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return members


def _pss(pid: int) -> int | None:
    try:
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return int(found[1]) * 1024 if found else None
