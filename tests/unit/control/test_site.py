"""Which site a command means, and what is refused before anything is touched."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from control import host, site
from control.progress import Failure


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(site, "STATE", tmp_path)
    for name in ("NAME", "SUITE", "INSTANCES", "HTTPS_PORT", "HTTP_PORT", "SSH_PORT"):
        monkeypatch.delenv(f"HECTO_{name}", raising=False)
    return tmp_path


def test_a_new_site_has_the_documented_defaults() -> None:
    found = site.load_site()
    assert (found.name, found.container, found.suite, found.instances) == ("local", "hecto-local", "trixie", 4)
    assert (found.https_port, found.http_port, found.ssh_port) == (8443, 8080, 2222)


def test_a_saved_site_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    monkeypatch.setenv("HECTO_NAME", "second")
    monkeypatch.setenv("HECTO_HTTPS_PORT", "9443")
    monkeypatch.setenv("HECTO_SUITE", "bookworm")
    made = site.load_site()
    made.save()
    assert json.loads((state / "second" / "host.json").read_text())["https_port"] == 9443
    for name in ("HTTPS_PORT", "SUITE"):
        monkeypatch.delenv(f"HECTO_{name}")
    assert site.load_site() == made


@pytest.mark.parametrize("content", ['{"name": "local", "https_po', "", "[]", '{"https_port": 8443, "http_port": "x"}'])
def test_a_damaged_file_is_named_and_how_to_go_on(content: str, state: Path) -> None:
    file = state / "local" / "host.json"
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(Failure, match="damaged") as caught:
        site.load_site()
    assert str(file) in caught.value.what
    assert f"rm {file} && ./hecto destroy" in caught.value.advice


def test_an_interrupted_save_leaves_the_site_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    made = site.load_site()
    made.save()

    def half(self: Path, text: str) -> None:
        self.open("w").write(text[:20])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        replace(made, instances=7).save()
    assert site.load_site() == made


def test_port_zero_means_any_free_port_and_then_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS", "HTTP", "SSH"):
        monkeypatch.setenv(f"HECTO_{name}_PORT", "0")
    made = site.load_site()
    assert made.https_port > 0
    made.save()
    assert site.load_site() == made


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HECTO_NAME", "Not A Name"),
        ("HECTO_NAME", "../elsewhere"),
        ("HECTO_NAME", "cache"),
        ("HECTO_NAME", "single"),
        ("HECTO_SUITE", "sid"),
        ("HECTO_INSTANCES", "0"),
        ("HECTO_INSTANCES", "many"),
        ("HECTO_HTTPS_PORT", "65536"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Failure) as caught:
        site.load_site()
    assert variable in caught.value.what
    assert value in caught.value.what
    assert caught.value.advice


def test_a_number_of_instances_is_remembered_when_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTO_INSTANCES", "900")
    site.load_site().save_host()
    monkeypatch.delenv("HECTO_INSTANCES")
    assert site.load_site().instances == 4
    replace(site.load_site(), instances=7).save()
    monkeypatch.setenv("HECTO_INSTANCES", "900")
    site.load_site().save_host()
    monkeypatch.delenv("HECTO_INSTANCES")
    assert site.load_site().instances == 7


def test_sites_of_inventories_have_a_directory_of_their_own() -> None:
    for inventory in (site.ROOT / "inventory").glob("*/group_vars/all/site.yml"):
        if inventory.parts[-4] in ("local", "local-cluster"):
            continue
        directory = yaml.safe_load(inventory.read_text())["hecto_state_directory"]
        # A copy of it must not share passwords with what it is a copy of.
        assert directory.endswith("/.hecto/{{ inventory_dir | basename }}")


@pytest.mark.parametrize(("variable", "value"), [("HECTO_SSH_PORT", "2223"), ("HECTO_SUITE", "bookworm")])
def test_a_host_does_not_change_what_it_was_made_with(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    site.load_site().save()
    monkeypatch.setenv(variable, value)
    with pytest.raises(Failure, match=variable):
        site.load_site()


def test_a_taken_port_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("HECTO_HTTP_PORT", str(port))
        for name in ("HTTPS", "SSH"):
            monkeypatch.setenv(f"HECTO_{name}_PORT", "0")
        with pytest.raises(Failure) as caught:
            host.require_free_ports(site.load_site())
    assert str(port) in caught.value.what
    assert "HECTO_HTTP_PORT" in caught.value.advice


class Bound(socket.socket):
    """A socket of somebody who may not bind to what root may."""

    def bind(self, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", address)


def test_a_port_that_is_kept_for_root_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """podman is root and may have it, unless somebody listens there."""
    for name in ("HTTPS", "HTTP", "SSH"):
        monkeypatch.setenv(f"HECTO_{name}_PORT", "0")
    found = site.load_site()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", found.http_port))
        monkeypatch.setattr(host.socket, "socket", Bound)
        host.require_free_ports(found)
        taken.listen()
        with pytest.raises(Failure, match=f"port {found.http_port} .* in use"):
            host.require_free_ports(found)


def test_two_equal_ports_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTO_HTTP_PORT", "8443")
    with pytest.raises(Failure, match="HECTO_HTTPS_PORT and HECTO_HTTP_PORT are both 8443") as caught:
        site.load_site()
    assert "HECTO_HTTP_PORT=PORT" in caught.value.advice


@pytest.mark.parametrize(
    ("work", "advice"),
    [
        (host.stop_hosts, "./hecto down"),
        (host.remove_hosts, "./hecto destroy"),
        (host.ensure_hosts, "podman logs --tail=30 hecto-local"),
    ],
    ids=["stop", "remove", "start"],
)
def test_a_container_that_does_not_obey_comes_with_advice(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[site.Site], object], advice: str
) -> None:
    found = site.load_site()
    found.save()
    monkeypatch.setattr(host, "podman_command", lambda *_: ["false"])
    monkeypatch.setattr(host, "require_free_ports", lambda _: None)
    stopped = {"State": {"Running": False}, "Config": {"Labels": None}}
    monkeypatch.setattr(host.podman, "inspect", lambda _: stopped)
    with pytest.raises(Failure) as caught:
        work(found)
    assert advice in caught.value.advice


def test_a_cluster_has_hosts_with_addresses_of_their_own() -> None:
    replace(site.load_site(size=3), network="10.89.7").save()
    found = site.load_site()
    assert (found.is_cluster, found.instances, found.url) == (True, 2, "https://10.89.7.101")
    assert [(one.container, one.address, one.ssh_port) for one in found.hosts] == [
        ("hecto-local-1", "10.89.7.11", 22),
        ("hecto-local-2", "10.89.7.12", 22),
        ("hecto-local-3", "10.89.7.13", 22),
    ]
    assert found.inventory.name == "local-cluster"


def test_a_site_of_one_host_does_not_become_a_cluster() -> None:
    site.load_site().save()
    with pytest.raises(Failure, match="has 1 host") as caught:
        site.load_site(size=3)
    assert "HECTO_NAME=" in caught.value.advice
