"""What edges and app hosts believe of each other, and of everybody else."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from requests.adapters import HTTPAdapter

from tests.integration.edge.certificates import Authority
from tests.integration.edge.cluster import Cluster, Person
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, wait_until


class From(HTTPAdapter):
    """A client with an address of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments: object, **options: object) -> None:
        super().init_poolmanager(*arguments, source_address=(self.address, 0), **options)  # type: ignore[misc]


def test_the_key_of_a_request_is_the_edge_s_own(person):
    claimed = {"X-Request-Key": "mine", "X-Request-ID": "mine"}
    first, second = (person.post("/api/tasks", json={"title": "keyed"}, headers=claimed) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    assert "Idempotency-Replayed" not in second.headers
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert "mine" not in (first.headers["X-Request-ID"], second.headers["X-Request-ID"])


def test_a_key_that_an_edge_gave_is_kept_by_the_inner_server(cluster, token):
    edge = cluster.directory / "lb1" / "tls"
    headers = {"Authorization": token, "X-Request-Key": "ignored", "X-Request-ID": "0123456789abcdef"}
    answers = [cluster.tell("app1", "/api/tasks", {"title": "a repeat"}, edge, **headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert {answer.headers["X-Request-ID"] for answer in answers} == {"0123456789abcdef"}


def test_a_problem_has_the_id_that_the_client_is_told(person):
    for path in ("/api/nothing", "/static/none.js", "/metrics"):
        answer = person.get(path)
        assert answer.status_code == 404
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"], path


def test_an_inner_server_serves_edges_alone(cluster: Cluster, tmp_path: Path):
    assert cluster.knock("app1", "/api/me", cluster.directory / "lb2" / "tls").status_code == 401
    nobody = cluster.knock("app1", "/api/me")
    assert (nobody.status_code, "No required SSL certificate" in nobody.text) == (400, True)
    # Longer names, and parts of names, are others.
    for name in ("app2", "lb", "lb11", "xlb1", "lb1.example", "mon1"):
        answer = cluster.knock("app1", "/api/me", cluster.authority.issue(tmp_path / name, name, "127.0.0.9", ["lb"]))
        assert (answer.status_code, "edges of the site" in answer.text) == (403, True), name
    forged = Authority().issue(tmp_path / "forged", "lb1", "127.0.0.9", ["lb"])
    assert cluster.knock("app1", "/api/me", forged).status_code == 400


def test_an_inner_server_listens_on_its_address_alone(cluster: Cluster):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.9", cluster.inner_port), 5)


def test_an_edge_believes_no_host_that_is_not_for_the_app(cluster: Cluster, person: Person):
    tls = cluster.directory / "app2" / "tls"
    cluster.authority.issue(tls, "app2", "127.0.0.3", ["redis"])
    try:
        cluster.hosts[1].nginx.reload()
        said = cluster.edges[0].directory / "error.log"
        wait_until(
            lambda: bool(person.get("/api/me").ok) and "upstream SSL certificate does not match" in said.read_text(),
            "a connection that was refused",
        )
        assert person.served_by() == {"app1"}
    finally:
        cluster.authority.issue(tls, "app2", "127.0.0.3", ["app"])
        cluster.hosts[1].nginx.reload()
        wait_until(lambda: person.served_by() == {"app1", "app2"}, "both hosts again")


def test_the_address_of_a_client_arrives(cluster: Cluster, site):
    person = cluster.person()
    person.mount("https://", From("127.0.0.77"))
    person.headers.update({"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.2", "Forwarded": "for=192.0.2.3"})
    person.sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
    assert site.redis.ask("EXISTS", "login:address:127.0.0.77").strip() == "1"
    assert site.redis.ask("KEYS", "login:address:192*").strip() == ""

    def logged() -> set[str]:
        lines = [json.loads(line) for host in cluster.hosts for line in host.nginx.log().splitlines()]
        return {line["remote"] for line in lines if line["path"] == "/api/auth/login"}

    wait_until(lambda: "127.0.0.77" in logged(), "a line in the log of an app host", seconds=5)
    assert not logged() & {"127.0.0.4", "192.0.2.1", "192.0.2.2"}


def test_metrics_of_an_instance_are_for_monitoring(cluster: Cluster, person: Person, tmp_path: Path):
    monitoring = cluster.authority.issue(tmp_path / "mon1", "mon1", "127.0.0.9", ["monitoring"])
    for number, instance in enumerate(cluster.hosts[0].instances, 1):
        answer = cluster.knock("app1", f"/internal/metrics/{number}", monitoring)
        assert answer.status_code == 200
        assert f'hecto_info{{instance="app1/instance-{instance.number}"' in answer.text
    for path in (
        "/internal/metrics/3",
        "/internal/metrics/432",
        "/internal/metrics/x",
        "/internal/",
        "/internal/metrics/1/2",
    ):
        assert cluster.knock("app1", path, monitoring).status_code == 404, path
    edge = cluster.directory / "lb1" / "tls"
    for path in ("/internal/metrics/1", "//internal/metrics/1", "/x/../internal/metrics/1", "/%69nternal/metrics/1"):
        assert cluster.knock("app1", path, edge).status_code == 403, path
        assert person.get(path).status_code == 404, path
    assert cluster.knock("app1", "/metrics", edge).status_code == 404


def test_a_file_that_one_host_has_is_found_at_once(cluster: Cluster, person: Person):
    static = cluster.directory / "app2" / "static"
    static.mkdir(exist_ok=True)
    (static / "app.0123abcd.js").write_text("newer")
    for _ in range(20):
        answer = person.get("/static/app.0123abcd.js")
        assert (answer.status_code, answer.text) == (200, "newer")
        assert "immutable" in answer.headers["Cache-Control"]
    assert person.get("/static/app.none.js").status_code == 404
    # A host that lacks it has not failed.
    assert person.served_by() == {"app1", "app2"}


def test_a_file_is_found_when_its_host_has_just_failed(cluster: Cluster, person: Person):
    directory = cluster.directory / "app2" / "static"
    directory.mkdir(exist_ok=True)
    (directory / "app.4567.js").write_text("newest")
    cluster.hosts[1].drain()
    try:
        # The host is put aside because none of its instances took a request.
        assert person.served_by() == {"app1"}
        answers = [person.get("/static/app.4567.js") for _ in range(10)]
    finally:
        cluster.hosts[1].resume()
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "newest")}
    wait_until(lambda: person.served_by() == {"app1", "app2"}, "both hosts again")
