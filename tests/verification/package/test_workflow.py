"""The workflow on GitHub runs what `.ci/run` and the Makefile run, with pinned actions and read-only permissions."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yaml import safe_load

from tests.verification.conftest import BY_PATH_ONLY, pytest_ignore_collect
from tests.verification.matrix.cells import CELLS

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8"))
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


FIRST = {"lint", "unit"}
PARTS = {part["part"]: part["command"] for part in WORKFLOW["jobs"]["part"]["strategy"]["matrix"]["include"]}


def commands(*, of: str | None = None) -> list[str]:
    steps: list[dict[str, Any]] = STEPS if of is None else WORKFLOW["jobs"][of]["steps"]
    return [line.strip() for step in steps if "run" in step for line in step["run"].splitlines()]


def run_by_ci() -> dict[str, str]:
    """Return the commands of `.ci/run` by their names."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    started = [line.split(maxsplit=2) for line in lines if line.startswith(("part ", "begin "))]
    return {name: command for _, name, command in started if command != "finish"}


@pytest.mark.parametrize("action", sorted({step["uses"] for step in STEPS if "uses" in step}))
def test_actions_are_pinned_to_a_commit(action):
    assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)


def test_permissions_are_read_only():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job]
    assert all(step["with"]["persist-credentials"] is False for step in STEPS if "checkout" in step.get("uses", ""))


def test_every_environment_of_the_matrix_is_run():
    assert WORKFLOW["jobs"]["matrix"]["strategy"]["matrix"]["environment"] == [cell.name for cell in CELLS]
    steps = WORKFLOW["jobs"]["matrix"]["steps"]
    pythons = next(step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", ""))
    assert {cell.python for cell in CELLS} == set(pythons.split())
    versions = " ".join(cell.mwaa for cell in CELLS if cell.mwaa)
    assert f"for version in {versions}; do" in commands(of="matrix")


def test_it_runs_what_a_developer_runs():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    given = [command for command in [*commands(), *PARTS.values()] if command.startswith("make ")]

    assert {command.split()[1] for command in given} <= targets


def test_short_jobs_come_first_and_the_others_in_parallel():
    needs = {name: set(job.get("needs", ())) for name, job in WORKFLOW["jobs"].items()}
    assert {name for name, needed in needs.items() if not needed} == FIRST
    assert [needed for name, needed in needs.items() if name not in FIRST and needed != FIRST] == []


def test_every_part_of_ci_run_is_in_the_workflow():
    alone = {"docs", "model", "chaos", "demo"}
    assert set(run_by_ci()) == alone | {"setup", "check", "test", "compose-test"}
    assert {name: PARTS[name] for name in alone} == {name: run_by_ci()[name] for name in alone}
    assert commands(of="lint") == [run_by_ci()["check"]]
    assert commands(of="compose") == [run_by_ci()["compose-test"]]


def test_every_folder_of_tests_is_run_by_one_part():
    folders = {f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if any(path.glob("**/test_*.py"))}
    ran = [word for command in PARTS.values() for word in command.replace('"', " ").replace("=", " ").split()]
    assert folders - {"tests/unit"} <= set(ran)
    assert WORKFLOW["jobs"]["part"]["strategy"]["matrix"]["part"] == list(PARTS)


def test_every_proof_that_runs_by_its_path_only_has_a_command():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    given = "\n".join([*commands(), *PARTS.values(), makefile])
    in_parts = {name.removeprefix("soak/test_") for name in BY_PATH_ONLY}
    assert [name for name in BY_PATH_ONLY if not (ROOT / "tests" / "verification" / name).exists()] == []
    assert [name for name in in_parts - {"soak.py"} if f"tests/verification/{name}" not in given] == []
    assert "tests.verification.soak" in makefile


@pytest.mark.parametrize(
    ("argument", "is_left_out"),
    [
        ("tests", True),
        ("tests/verification", True),
        ("tests/verification/typing", True),
        ("tests/verification/tutorial", False),
        ("tests/verification/tutorial/test_tutorial.py::test_it", False),
    ],
)
def test_a_proof_is_left_out_unless_its_path_is_named(argument, is_left_out):
    config = SimpleNamespace(args=[argument], invocation_params=SimpleNamespace(dir=ROOT))
    proof = ROOT / "tests" / "verification" / "tutorial"
    assert (pytest_ignore_collect(proof, config) is True) is is_left_out
    assert pytest_ignore_collect(proof.parent / "typing", config) is None
