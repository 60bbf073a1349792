"""What pgBackRest is told, for each kind of repository."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROLE = Path(__file__).resolve().parents[2] / "roles/backup"
STORE = {
    "backup_repository": "s3",
    "backup_s3_bucket": "our-backups",
    "backup_s3_endpoint": "s3.example.com:9000",
    "backup_s3_region": "eu-central-1",
    "backup_s3_key": "the key",
    "backup_s3_key_secret": "the secret",
}


def told(**variables: Any) -> ConfigParser:
    world = Environment(
        loader=FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  it writes no pages
    )
    known = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    internal = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    known |= {"ansible_managed": "by Ansible", "backup_cipher_passphrase": "a passphrase", "__backup_data": "/data"}
    known |= {"__backup_s3_ca_file": internal["__backup_s3_ca_file"], **variables}
    parser = ConfigParser(interpolation=None)
    parser.read_string(world.get_template("pgbackrest.conf.j2").render(known))
    return parser


def test_a_store_is_asked_by_its_name_and_must_prove_who_it_is() -> None:
    settings = told(**STORE)["global"]
    assert settings["repo1-type"] == "s3"
    assert settings["repo1-path"] == "/hecto"
    assert settings["repo1-s3-endpoint"] == "s3.example.com:9000"
    assert (settings["repo1-s3-key"], settings["repo1-s3-key-secret"]) == ("the key", "the secret")
    assert settings["repo1-s3-uri-style"] == "host"
    assert settings["repo1-storage-verify-tls"] == "y"
    assert "repo1-storage-ca-file" not in settings


def test_a_store_of_ones_own_has_its_own_authority() -> None:
    settings = told(**STORE, backup_s3_ca="-----BEGIN CERTIFICATE-----", backup_s3_uri_style="path")["global"]
    assert settings["repo1-storage-ca-file"] == "/etc/hecto/backup-store-ca.crt"
    assert settings["repo1-s3-uri-style"] == "path"


@pytest.mark.parametrize("repository", ["directory", "s3", "host"])
def test_whatever_holds_the_backups_is_encrypted_and_does_not_grow_for_ever(repository: str) -> None:
    settings = told(**{**STORE, "backup_repository": repository})["global"]
    assert settings["repo1-cipher-type"] == "aes-256-cbc"
    assert settings["repo1-cipher-pass"] == "a passphrase"
    assert settings["repo1-retention-full"] == "4"


def test_the_host_of_the_database_cannot_decrypt_what_another_host_keeps() -> None:
    settings = told(backup_repository="host", backup_is_repository=False, backup_repository_host="10.0.0.9")["global"]
    assert settings["repo1-host"] == "10.0.0.9"
    assert not any("cipher" in name for name in settings)
