"""Runs on a host, as root: prints what its parts say of themselves, as JSON.

Standard input has the host's address and Redis' password.
"""

import json
import socket
import ssl
import subprocess
import sys
import urllib.request

TLS = "/etc/hecto/tls/"
REDIS = "/run/redis/redis-server.sock"
SECONDS = 4


def said(*words):
    """What a program prints; nothing where there is no such program or it takes too long."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def answer(url, body=None):
    """What a service of this host answers to who has the host's certificate."""
    try:
        context = ssl.create_default_context(cafile=TLS + "ca.crt")
        context.load_cert_chain(TLS + "host.crt", TLS + "host.key")
        with urllib.request.urlopen(url, body, SECONDS, context=context) as reply:  # noqa: S310  our own address
            return json.load(reply)
    except (OSError, ValueError):
        return None


def redis(password):
    """Redis' word on replication."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SECONDS)
            line.connect(REDIS)
            line.sendall(f"AUTH admin {password}\r\nINFO replication\r\nQUIT\r\n".encode())
            text = b"".join(iter(lambda: line.recv(65536), b"")).decode()
    except OSError:
        return None
    return dict(row.split(":", 1) for row in text.splitlines() if ":" in row)


def health(number):
    """What an instance says of what it needs; nothing where it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SECONDS)
            line.connect(f"/run/hecto/{number}.sock")
            line.sendall(b"GET /api/health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            text = b"".join(iter(lambda: line.recv(65536), b"")).partition(b"\r\n\r\n")[2]
        return json.loads(text)["status"]
    except (OSError, ValueError, LookupError):
        return ""


def main():
    """Look, and print what was seen."""
    given = json.load(sys.stdin)
    fleet = said("/usr/local/sbin/hecto-fleet", "status", "--json")
    query = "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END"
    psql = ("runuser", "-u", "postgres", "--", "psql", "-XAtc")
    units = said("systemctl", "--failed", "--plain", "--no-legend").splitlines()
    addresses = json.loads(said("ip", "-j", "address") or "[]")
    fleet = json.loads(fleet) if fleet.startswith("{") else {}
    found = {
        "fleet": fleet,
        "health": {one["name"]: health(one["number"]) for one in fleet.get("instances", ()) if one["wanted"]},
        "database": said(*psql, query),
        "patroni": answer(f"https://{given['address']}:8008/cluster"),
        "etcd": answer("https://127.0.0.1:2379/v3/maintenance/status", b"{}"),
        "redis": redis(given["redis_password"]),
        "addresses": [one.get("local") for link in addresses for one in link["addr_info"]],
        "failed_units": [row.split()[0] for row in units if row],
    }
    json.dump(found, sys.stdout)


main()
