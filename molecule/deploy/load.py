"""A little load with a conscience: clients that read and write until a file appears, and what they saw, as JSON.

python load.py '{"url": ..., "email": ..., "password_file": ..., "ca": ...}' FILE
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import requests

CLIENTS = 4
PAUSE = 0.6  # two or three requests a round and client: below the 20 a second that one user has
SECONDS = 1500  # it ends by itself when nobody ends it


class Client:
    """Somebody who signs in, looks at tasks and creates some."""

    def __init__(self, site: dict[str, str]) -> None:
        self.site = site
        self.requests = 0
        self.failed: list[str] = []
        self.created: list[str] = []
        self.seconds: list[float] = []
        self.session = requests.Session()
        self.session.trust_env = False  # a CA bundle or a proxy of this machine would win over what follows
        self.session.verify = site["ca"]

    def sign_in(self) -> None:
        """Get a token of one's own."""
        password = Path(self.site["password_file"]).read_text().split()[0]
        body = {"email": self.site["email"], "password": password}
        answer = self.session.post(f"{self.site['url']}/api/auth/login", json=body, timeout=30)
        answer.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def work(self, ended: Path, deadline: float) -> None:
        """Go on until it is enough."""
        while not ended.exists() and time.monotonic() < deadline:
            title = f"Move pallet {secrets.token_hex(8)}"
            if self.ask("POST", "/api/tasks", 201, json={"title": title}):
                self.created.append(title)
            self.ask("GET", "/api/tasks?limit=5", 200)
            time.sleep(PAUSE)

    def ask(self, method: str, path: str, status: int, **body: object) -> bool:
        """Send a request and write down whether it went well."""
        self.requests += 1
        begun = time.monotonic()
        try:
            answer = self.session.request(method, self.site["url"] + path, timeout=30, **body)
        except requests.RequestException as error:
            self.failed.append(f"{time.strftime('%T')} {method} {path}: {type(error).__name__}: {error}")
            return False
        finally:
            self.seconds.append(time.monotonic() - begun)
        if answer.status_code == 401:  # an access token lives for a quarter of an hour
            self.sign_in()
            return self.ask(method, path, status, **body)
        if answer.status_code != status:
            self.failed.append(f"{time.strftime('%T')} {method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer.status_code == status

    def titles(self) -> Counter[str]:
        """Every task that there is."""
        found, after = Counter[str](), None
        while True:
            parameters = {"limit": 100, **({"after": after} if after else {})}
            page = self.session.get(f"{self.site['url']}/api/tasks", params=parameters, timeout=30).json()
            found.update(item["title"] for item in page["items"])
            after = page["next"]
            if not after:
                return found
            time.sleep(0.1)


def main(site: dict[str, str], ended: Path) -> None:
    """Run the clients and print what they saw."""
    clients = [Client(site) for _ in range(CLIENTS)]
    for client in clients:
        client.sign_in()
    deadline = time.monotonic() + SECONDS
    threads = [threading.Thread(target=client.work, args=(ended, deadline)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clients[0].sign_in()
    seen = clients[0].titles()
    created = [title for client in clients for title in client.created]
    seconds = sorted(second for client in clients for second in client.seconds)
    count = {
        "requests": sum(client.requests for client in clients),
        "failed": [line for client in clients for line in client.failed],
        "lost": sum(seen[title] == 0 for title in created),
        "doubled": sum(seen[title] > 1 for title in created),
        "p50": round(seconds[len(seconds) // 2], 3),
        "p99": round(seconds[len(seconds) * 99 // 100], 3),
        "max": round(seconds[-1], 3),
    }
    print(json.dumps(count))  # noqa: T201  the playbook reads it


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
