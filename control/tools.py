"""The pinned tools of the control machine: the virtual environment .venv and what lives in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from control import packages
from control.progress import step
from control.shell import locked, run
from control.site import CACHE, ROOT

VENV = ROOT / ".venv"
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "app" / "requirements.txt")
STAMP = VENV / "made-from"


def ensure_tools() -> None:
    """Make .venv, or make it anew when a pin or the Python version has changed."""
    wanted = _fingerprint()
    with locked(CACHE / "lock" / "tools", "installs the tools"):
        if STAMP.exists() and STAMP.read_text() == wanted:
            return
        packages.install(packages.for_tools())
        log = CACHE / "log" / "tools.log"
        advice = "look whether pip reaches its package index from here; its configuration and PIP_* are honoured"
        with step("Tools: Ansible, linters, test runners (.venv)") as current:
            if not _made_by_this_python():
                shutil.rmtree(VENV, ignore_errors=True)
                run([sys.executable, "-m", "venv", VENV], log=log)
            files = [word for file in REQUIREMENTS[:1] for word in ("-r", file)]
            run(
                [VENV / "bin" / "pip", "install", "--disable-pip-version-check", *files],
                log=log,
                advice=advice,
                watch=current.note,
            )
            STAMP.write_text(wanted)


def tool(name: str) -> Path:
    """The path of a tool in .venv."""
    return VENV / "bin" / name


def environment() -> dict[str, str]:
    """The environment for Ansible and its friends: they find each other on PATH, and ansible.cfg where it is."""
    return {
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "PYTHONUNBUFFERED": "1",
    }


def _made_by_this_python() -> bool:
    config = VENV / "pyvenv.cfg"
    version = ".".join(str(part) for part in sys.version_info[:3])
    return config.exists() and tool("pip").exists() and f"version = {version}" in config.read_text()


def _fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in REQUIREMENTS:
        digest.update(file.read_bytes())
    return digest.hexdigest()
