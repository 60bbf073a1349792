"""Somebody who writes while the database is lost, and afterwards compares what came back with what was promised.

python load.py write SITE FILE         tasks, each with the time of its answer into FILE, until one is refused for long
python load.py compare SITE FILE LOST  what of that is there; LOST is when the database was lost. Says it as JSON.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path

import requests

PAUSE = 0.2
PATIENCE = 5  # seconds without a good answer: by then the database is gone
SECONDS = 600
PROMISED = 60  # seconds: what was acknowledged longer before the loss must be there


class Client:
    """A user of the API."""

    def __init__(self, site: dict[str, str]) -> None:
        self.site = site
        self.session = requests.Session()
        self.session.trust_env = False  # a CA bundle or a proxy of this machine would win over what follows
        self.session.verify = site["ca"]
        password = Path(site["password_file"]).read_text().split()[0]
        body = {"email": site["email"], "password": password}
        answer = self.session.post(f"{site['url']}/api/auth/login", json=body, timeout=30)
        answer.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def write(self, file: Path) -> None:
        """Create tasks and write down each one that was acknowledged."""
        good, end = time.monotonic(), time.monotonic() + SECONDS
        with file.open("w") as sink:
            while time.monotonic() < min(end, good + PATIENCE):
                title = f"Weigh crate {secrets.token_hex(8)}"
                try:
                    answer = self.session.post(f"{self.site['url']}/api/tasks", json={"title": title}, timeout=3)
                except requests.RequestException:
                    continue
                if answer.status_code == 201:
                    good = time.monotonic()
                    line = {"title": title, "id": answer.json()["id"], "at": time.time()}
                    sink.write(json.dumps(line) + "\n")
                    sink.flush()
                time.sleep(PAUSE)

    def tasks(self) -> dict[int, str]:
        """Every task that there is."""
        found: dict[int, str] = {}
        after = None
        while True:
            parameters = {"limit": 100, **({"after": after} if after else {})}
            answer = self.session.get(f"{self.site['url']}/api/tasks", params=parameters, timeout=30)
            answer.raise_for_status()
            found |= {item["id"]: item["title"] for item in answer.json()["items"]}
            after = answer.json()["next"]
            if not after:
                return found
            time.sleep(0.06)  # below what one user may ask


def compare(client: Client, file: Path, lost: float) -> dict[str, object]:
    """What was acknowledged against what is there."""
    said = [json.loads(line) for line in file.read_text().splitlines()]
    there = client.tasks()
    missing = [line for line in said if there.get(line["id"]) != line["title"]]
    kept = [line["at"] for line in said if there.get(line["id"]) == line["title"]]
    return {
        "acknowledged": len(said),
        "there": len(kept),
        "missing": len(missing),
        "missing_though_promised": [line for line in missing if line["at"] < lost - PROMISED],
        "seconds_lost": round(lost - max(kept, default=0.0), 1),
        # A log is a prefix: nothing may be missing before something that is there.
        "holes": sum(line["at"] < max(kept, default=0.0) for line in missing),
        "seconds_written": round(said[-1]["at"] - said[0]["at"], 1),
    }


if __name__ == "__main__":
    user = Client(json.loads(sys.argv[2]))
    if sys.argv[1] == "write":
        user.write(Path(sys.argv[3]))
    else:
        print(json.dumps(compare(user, Path(sys.argv[3]), float(sys.argv[4]))))  # noqa: T201  the playbook reads it
