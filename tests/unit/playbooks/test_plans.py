"""The plan of each layout that is shipped, and of one in which nothing is beside anything else: it needs no host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GROUPS = {"lb": 2, "app": 3, "postgres": 3, "etcd": 3, "redis": 3, "monitoring": 2, "backup": 1}


def plan(inventory: Path, home: Path) -> str:
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(home)}
    words = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, ROOT / "playbooks/plan.yml"]
    done = subprocess.run(words, env=environment, text=True, capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["single", "cluster"])
def test_what_is_shipped_works_out(name: str, tmp_path: Path) -> None:
    said = plan(ROOT / "inventory" / name, tmp_path)
    assert "100" in said
    # Three hosts have more connections together than PostgreSQL serves well, one has not.
    assert ("PgBouncer" in said) == (name == "cluster")


def test_every_group_may_be_on_hosts_of_its_own(tmp_path: Path) -> None:
    variables = tmp_path / "apart/group_vars/all"
    variables.mkdir(parents=True)
    for file in ("defaults.yml", "site.yml"):
        (variables / file).symlink_to((ROOT / "inventory/cluster/group_vars/all" / file).resolve())
    lines, address = ["all:", "  children:"], 10
    for group, size in GROUPS.items():
        lines += [f"    {group}:", "      hosts:"]
        for number in range(1, size + 1):
            address += 1
            lines.append(f"        {group}{number}.example.com: {{host_address: 10.20.0.{address}}}")
    (tmp_path / "apart/hosts.yml").write_text("\n".join(lines) + "\n")
    said = plan(tmp_path / "apart", tmp_path)
    assert said.count("runs ") == sum(GROUPS.values())
    assert said.count("Memory: postgres") == GROUPS["postgres"]
