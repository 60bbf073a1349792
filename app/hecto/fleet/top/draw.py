"""A snapshot as lines of a terminal: what is wrong, then the host, its instances, PostgreSQL, Redis."""

import time
from collections import Counter
from typing import Any, NamedTuple

from hecto.fleet.top.words import one_line, percent, rate, seconds, size
from hecto.fleet.words import duration

Snapshot = dict[str, Any]
PLAIN, STRONG, QUIET, WRONG, GOOD, HEAD = "", "1", "2", "1;31", "32", "7"
# At most so many problems, and never fewer instances than this, however small the terminal.
PROBLEMS, ROWS = 4, 3
INSTANCE = "instance-"
_COLUMNS = "{:<12} {:<8} {:<12} {:>7} {:>5} {:>5} {:>3} {:>4} {:>4} {:>6} {:>3}"


class Span(NamedTuple):
    """A piece of a line in one style."""

    text: str
    style: str = PLAIN


Line = list[Span]


def frame(now: Snapshot, width: int, height: int) -> list[Line]:
    """What fits into the terminal: the list of instances grows and shrinks with it."""
    above = [_title(now, width), *problems(now["problems"]), machine(now["machine"])]
    below = [*postgres(now.get("postgres")), *redis(now.get("redis"))]
    room = height - len(above) - len(below)
    return [*above, *fleet(now.get("fleet"), room), *below][:height]


def whole(now: Snapshot, width: int) -> list[Line]:
    """Everything, for a pipe, whose reader scrolls."""
    return frame(now, width, 10_000)


def paint(line: Line, width: int, colour: bool) -> str:
    """A line as text, cut to the width."""
    parts, left = [], width
    for text, style in line:
        shown = text[:left]
        left -= len(shown)
        parts.append(f"\033[{style}m{shown}\033[0m" if colour and style and shown else shown)
    return "".join(parts).rstrip(" ")


def _title(now: Snapshot, width: int) -> Line:
    fleet_now = now.get("fleet") or {}
    left = f" {now['host']}  release {fleet_now.get('release') or 'none'}"
    if now.get("nginx"):
        left += f"  nginx {now['nginx']['connections']} connections"
    right = f"{time.strftime('%H:%M:%S', time.gmtime(now['at']))} UTC  q quits "
    return [Span(left.ljust(max(0, width - len(right))) + right, HEAD)]


def problems(found: list[dict[str, str]], most: int = PROBLEMS) -> list[Line]:
    """The worst ones, one a line."""
    if not found:
        return [[Span(" Nothing is wrong that can be seen from here.", GOOD)]]
    shown = found if len(found) <= most else found[: most - 1]
    lines = [
        [Span(" ! " + ": ".join(filter(None, [one.get("host"), one["what"]])), WRONG), Span(f": {one['means']}")]
        for one in shown
    ]
    if len(found) > len(shown):
        lines.append([Span(f" ! and {len(found) - len(shown)} more problems", WRONG)])
    return lines


def machine(now: dict[str, Any]) -> Line:
    """Load, memory, disk."""
    memory, disk = now["memory"], now["disk"]
    load = " ".join(f"{one:.1f}" for one in now["load"])
    text = f"load {load}  cpu {percent(now['cpu'])}/{now['cores']}"
    text += f"  mem {size(memory['total'] - memory['available'])} of {size(memory['total'])}"
    text += f"  disk {disk['mount']} {percent(disk['used'])}" if disk else ""
    return [Span(" host     ", STRONG), Span(text)]


def fleet(now: dict[str, Any] | None, room: int) -> list[Line]:
    """The sums, and the instances that use the most of a processor; those that need somebody come first."""
    if now is None:
        return [[Span(" fleet    ", STRONG), Span("no instances on this host", QUIET)]]
    line = [Span(" fleet    ", STRONG), *fleet_sums(now)]
    if not now["instances"]:
        return [line]
    rows = sorted(now["instances"], key=lambda row: (row["state"] == "ready", -(row["cpu"] or 0), row["number"]))
    most = max(ROWS, room - 2)
    shown = rows if len(rows) <= most else rows[: max(1, most - 1)]
    titles = ("instance", "state", "release", "up", "req/s", "err/s", "now", "ws", "cpu", "memory", "rst")
    lines = [line, [Span(" " + _COLUMNS.format(*titles), QUIET)]]
    lines += [[Span(" " + _instance(row), PLAIN if row["state"] == "ready" else WRONG)] for row in shown]
    if len(rows) > len(shown):
        lines.append([Span(f" and {len(rows) - len(shown)} more, less busy", QUIET)])
    return lines


def fleet_sums(now: dict[str, Any]) -> Line:
    """What all instances do together."""
    ready = now["ready"] == now["wanted"]
    others = ", ".join(f"{count} {state}" for state, count in now["states"].items() if state != "ready")
    text = f"  {rate(now['requests'])} req/s  {rate(now['errors'])} err/s  {now['in_flight']} now"
    text += f"  {now['websockets']} ws  cpu {percent(now['cpu'])}  {size(now['memory'])}  {now['restarts']} rst"
    state = f"{now['ready']} of {now['wanted']} ready" + (f", {others}" if others else "")
    return [Span(state, GOOD if ready else WRONG), Span(text)]


def _instance(row: dict[str, Any]) -> str:
    return _COLUMNS.format(
        row["name"],
        row["state"],
        row["release"] or "-",
        "-" if row["uptime"] is None else duration(row["uptime"]),
        rate(row["requests"]),
        rate(row["errors"]),
        "-" if row["in_flight"] is None else row["in_flight"],
        "-" if row["websockets"] is None else row["websockets"],
        percent(row["cpu"]),
        size(row["memory"]),
        row["restarts"],
    )


def postgres(now: dict[str, Any] | None) -> list[Line]:
    """Connections, what it does, who holds it up."""
    name = Span(" postgres ", STRONG)
    if now is None:
        return [[name, Span("not on this host", QUIET)]]
    if now["state"] != "up":
        return [[name, Span(f"{now['state']}: {one_line(now['why'])}", WRONG)]]
    used = sum(group["count"] for group in now["sessions"])
    role = f"replica, {seconds(now['behind'])} behind" if now["replica"] else "primary"
    text = f"{now['version']} {role}  {used} of {now['most_connections']} connections"
    text += f"  {rate(now['transactions'])} tx/s  hit {percent(now['hit_share'])}  {size(now['size'])}"
    pool = f"  pools of {now['pool']}" if now.get("pool") else ""
    lines = [[name, Span(text)], _detail("sessions", f"{_states(now)}{pool}  {_by_who(now)}")]
    for label, one in (("oldest tx", now["transaction"]), ("query", now["query"])):
        if one:
            text = f"{one['who']} {seconds(one['seconds'])} {one['state']}: {one_line(one['text'])}"
            lines.append(_detail(label, text))
    for waiter in now["waiting"][:2]:
        holders = ", ".join(f"{one['who']} {one['pid']}" for one in waiter["blocked_by"])
        text = f"{waiter['who']} {seconds(waiter['seconds'])} for {holders}: {one_line(waiter['text'])}"
        lines.append(_detail("waits", text, WRONG))
    for replica in now["replicas"][:3]:
        behind = f"{seconds(replica['seconds'])}, {size(replica['bytes'])} behind"
        lines.append(_detail("replica", f"{replica['who']} {replica['state']} {replica['sync']}, {behind}"))
    return lines + [_slow(one) for one in now["slow"] or []]


def _slow(one: dict[str, Any]) -> Line:
    return _detail("costly", f"{seconds(one['mean'])} x {one['calls']}: {one_line(one['text'])}")


def _detail(label: str, text: str, style: str = PLAIN) -> Line:
    return [Span(f"   {label:<10}", QUIET), Span(text, style)]


def _states(now: dict[str, Any]) -> str:
    counts = sorted(_counts(now, "state").items())
    return ", ".join(f"{count} {state.replace('in transaction', 'in tx')}" for state, count in counts) or "none"


def _by_who(now: dict[str, Any]) -> str:
    """Instances by their numbers alone, or a line would hold but a few: instances 1:4 2:4 3:2  psql 1."""
    counts = sorted(_counts(now, "who").items(), key=lambda pair: (-pair[1], len(pair[0]), pair[0]))
    instances = [f"{who.removeprefix(INSTANCE)}:{count}" for who, count in counts if who.startswith(INSTANCE)]
    others = [f"{who} {count}" for who, count in counts if not who.startswith(INSTANCE)]
    return "  ".join([*others, *([" ".join(["instances", *instances])] if instances else [])]) or "nobody"


def _counts(now: dict[str, Any], key: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for group in now["sessions"]:
        counts[group[key]] += group["count"]
    return counts


def redis(now: dict[str, Any] | None) -> list[Line]:
    """Role, memory, what it does."""
    name = Span(" redis    ", STRONG)
    if now is None:
        return [[name, Span("not on this host", QUIET)]]
    if now["state"] != "up":
        return [[name, Span(f"{now['state']}: {one_line(now['why'])}", WRONG)]]
    role = f"replica (link {now['link']})" if now["role"] == "replica" else f"primary, {now['replicas']} replicas"
    most = f" of {size(now['most_memory'])}" if now["most_memory"] else ""
    text = f"{now['version']} {role}  {now['clients']} clients  {rate(now['operations'])} ops/s"
    text += f"  {size(now['memory'])}{most}"
    return [
        [name, Span(text)],
        _detail(
            "keys", f"{percent(now['hit'])} found  {now['rejected']} clients rejected  append-only file {now['aof']}"
        ),
    ]
