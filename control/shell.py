"""Run other programs: their output goes to a log, a failure says what it was."""

from __future__ import annotations

import fcntl
import functools
import getpass
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from control.progress import Failure, say, tail, undisturbed
from control.site import ROOT, STATE

Command = Sequence[str | Path]
# How this machine reaches the network, beside PIP_*. sudo hands none of it on by itself: apt, mmdebstrap, pip need it.
NETWORK = (
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("ssl_cert_file", "requests_ca_bundle", "curl_ca_bundle"),
)
# What a command says that knows nothing better.
AGAIN = "mend what is said above; then run the same command again, it goes on where it stopped"


def as_root(command: Command) -> list[str]:
    """The command with sudo in front where we are not root: images, containers and packages need it."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        return words
    if shutil.which("sudo") is None:
        raise Failure(
            f"'{words[0]}' needs root and sudo is not installed",
            advice="run ./hecto as root, or install and set up sudo",
        )
    _authenticate()
    kept = sorted(name for name in os.environ if name.lower() in NETWORK or name.startswith("PIP_"))
    return ["sudo", *([f"--preserve-env={','.join(kept)}"] if kept else []), *words]


@functools.cache
def _authenticate() -> None:
    """Let sudo ask for its password once, before anything runs: later nobody sees its question, or can answer it."""
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return
    advice = "run ./hecto in a terminal; where a playbook builds the release, run ./hecto release there before it"
    try:
        with open("/dev/tty"):  # where sudo asks, whatever stdin is
            pass
    except OSError:
        raise Failure("sudo wants a password, and nobody can type one here", advice=advice) from None
    with undisturbed():
        say("  sudo asks for your password: packages, images and containers need root.")
        if subprocess.run(["sudo", "-v"], check=False).returncode != 0:
            raise Failure("sudo refuses", advice="run ./hecto as root, or as a user who may use sudo")


def output(
    command: Command, *, stdin: str | None = None, env: Mapping[str, str] | None = None, advice: str = AGAIN
) -> str:
    """Run a short command and return what it printed, without the trailing newline."""
    done = attempt(command, stdin=stdin, env=env)
    if done.returncode != 0:
        raise Failure(
            f"'{_shown(command)}' failed with exit code {done.returncode}",
            advice=advice,
            tail=(done.stderr or done.stdout).strip(),
        )
    return done.stdout.rstrip("\n")


def attempt(
    command: Command, *, stdin: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short command whose failure is an answer too."""
    try:
        return subprocess.run(
            [str(word) for word in command],
            input=stdin,
            env=_environment(env),
            text=True,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise _missing(command) from None


def run(
    command: Command,
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    advice: str = "",
    watch: Callable[[str], None] | None = None,
) -> None:
    """Run a long command with its output in a log; `watch` sees each line as it comes."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as sink:
        sink.write(f"$ {_shown(command)}\n")
        sink.flush()
        try:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=cwd,
                env=_environment(env),
            )
        except FileNotFoundError:
            raise _missing(command) from None
        try:
            for line in process.stdout or ():
                sink.write(line)
                sink.flush()
                if watch:
                    watch(line.rstrip("\n"))
            code = process.wait()
        except BaseException:
            _end(process)
            raise
    if code != 0:
        raise Failure(f"'{_shown(command)}' failed with exit code {code}", advice=advice, log=log, tail=tail(log))


def _missing(command: Command) -> Failure:
    return Failure(
        f"the program '{command[0]}' is not installed, or not on PATH",
        advice="./hecto up installs what it needs; otherwise install it, then run the same command again",
    )


def _end(process: subprocess.Popen[str]) -> None:
    """End a program. One that sudo runs is root's, who must end it; Ctrl-C in a terminal has reached it by itself."""
    try:
        process.terminate()
    except PermissionError:
        subprocess.run(["sudo", "-n", "kill", str(process.pid)], capture_output=True, check=False)
    process.wait()


@contextmanager
def locked(path: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, so that two runs do not undo each other; the second waits and says so, or is refused."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except PermissionError as error:
        raise denied(error) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "it began this very moment"
            if not wait:
                raise Failure(
                    f"another hecto {what}: {holder}",
                    advice="nothing was changed; wait until it has ended, then run the same command again",
                ) from None
            say(f"  waiting: another hecto {what} at this moment ({holder})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.truncate(0)
        handle.write(f"{getpass.getuser()} since {datetime.now().astimezone():%H:%M:%S}, process {os.getpid()}\n")
        handle.flush()
        yield


def denied(error: OSError) -> Failure:
    """What to say where the system refuses a file or anything else, which no step has expected."""
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, PermissionError):
        return Failure(
            f"{what}. It belongs to somebody else, as all does that ./hecto makes when it is run with sudo",
            advice="run ./hecto the same way again, or make it yours: "
            f"sudo chown -R {getpass.getuser()}: {STATE} {ROOT / '.venv'}",
        )
    return Failure(
        f"the system refuses something that is needed here: {what}",
        advice="look whether the disk is full or what it names is in the way; then run the same command again, "
        "it goes on where it stopped",
    )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(extra or {})}


def _shown(command: Command) -> str:
    words = " ".join(str(word) for word in command)
    return words if len(words) <= 100 else words[:97] + "..."
