"""A DAG to put groups into, and what a cluster needs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.operators.conftest import allocation_id, overrides, step, subnet_id

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow.models import DAG

__all__ = ["allocation_id", "overrides", "step", "subnet_id"]


def make_dag(dag_id: str = "daily", **parameters: Any) -> Any:
    return DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **parameters)
