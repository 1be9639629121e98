"""The example DAGs and their job, loaded from their files as Airflow and Spark do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DAGS = Path(__file__).parents[3] / "dags"
# The Airflow Variable azure_sql.
SETTINGS = {
    "allocation_id": "eipalloc-0123456789abcdef0",
    "subnet_id": "subnet-0123456789abcdef0",
    "region": "eu-west-1",
    "bucket": "lake",
    "job_flow_role": "EMR_EC2_DefaultRole",
    "service_role": "EMR_DefaultRole",
    "server": "example.database.windows.net",
    "database": "sales",
    "user": "reader",
    "secret_id": "azure-sql/reader",
}
# The tasks of a DAG with a cluster and one step, each with the tasks before it.
TASKS = {
    "azure.create": set(),
    "azure.bound": {"azure.create"},
    "azure.read": {"azure.create", "azure.bound"},
    "azure.terminate": {"azure.create", "azure.bound", "azure.read"},
    "azure.done": {"azure.read"},
}


def assert_a_hung_task_does_not_outlast_the_queue(dag: Any) -> None:
    """Every try of the reading task together is shorter than others wait for the address."""
    read, create = dag.get_task("azure.read"), dag.get_task("azure.create")
    assert read.execution_timeout is not None, "a hung task keeps address and cluster for a day"
    assert read.execution_timeout * (read.retries + 1) < create.lock_timeout


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look up their module there
    spec.loader.exec_module(module)
    return module


def rendered(dag: Any, task_id: str, *, context: dict[str, Any] | None = None, **changed: Any) -> Any:
    """Return a task with its templates rendered, after some of its attributes were changed."""
    task = dag.get_task(task_id).prepare_for_execution()
    for name, value in changed.items():
        setattr(task, name, value)
    task.render_template_fields({"dag": dag, "run_id": "scheduled__2026-01-02T00:00:00+00:00", **(context or {})})
    return task


@pytest.fixture(scope="session")
def job() -> Iterator[ModuleType]:
    yield load(DAGS / "jobs/read_azure_sql.py")
    del sys.modules["read_azure_sql"]


@pytest.fixture(scope="session")
def dag_file() -> Iterator[ModuleType]:
    yield load(DAGS / "azure_sql_daily.py")
    del sys.modules["azure_sql_daily"]


@pytest.fixture(scope="module")
def module(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Return the DAG file that a test module is named after."""
    name = request.module.__name__.rpartition(".test_")[2]
    yield load(DAGS / f"{name}.py")
    del sys.modules[name]
