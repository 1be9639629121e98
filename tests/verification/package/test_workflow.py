"""The workflow on GitHub does what `.ci/run` and the Makefile do, with pinned actions that may only read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from yaml import safe_load

from tests.verification.matrix.cells import CELLS, Mwaa

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8"))
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def commands(*, of: str | None = None) -> list[str]:
    steps: list[dict[str, Any]] = STEPS if of is None else WORKFLOW["jobs"][of]["steps"]
    return [line.strip() for step in steps if "run" in step for line in step["run"].splitlines()]


@pytest.mark.parametrize("action", sorted({step["uses"] for step in STEPS if "uses" in step}))
def test_actions_are_pinned_to_a_commit(action):
    assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)


def test_nothing_may_write():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job]
    assert all(step["with"]["persist-credentials"] is False for step in STEPS if "checkout" in step.get("uses", ""))


def test_every_environment_of_the_matrix_is_run():
    assert WORKFLOW["jobs"]["matrix"]["strategy"]["matrix"]["environment"] == [cell.name for cell in CELLS]
    pythons = [
        step["with"]["python-version"].split()
        for step in WORKFLOW["jobs"]["matrix"]["steps"]
        if "setup-python" in step.get("uses", "")
    ]
    assert {cell.python for cell in CELLS} == set(pythons[0])
    versions = " ".join(cell.installation.version for cell in CELLS if isinstance(cell.installation, Mwaa))
    assert f"for version in {versions}; do" in commands(of="matrix")


def test_it_runs_what_a_developer_runs():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    makes = [command.split()[1] for command in commands() if command.startswith("make ")]

    assert commands(of="ci") == [".ci/run"]
    assert set(makes) == {"matrix", "test", "compose-test"}
    assert set(makes) <= targets
