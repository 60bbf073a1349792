"""Where things are on a host, and the links that say which release an instance runs."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

RELEASE_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Layout:
    """The host's directories; tests give others."""

    home: Path = Path("/opt/hecto")
    run: Path = Path("/run/hecto")
    state: Path = Path("/var/lib/hecto")
    config: Path = Path("/etc/hecto")
    credentials: Path = Path("/run/credentials")
    # Not inside `run`: that directory belongs to the instances' user, who could put a link in a lock's place.
    lock: Path = Path("/run/hecto-fleet.lock")
    log: Path = Path("/var/log/hecto")

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    @property
    def static(self) -> Path:
        return self.home / "static"

    @property
    def current(self) -> Path:
        return self.home / "current"

    @property
    def pins(self) -> Path:
        return self.state / "pins"

    @property
    def environment(self) -> Path:
        return self.config / "hecto.env"

    @property
    def secrets(self) -> Path:
        return self.config / "secrets"

    @property
    def fleet_state(self) -> Path:
        return self.state / "fleet.json"

    @property
    def history(self) -> Path:
        return self.log / "fleet.log"

    def release(self, release_id: str) -> Path:
        return self.releases / release_id

    def control(self, number: int) -> Path:
        return self.run / "control" / f"{number}.sock"

    def current_release(self) -> str | None:
        """The release of the CLI and of instances to come."""
        return link_target(self.current)

    def pin_of(self, number: int) -> str | None:
        """The release that instance `number` runs at its next start."""
        return link_target(self.pins / str(number))

    def pin(self, number: int, release_id: str) -> None:
        """Bind an instance to a release: whatever restarts it, it comes back on this one."""
        move_link(self.pins / str(number), self.release(release_id))

    def unpin(self, number: int) -> None:
        (self.pins / str(number)).unlink(missing_ok=True)

    def hold(self, number: int) -> None:
        """Have an instance take no traffic when it starts."""
        self.unhold(number)
        # The directory belongs to the instances' user, so a link there must not lead root elsewhere.
        os.close(os.open(self._hold(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))

    def unhold(self, number: int) -> None:
        """Have an instance take traffic as soon as it has started; one that is held already stays so."""
        self._hold(number).unlink(missing_ok=True)

    def is_on_hold(self, number: int) -> bool:
        return self._hold(number).exists()

    def _hold(self, number: int) -> Path:
        return self.run / "control" / f"{number}.hold"

    def pinned(self) -> dict[int, str]:
        """Every pin on the host."""
        if not self.pins.is_dir():
            return {}
        links = {int(path.name): link_target(path) for path in self.pins.iterdir() if path.name.isdigit()}
        return {number: release for number, release in links.items() if release}


def link_target(link: Path) -> str | None:
    """The name of the release a link leads to, also when that release is gone."""
    try:
        return Path(os.readlink(link)).name
    except FileNotFoundError:
        return None


def move_link(link: Path, target: Path) -> bool:
    """Point `link` at `target` in one step: nobody ever finds it missing. True when it moved."""
    if link.is_symlink() and Path(os.readlink(link)) == target:
        return False
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.replace(fresh, link)
    return True
