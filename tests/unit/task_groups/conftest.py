"""A DAG to put groups into, and how its tasks wait for each other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_eip_provider.task_groups.emr import StaticIpCluster

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow.models import DAG

STEP = {"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}


def make_dag(dag_id: str = "daily", **parameters: Any) -> Any:
    return DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **parameters)


def cluster_of(group_id: str = "azure", **parameters: Any) -> StaticIpCluster:
    return StaticIpCluster(group_id, **{"allocation_id": "eipalloc-1", "job_flow_overrides": {}, **parameters})


def upstream(dag: Any) -> dict[str, set[str]]:
    """Return what each task waits for, edges that others imply left out."""
    waits = {task.task_id: set(task.upstream_task_ids) for task in dag.tasks}

    def before(task_id: str) -> set[str]:
        return waits[task_id].union(*(before(earlier) for earlier in waits[task_id]))

    return {name: found - set().union(*(before(task_id) for task_id in found)) for name, found in waits.items()}


@pytest.fixture
def dag() -> Any:
    with make_dag() as dag:
        yield dag
