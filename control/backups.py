"""./hecto backup, backups and restore, and the copy of what no backup can be read without."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from control import host
from control.playbook import run_playbook
from control.progress import Failure, say, step
from control.site import ROOT, STATE, Site, load_site
from control.tools import ensure_tools

Handler = Callable[[argparse.Namespace], int]


class Alone(Protocol):
    """Keeps other runs away from a site for the length of a block."""

    def __call__(self, site: Site, *, wait: bool = True) -> AbstractContextManager[None]: ...


# Of the state directory: what cannot be made again. Logs, packages and the release's caches can.
KEPT = ("secrets", "tls", "ca", "host.json", "ssh_key", "ssh_key.pub", "known_hosts")
CIPHER = ("-aes-256-cbc", "-pbkdf2", "-iter", "600000", "-salt")


def back_up(site: Site, options: argparse.Namespace) -> None:
    """Take a backup of the database, or a copy of the secrets, or compare such a copy."""
    if options.secrets:
        save_secrets(_directory(site, options), Path(options.secrets), _passphrase(options.passphrase_file, twice=True))
        say(
            f"  The secrets are in {options.secrets}, encrypted. Keep it and its passphrase apart and off this machine."
        )
    elif options.check_secrets:
        check_secrets(_directory(site, options), Path(options.check_secrets), _passphrase(options.passphrase_file))
        say(f"  {options.check_secrets} can be read and is what is in use.")
    else:
        _ready(site)
        run_playbook("backup.yml", ["--extra-vars", json.dumps({"backup_full": options.full})], site)
        subprocess.run(host.ssh_command(site, "hecto-backup list"), check=False)


def list_backups(site: Site, *, as_json: bool) -> int:
    """Show the backups of a site."""
    host.require_running(site)
    words = f"hecto-backup list{' --json' if as_json else ''}"
    return subprocess.run(host.ssh_command(site, words), check=False).returncode


def restore(site: Site, options: argparse.Namespace) -> int:
    """Replace the database by its backups, after a question; or restore beside it, to look."""
    _ready(site)
    variables: dict[str, object] = {"backup_restore_target": options.to, "hecto_take_over": options.take_over}
    if options.beside:
        # By the name of the first host in the site's inventory.
        variables["backup_restore_host"] = "host-1" if site.is_cluster else "hecto-local"
    elif not options.yes and not _agreed(site, options.to):
        say("Nothing was changed.")
        return 1
    else:
        variables["backup_restore_confirm"] = "yes"
    run_playbook("restore.yml", ["--extra-vars", json.dumps(variables)], site)
    _show_end(site.log / "restore.log")
    return 0


def _agreed(site: Site, target: str) -> bool:
    if not sys.stdin.isatty():
        raise Failure(
            "restore replaces the database and asks first, but nobody can answer here", advice="./hecto restore --yes"
        )
    say(
        f"This replaces the database of site '{site.name}' by its backups, {target}: what was written after that is "
        "gone from it, and everybody has to sign in again. It stands still meanwhile."
    )
    return input(f"Type the name of the site ({site.name}) to go on: ").strip() == site.name


def _show_end(log: Path) -> None:
    """Print what the playbook has said last, which is what came back and how long it took."""
    _, _, said = log.read_text(errors="replace").rpartition("    msg:\n")
    for line in said.split("\n\n")[0].splitlines():
        say("  " + line.strip().removeprefix("- ").strip("'"))


def _ready(site: Site) -> None:
    ensure_tools()
    host.require_running(site)


def _directory(site: Site, options: argparse.Namespace) -> Path:
    directory = STATE / options.inventory if options.inventory else site.directory
    if not (directory / "secrets").is_dir():
        raise Failure(
            f"there are no secrets in {directory}",
            advice="name the inventory that they belong to: --inventory NAME, a directory of inventory/",
        )
    return directory


def _passphrase(file: str | None, *, twice: bool = False) -> bytes:
    """The passphrase, from the first line of a file or from a person; nobody else sees it."""
    if file:
        found = Path(file).read_text().partition("\n")[0]
    elif sys.stdin.isatty():
        found = getpass.getpass("Passphrase for the copy of the secrets: ")
        if twice and getpass.getpass("The same again: ") != found:
            raise Failure("the two passphrases differ, so nothing was written", advice="run the same command again")
    else:
        raise Failure("nobody can type a passphrase here", advice="give a file that holds it: --passphrase-file FILE")
    if len(found) < 12:
        raise Failure("the passphrase has fewer than 12 characters, and the copy holds every key of the site")
    return found.encode()


def save_secrets(directory: Path, target: Path, passphrase: bytes) -> None:
    """Write an encrypted copy of what a site cannot do without, and of the inventory that it belongs to."""
    with step(f"Encrypted copy of {directory.name}'s secrets"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, name in _files(directory):
                archive.add(path, name, recursive=False)
        fresh = target.with_name(f".{target.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as sink:
            sink.write(_openssl(packed.getvalue(), passphrase, "-e"))
        fresh.replace(target)


def check_secrets(directory: Path, copy: Path, passphrase: bytes) -> None:
    """See that a copy can be read and holds what is in use; raises Failure that names what differs."""
    with step(f"Compare {copy.name} with {directory.name}'s secrets"):
        with tarfile.open(fileobj=io.BytesIO(_openssl(copy.read_bytes(), passphrase, "-d")), mode="r:gz") as archive:
            kept = {}
            for member in archive.getmembers():
                # An inventory links what all have in common, which belongs to the sources.
                if member.issym():
                    kept[member.name] = member.linkname
                elif (content := archive.extractfile(member)) is not None:
                    kept[member.name] = hashlib.sha256(content.read()).hexdigest()
        used = {
            name: os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
            for path, name in _files(directory)
        }
        others = sorted(name for name in kept.keys() | used.keys() if kept.get(name) != used.get(name))
        if others:
            raise Failure(
                f"the copy is not what is in use: {', '.join(others)}",
                advice="make a new one: ./hecto backup --secrets FILE",
            )


def _files(directory: Path) -> list[tuple[Path, str]]:
    """What belongs into a copy: files, and their names in it."""
    found = [path for name in KEPT for path in _below(directory / name)]
    inventory = ROOT / "inventory" / directory.name
    return [
        *((path, f"state/{path.relative_to(directory)}") for path in found),
        *((path, f"inventory/{path.relative_to(inventory)}") for path in _below(inventory)),
    ]


def _below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def _openssl(content: bytes, passphrase: bytes, direction: str) -> bytes:
    """Encrypt or decrypt; the passphrase goes over a pipe of its own, so that no list of processes shows it."""
    reader, writer = os.pipe()
    try:
        os.write(writer, passphrase + b"\n")
        os.close(writer)
        words = ["openssl", "enc", direction, *CIPHER, "-pass", f"fd:{reader}"]
        done = subprocess.run(words, input=content, capture_output=True, check=False, pass_fds=(reader,))
    finally:
        os.close(reader)
    if done.returncode != 0:
        raise Failure(
            "openssl cannot read the copy: the passphrase is another one, or the file is damaged"
            if direction == "-d"
            else f"openssl cannot encrypt: {done.stderr.decode(errors='replace').strip()}"
        )
    return done.stdout


def register(command: Callable[[str, Handler, str], argparse.ArgumentParser], alone: Alone) -> None:
    """Add the commands to the command line; `command` makes one, `alone` keeps other runs away from a site."""

    def run_backup(options: argparse.Namespace) -> int:
        site = load_site()
        # A copy of keys is in nobody's way.
        with nullcontext() if options.secrets or options.check_secrets else alone(site, wait=False):
            back_up(site, options)
        return 0

    def run_restore(options: argparse.Namespace) -> int:
        site = load_site()
        with alone(site, wait=False):
            return restore(site, options)

    one = command("backup", run_backup, "take a backup of the database; or keep an encrypted copy of the secrets")
    one.add_argument("--full", action="store_true", help="everything, not what has changed")
    one.add_argument("--secrets", metavar="FILE", help="write an encrypted copy of the keys of a site, no backup")
    one.add_argument("--check-secrets", metavar="FILE", help="compare such a copy with what is in use")
    one.add_argument("--passphrase-file", metavar="FILE", help="its passphrase, where nobody can be asked for it")
    one.add_argument("--inventory", metavar="NAME", help="whose keys, of inventory/NAME (default: this site's)")
    one = command("backups", lambda options: list_backups(load_site(), as_json=options.json), "show the backups")
    one.add_argument("--json", action="store_true", help="for programs")
    one = command("restore", run_restore, "replace the database by its backups; asks first")
    one.add_argument(
        "--to",
        default="latest",
        metavar="TIME",
        help="a point in time, such as '2026-11-29 10:00:00+00' (default: latest)",
    )
    one.add_argument("--beside", action="store_true", help="restore beside the database, to look; nothing is replaced")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one.add_argument("--take-over", action="store_true", help="end the claim of another run that is known to be dead")
