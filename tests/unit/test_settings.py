"""Settings that are wrong stop the start and say what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from hecto import settings


@pytest.fixture
def environment(tmp_path):
    for name in ("database-password", "redis-password"):
        (tmp_path / name).write_text("secret\n")
    (tmp_path / "secret-key").write_text("k" * 64)
    return {"CREDENTIALS_DIRECTORY": str(tmp_path), "HECTO_INSTANCE": "7"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('HECTO_REQUESTS_PER_MINUTE="600"', ""),
        ('HECTO_REQUESTS_PER_MINUTE="abc"', "HECTO_REQUESTS_PER_MINUTE is 'abc'"),
        ('HECTO_REQUEST_PER_MINUTE="600"', "HECTO_REQUEST_PER_MINUTE is no setting"),
        ('HECTO_ADMIN_EMAIL="nonsense"', "it must be an address"),
    ],
)
def test_a_file_of_settings_is_judged_before_it_is_in_use(tmp_path, line, says):
    """As role hecto does: by the program, which has no secrets."""
    file = tmp_path / "hecto.env"
    file.write_text(f'# of a role\nHECTO_PUBLIC_URL="https://erp.example.com"\n{line}\n')
    done = subprocess.run(
        [sys.executable, "-m", "hecto.settings", file],
        text=True,
        capture_output=True,
        check=False,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode == 0, says in done.stderr) == (says == "", True), done.stderr


def test_good_settings(environment):
    found = settings.load({**environment, "HECTO_CORS_ORIGINS": "https://a.example, https://b.example:8443"})
    assert found.instance_name == "instance-7"
    assert found.database_client == "hecto instance-7"
    assert found.place == "7"
    assert found.database_password == "secret"
    assert found.cors_origins == ("https://a.example", "https://b.example:8443")
    assert found.secure


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HECTO_INSTANCE", "one"),
        ("HECTO_INSTANCE", "-1"),
        ("HECTO_INSTANCE", "²"),
        ("HECTO_HOST", "app 1"),
        ("HECTO_HOST", "app/1"),
        ("HECTO_HOST", "-"),
        ("HECTO_DATABASE_PORT", "0"),
        ("HECTO_DATABASE_POOL", "0"),
        ("HECTO_DATABASE_NAME", ""),
        ("HECTO_PUBLIC_URL", "erp.example.com"),
        ("HECTO_PUBLIC_URL", "ftp://erp.example.com"),
        ("HECTO_PUBLIC_URL", "https://erp.example.com/erp"),
        ("HECTO_PUBLIC_URL", "https://erp.example.com/#top"),
        ("HECTO_PUBLIC_URL", "https://admin:secret@erp.example.com"),
        ("HECTO_PUBLIC_URL", "https://erp.example.com:99999"),
        ("HECTO_PUBLIC_URL", "https://erp.example.com:port"),
        ("HECTO_PUBLIC_URL", "https://erp.example.com:0"),
        ("HECTO_CORS_ORIGINS", "*"),
        ("HECTO_REQUESTS_PER_MINUTE", "many"),
    ],
)
def test_a_wrong_value_is_named(environment, name, value):
    with pytest.raises(settings.SettingsError, match=name):
        settings.load({**environment, name: value})


def test_among_several_hosts_an_instance_has_its_host_in_its_names(environment):
    found = settings.load({**environment, "HECTO_HOST": "app-1.example.com"})
    assert found.instance_name == "app-1.example.com/instance-7"
    assert found.database_client == "hecto app-1.example.com/instance-7"
    assert re.fullmatch("[0-9a-f]{6}-7", found.place)
    other = settings.load({**environment, "HECTO_HOST": "app-2.example.com"})
    assert found.place != other.place


def test_postgresql_keeps_the_number_of_an_instance_with_a_long_name(environment):
    found = settings.load({**environment, "HECTO_INSTANCE": "999", "HECTO_HOST": "a" * 200})
    assert len(found.database_client) == 63
    assert found.database_client.endswith("a/instance-999")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://ERP.Example.com", "https://erp.example.com"),
        ("HTTPS://erp.example.com:443/", "https://erp.example.com"),
        ("http://erp.example.com:80", "http://erp.example.com"),
        ("https://erp.example.com:80", "https://erp.example.com:80"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(environment, written, sent):
    assert settings.load({**environment, "HECTO_PUBLIC_URL": written}).public_url == sent


def test_every_problem_is_told_at_once(environment):
    with pytest.raises(settings.SettingsError) as error:
        settings.load({"HECTO_INSTANCE": "x", "HECTO_DATABASE_PORT": "y"})
    assert len(error.value.problems) == 5, "two numbers, three secrets"
    assert "CREDENTIALS_DIRECTORY" in str(error.value)


def test_a_short_secret_key_is_refused(environment, tmp_path):
    (tmp_path / "secret-key").write_text("short")
    with pytest.raises(settings.SettingsError, match="secret-key is too short"):
        settings.load(environment)
