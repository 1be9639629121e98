"""What is imported when a DAG file is parsed, and what when a task begins to run."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import airflow_eip_provider
from airflow_eip_provider.provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "airflow_eip_provider."
FOR_DAG_FILES = sorted(
    {
        *(
            name
            for kind in ("operators", "sensors")
            for one in get_provider_info()[kind]
            for name in one["python-modules"]
        ),
        f"{PACKAGE}operators.bindings",
        f"{PACKAGE}task_groups.emr",
    }
)
ONLY_AT_RUN_TIME = ("hooks.aws", "lease", "lease_client", "operators.run_imports", "preflight", "stores", "triggers")
# The functions of these modules import what the others import at their top.
PARSED = ("operators/**/*.py", "hooks/address_pool.py", "hooks/eip.py", "hooks/elbv2.py", "hooks/emr.py")
# An operator that is not phased, and checks that come before any change, for installations with the extra "azure".
NOT_FOR_ALL = {"hooks.azure"}

IMPORTS = f"""
import importlib, json, sys

def own():
    return sorted(name.removeprefix("{PACKAGE}") for name in sys.modules if name.startswith("{PACKAGE}"))

for module in sys.argv[1:]:
    importlib.import_module(module)
parsed = own()
import airflow_eip_provider.operators.run_imports
print(json.dumps([parsed, own()]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """The provider's modules: after all that DAG files import, and when a task runs."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTS, *FOR_DAG_FILES],
        env={"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parsed, running = json.loads(done.stdout.splitlines()[-1])
    return parsed, running


def imports_in_functions(path: Path) -> Iterator[str]:
    """The modules of the provider that the functions of a file import."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(PACKAGE):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                    modules = [name for name in names if _is_module(name)] or [node.module]
                    yield from (module.removeprefix(PACKAGE) for module in modules)


def _is_module(name: str) -> bool:
    path = Path(airflow_eip_provider.__path__[0], *name.removeprefix(PACKAGE).split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


@pytest.mark.airflow
@pytest.mark.parametrize("part", ONLY_AT_RUN_TIME)
def test_no_module_for_dag_files_imports_what_only_a_running_task_needs(imported, part):
    parsed, running = imported
    assert [name for name in parsed if f"{name}.".startswith(f"{part}.")] == []
    assert [name for name in running if f"{name}.".startswith(f"{part}.")] != []  # it is spelt as it is


@pytest.mark.airflow
def test_what_the_functions_of_operators_import_is_imported_when_a_task_begins_to_run(imported):
    _, running = imported
    root = Path(airflow_eip_provider.__path__[0])
    needed = {name for pattern in PARSED for path in root.glob(pattern) for name in imports_in_functions(path)}
    assert {"lease.protocol", "aws.endings", "triggers.emr"} <= needed
    assert needed - set(running) - NOT_FOR_ALL == set(), "name these in operators/run_imports.py"
