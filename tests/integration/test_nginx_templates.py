"""nginx accepts what the role writes, at the limits of what an inventory may ask for."""

from __future__ import annotations

import getpass
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/nginx"
SAID = "{'names': __nginx_alternative_names, 'fits': __nginx_key_fits, 'due': __nginx_site_due}"
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "vars": {
            "said": "{{ {'names': __nginx_alternative_names, 'fits': __nginx_key_fits, 'due': __nginx_site_due} }}"
        },
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(ROLE / "templates/nginx.conf.j2"),
                    "dest": "{{ playbook_dir }}/nginx.conf",
                    "mode": "0644",
                }
            },
            {
                "ansible.builtin.copy": {
                    "content": "{{ said }}",
                    "dest": "{{ playbook_dir }}/certificate.json",
                    "mode": "0644",
                }
            },
        ],
    }
]


def certificate(directory: Path, name: str) -> None:
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 100 -subj /CN=test"
    files = ["-keyout", directory / f"{name}.key", "-out", directory / f"{name}.crt"]
    subprocess.run([*words.split(), *files], check=True, capture_output=True)


def render(directory: Path, host: str = "localhost", **variables: Any) -> tuple[str, dict[str, Any]]:
    """The configuration, and what is said of the certificate. Every nginx reads bookworm's form of HTTP/2."""
    (directory / "play.json").write_text(json.dumps(PLAY))
    values = {
        "ansible_facts": {"distribution_release": "bookworm"},
        "ansible_managed": "Ansible managed",
        "ansible_python_interpreter": sys.executable,
        "nginx_tls": "files",
        "nginx_tls_certificate": str(directory / "site.crt"),
        "nginx_tls_key": str(directory / "site.key"),
        "nginx_tls_directory": str(directory),
        **variables,
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", f"{host},", "-c", "local",
         "-e", json.dumps(values), directory / "play.json"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return (directory / "nginx.conf").read_text(), json.loads((directory / "certificate.json").read_text())


def place(directory: Path, text: str) -> Path:
    """Write the configuration so that nginx needs nothing outside of the directory."""
    for path, other in (
        ("/etc/nginx/hecto.pem;\nssl_certificate_key", f"{directory}/site.crt;\nssl_certificate_key"),
        ("/etc/nginx/hecto.pem", f"{directory}/site.key"),
        ("/var/log/nginx", str(directory)),
        ("unix:/dev/log", f"unix:{directory}/log"),
        ("/run/nginx.pid", f"{directory}/nginx.pid"),
        ("/run/hecto", str(directory)),
        ("/opt/hecto", str(directory)),
    ):
        text = text.replace(path.replace("\n", "\n    "), other.replace("\n", "\n    "))
    file = directory / "checked.conf"
    file.write_text(text)
    return file


def nginx(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nginx", "-e", file.with_name("error.log"), "-c", file, *options],
        env={"PATH": "/usr/sbin:/usr/bin"}, text=True, capture_output=True, check=False,
    )  # fmt: skip


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Path]:
    """The socket of an nginx as the role configures it, all of whose instances are away."""
    certificate(tmp_path, "site")
    text = render(
        tmp_path,
        nginx_public_url="https://127.0.0.1:18443",
        nginx_http_port=18080,
        nginx_https_port=18443,
        nginx_ipv6=False,
        nginx_workers=1,
    )[0]
    for port in (18443, 18080):
        text = text.replace(f"listen {port}", f"listen unix:{tmp_path}/{port}.sock")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "app.js").touch()
    # The directory is of whoever runs this.
    file = place(tmp_path, text.replace("user www-data;", f"user {getpass.getuser()};"))
    done = nginx(file)
    assert done.returncode == 0, done.stderr
    yield tmp_path / "18443.sock"
    done = nginx(file, "-s", "stop")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def named(tmp_path: Path) -> Iterator[None]:
    """An instance that knows who asks, as number 7."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "1.sock"))
        listener.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Hecto-User: 7\r\n\r\nok")

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def connected(edge: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(edge))
        yield connection


def answered(connection: socket.socket, head: str) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer to a request that is sent as it stands."""
    connection.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer, answer.read()


HOST = "Host: 127.0.0.1"
PROBLEMS = {
    "no request": ("GET / HTTP/1.1\r\nHost: a b\r\nHost: c", 400),
    "no path": ("GET  HTTP/1.1", 400),
    "a long address": (f"GET /api/tasks?q={'x' * 9000} HTTP/1.1\r\n{HOST}", 414),
    "a long header": (f"GET /api/tasks HTTP/1.1\r\n{HOST}\r\nCookie: {'x' * 9000}", 431),
    "an unknown encoding": (f"POST /api/tasks HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: best", 501),
    "another version": (f"GET / HTTP/3.1\r\n{HOST}", 505),
    "what is for the host alone": (f"GET /metrics HTTP/1.1\r\n{HOST}", 404),
    "a missing asset": (f"GET /static/none.js HTTP/1.1\r\n{HOST}", 404),
    "a directory": (f"GET /static/ HTTP/1.1\r\n{HOST}", 404),
    "a write to an asset": (f"POST /static/app.js HTTP/1.1\r\n{HOST}\r\nContent-Length: 0", 405),
    "the address of a problem": (f"GET /hecto-problem/400 HTTP/1.1\r\n{HOST}", 404),
    "too large a body": (f"POST /api/tasks HTTP/1.1\r\n{HOST}\r\nContent-Length: 9000000", 413),
    "another name": ("GET /api/tasks HTTP/1.1\r\nHost: other.example", 421),
    "no instance": (f"GET /api/tasks HTTP/1.1\r\n{HOST}", 503),
}


def test_what_nginx_refuses_is_a_problem_too(edge: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, (head, status) in PROBLEMS.items():
        with connected(edge) as plain, context.wrap_socket(plain) as connection:
            answer, body = answered(connection, head)
        assert (answer.status, answer.getheader("Content-Type")) == (status, "application/problem+json"), name
        problem = json.loads(body)
        assert problem["status"] == status, name
        assert problem["request_id"] == answer.getheader("X-Request-ID"), name
        assert problem["title"], name
        assert problem["detail"].endswith("."), name


def test_the_line_of_a_request_names_its_user_whom_nobody_else_hears_of(named: None, edge: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # What JSON has to escape, bytes that are no text, and as much of both as nginx takes.
    path = "/api/" + '%22%5C%0A"' + "%ff" * 2000 + "x" * 1900
    with connected(edge) as plain, context.wrap_socket(plain) as connection:
        answer, _ = answered(connection, f"GET {path}?q=secret HTTP/1.1\r\n{HOST}")
    assert answer.status == 200
    assert answer.getheader("X-Hecto-User") is None
    log = edge.with_name("access.json")
    wait_until(lambda: log.stat().st_size > 0, "the line of the request")
    # Bytes that are no text pass as they are; who reads them replaces them.
    said = log.read_text(errors="replace")
    found = json.loads(said)
    assert (found["user"], found["request_id"]) == ("7", answer.getheader("X-Request-ID"))
    assert found["status"] == 200
    assert found["path"].endswith("x" * 1900)
    assert "secret" not in said


def test_who_leaves_out_the_s_of_https_is_led_to_it(edge: Path) -> None:
    with connected(edge) as connection:
        answer, _ = answered(connection, "GET /tasks?q=bolts HTTP/1.1\r\nHost: 127.0.0.1:18443")
    assert (answer.status, answer.getheader("Location")) == (308, "https://127.0.0.1:18443/tasks?q=bolts")


def test_a_thousand_instances_and_names_of_every_kind(tmp_path: Path) -> None:
    certificate(tmp_path, "site")
    text, said = render(
        tmp_path,
        nginx_instances=999,
        nginx_public_url="https://[fd00::7]:18443",
        nginx_names=["2001:db8::1", "[2001:db8::2]", "192.0.2.7", "erp.example.com"],
        nginx_http_port=18080,
        nginx_https_port=18443,
        nginx_ipv6=False,
    )
    assert said["fits"] is True
    assert "server_name [fd00::7] [2001:db8::1] [2001:db8::2] 192.0.2.7 erp.example.com;" in text
    assert {"IP:fd00::7", "IP:2001:db8::1", "IP:2001:db8::2", "IP:192.0.2.7", "DNS:erp.example.com"} <= set(
        said["names"]
    )
    file = place(tmp_path, text)
    done = nginx(file, "-t", "-q")
    assert done.returncode == 0, done.stderr
    # No name has to be resolved: those that a variable holds are of upstreams.
    words = [Path(sys.executable).with_name("gixy"), "--skips", "missing_resolver", file]
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_thousand_instances_and_hosts_of_every_kind(tmp_path: Path) -> None:
    """An edge that has instances as well."""
    certificate(tmp_path, "site")
    names = ["app1", "app-2.example.com", *(f"app{number}" for number in range(3, 33))]
    text, _ = render(
        tmp_path,
        "app-2.example.com",
        __nginx_tls=str(tmp_path),
        nginx_layers=["edge", "inner"],
        nginx_app_hosts=[{"name": name, "address": f"fd00::{number}"} for number, name in enumerate(names, 1)],
        nginx_edge_names=names[:2],
        nginx_monitoring_names=names,
        nginx_peer_addresses=["fd00::1"],
        nginx_inner_address="127.0.0.1",
        nginx_instances=999,
        nginx_http_port=18080,
        nginx_https_port=18443,
        nginx_inner_port=18444,
        nginx_ipv6=False,
        nginx_slow_paths=["/reports/"],
    )
    for name in ("host.crt", "ca.crt"):
        shutil.copy(tmp_path / "site.crt", tmp_path / name)
    shutil.copy(tmp_path / "site.key", tmp_path / "host.key")
    file = place(tmp_path, text)
    done = nginx(file, "-t", "-q")
    assert done.returncode == 0, done.stderr
    # Names that a variable holds are of upstreams, and one is an address of this host.
    words = [Path(sys.executable).with_name("gixy"), "--skips", "missing_resolver", file]
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_key_of_another_certificate_is_seen_and_the_local_authority_makes_a_new_pair(tmp_path: Path) -> None:
    certificate(tmp_path, "site")
    certificate(tmp_path, "other")
    (tmp_path / "other.key").replace(tmp_path / "site.key")
    shutil.copy(tmp_path / "site.crt", tmp_path / "ca.crt")
    said = render(tmp_path, nginx_tls="local_ca")[1]
    assert said["fits"] is False
    assert said["due"] is True
