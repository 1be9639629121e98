"""A DAG to put groups into, and what a cluster needs."""

from __future__ import annotations

from tests.integration.operators.conftest import allocation_id, overrides, step, subnet_id
from tests.unit.task_groups.conftest import dag

__all__ = ["allocation_id", "dag", "overrides", "step", "subnet_id"]
