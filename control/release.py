"""Releases: one immutable archive with all that a host needs to run the product, named by what went into it.

It is built inside a container of the suite's own image at the path where it will live, so hosts unpack it and need
neither a compiler nor a package index, and their PostgreSQL driver uses the distribution's libpq with its security
updates.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from control import packages
from control.assets import BUILT, ensure_assets, fingerprint, sources
from control.image import build_image, ensure_build_image
from control.podman import limit_options, podman
from control.progress import Step
from control.shell import as_root, locked, output, run
from control.site import CACHE, CHECKOUT, ROOT

APP = ROOT / "app"
RECIPE = Path(__file__).with_name("release.sh")
KEPT = 5  # archives a suite: enough to go back a few steps without a build; a host keeps its own unpacked ones
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Release:
    """A built archive; its id is the hash of the product's sources, its pins, the build recipe and the image."""

    id: str
    artifact: str
    suite: str
    built: bool


def release_id(suite: str) -> str:
    """The name that a release of the present sources has."""
    return fingerprint([*sources(APP), RECIPE], build_image(suite))[:12]


def ensure_release(suite: str, step: Step) -> Release:
    """Build the release of the present sources, unless it is there."""
    with locked(CACHE / "lock" / f"release-{suite}", "builds a release"):
        name = release_id(suite)
        artifact = _directory(suite) / f"hecto-{name}.tar.zst"
        if artifact.exists():
            artifact.touch()  # what is used is kept
            return Release(name, str(artifact), suite, built=False)
        packages.install(packages.for_hosts() + packages.for_releases())
        step.note("browser's scripts and styles")
        ensure_assets(step)
        step.note("build image")
        image = ensure_build_image(suite)
        step.note("Python packages")
        _build(name, suite, image, artifact)
        _prune(_directory(suite))
    return Release(name, str(artifact), suite, built=True)


def as_json(release: Release) -> dict[str, object]:
    """A release as the playbook reads it."""
    return asdict(release)


def _build(name: str, suite: str, image: str, artifact: Path) -> None:
    staging = artifact.with_name(f".building-{name}")
    output(as_root(["rm", "-rf", staging]))
    source = staging / "source"
    shutil.copytree(
        APP, source, ignore=shutil.ignore_patterns("node_modules", "frontend", "__pycache__", "*.egg-info", "build")
    )
    shutil.copytree(BUILT, source / "hecto" / "static" / "dist", dirs_exist_ok=True)
    wheels = CACHE / "wheels" / f"{suite}-{fingerprint([APP / 'requirements.txt'], build_image(suite))[:12]}"
    wheels.mkdir(parents=True, exist_ok=True)
    version = tomllib.loads((APP / "pyproject.toml").read_text())["project"]["version"]
    command = podman(
        "run",
        *limit_options(),
        "--rm",
        "--replace",
        f"--name=hecto-release-{suite}-{CHECKOUT}",
        "--network=host",
        f"--volume={staging}:/build",
        f"--volume={wheels}:/wheels",
        f"--volume={RECIPE}:/release.sh:ro",
        f"--env=RELEASE={name}",
        f"--env=SUITE={suite}",
        f"--env=VERSION={version}",
        f"--env=BUILT_AT={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        *_package_index(),
        image,
        "/bin/sh",
        "/release.sh",
    )
    log = CACHE / "log" / f"release-{suite}.log"
    run(
        command,
        log=log,
        advice="a package that cannot be fetched: this machine's pip configuration, proxies and CA are passed on",
    )
    built = staging / "release.tar.zst"
    # It was root in the container: whoever builds here must be able to mark the archive as used later.
    output(as_root(["chown", f"{os.getuid()}:{os.getgid()}", built]))
    built.replace(artifact)
    output(as_root(["rm", "-rf", staging]))


def _package_index() -> list[str]:
    """How pip reaches its index here: this machine's certificates, proxies and pip configuration for the container."""
    options = [
        f"--env={name}"
        for name in os.environ
        if name.lower() in ("http_proxy", "https_proxy", "no_proxy") or name.startswith("PIP_")
    ]
    bundle = next((path for name in ("PIP_CERT", "SSL_CERT_FILE") if (path := os.environ.get(name))), CA_BUNDLE)
    if Path(bundle).is_file():
        options += [
            f"--volume={bundle}:/ca.crt:ro",
            *(f"--env={name}=/ca.crt" for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")),
        ]
    for inside, outside in (
        ("/etc/pip.conf", Path("/etc/pip.conf")),
        ("/root/.config/pip/pip.conf", Path.home() / ".config/pip/pip.conf"),
    ):
        if outside.is_file():
            options.append(f"--volume={outside}:{inside}:ro")
    return options


def _directory(suite: str) -> Path:
    directory = CACHE / "releases" / suite
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _prune(directory: Path) -> None:
    newest_first = sorted(directory.glob("*.tar.zst"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in newest_first[KEPT:]:
        old.unlink()
