"""nginx accepts what the role writes, at the limits of what an inventory may ask for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/nginx"
SAID = "{'names': __nginx_alternative_names, 'fits': __nginx_key_fits, 'due': __nginx_site_due}"
PLAY = [
    {
        "hosts": "localhost",
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


def render(directory: Path, **variables: Any) -> tuple[str, dict[str, Any]]:
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
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local",
         "-e", json.dumps(values), directory / "play.json"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return (directory / "nginx.conf").read_text(), json.loads((directory / "certificate.json").read_text())


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
    for path, other in (
        ("/etc/nginx/hecto.pem;\nssl_certificate_key", f"{tmp_path}/site.crt;\nssl_certificate_key"),
        ("/etc/nginx/hecto.pem", f"{tmp_path}/site.key"),
        ("/var/log/nginx", str(tmp_path)),
        ("/run/nginx.pid", f"{tmp_path}/nginx.pid"),
    ):
        text = text.replace(path.replace("\n", "\n    "), other.replace("\n", "\n    "))
    (tmp_path / "checked.conf").write_text(text)
    done = subprocess.run(
        ["nginx", "-t", "-q", "-e", tmp_path / "error.log", "-c", tmp_path / "checked.conf"],
        env={"PATH": "/usr/sbin:/usr/bin"}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_key_of_another_certificate_is_seen_and_the_local_authority_makes_a_new_pair(tmp_path: Path) -> None:
    certificate(tmp_path, "site")
    certificate(tmp_path, "other")
    (tmp_path / "other.key").replace(tmp_path / "site.key")
    shutil.copy(tmp_path / "site.crt", tmp_path / "ca.crt")
    said = render(tmp_path, nginx_tls="local_ca")[1]
    assert said["fits"] is False
    assert said["due"] is True
