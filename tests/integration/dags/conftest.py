"""The example DAGs and their job, loaded from their files as Airflow and Spark do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DAGS = Path(__file__).parents[3] / "dags"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def job() -> Iterator[ModuleType]:
    yield load(DAGS / "jobs/read_azure_sql.py")
    del sys.modules["read_azure_sql"]


@pytest.fixture(scope="session")
def dag_file() -> Iterator[ModuleType]:
    yield load(DAGS / "azure_sql_daily.py")
    del sys.modules["azure_sql_daily"]
