"""The one place that knows where Airflow's versions differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

try:  # Airflow >= 3.1
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferred,
    )
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.exceptions import (  # type: ignore[no-redef,attr-defined]
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferred,
    )

try:  # Airflow >= 3.0
    from airflow.sdk import BaseOperator, TaskGroup
except ImportError:  # Airflow 2.11
    from airflow.models.baseoperator import BaseOperator  # type: ignore[no-redef]
    from airflow.utils.task_group import TaskGroup  # type: ignore[no-redef]

try:  # Airflow >= 3.0
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2.11
    from airflow.operators.empty import EmptyOperator  # type: ignore[no-redef]

try:  # Airflow >= 3.1
    from airflow.sdk.configuration import conf
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context  # noqa: TC004 - others import this name for their annotations only

__all__ = [
    "DEFAULT_DEFERRABLE",
    "TASK_IS_OVER",
    "TRIGGER_FAIL_REPR",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "BaseOperator",
    "BaseTrigger",
    "Context",
    "EmptyOperator",
    "TaskDeferred",
    "TaskGroup",
    "TriggerEvent",
    "conf",
    "own_xcom",
    "task_state",
]

# What Airflow puts in place of the method name when a deferral ended in a timeout or a trigger's error.
TRIGGER_FAIL_REPR = "__fail__"

# The states in which nothing of a task instance runs any more, or ever will by itself.
TASK_IS_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

DEFAULT_DEFERRABLE: bool = conf.getboolean("operators", "default_deferrable", fallback=False)


def own_xcom(context: Context, key: str) -> Any:
    """
    Read what the running task instance itself pushed in this try.

    A mapped task must name its own map index, or it reads the list of all of its siblings.
    """
    ti = context["ti"]
    return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)


def task_state(ti: Any) -> str | None:
    """
    Return the state of a task instance as it is now, from a thread of the triggerer (Airflow >= 3.3).

    "removed" when there is no such task instance any more; ``None`` when it is to run again.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415 - unknown to Airflow 2

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    of_run: dict[str, str | None] = states.get(ti.run_id, {})
    return next(iter(of_run.values()), None) if of_run else "removed"
