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
    "dag_run_state",
    "own_xcom",
]

# What Airflow puts in place of the method name when a deferral ended in a timeout or a trigger's error.
TRIGGER_FAIL_REPR = "__fail__"
_NOT_FOUND = 404

DEFAULT_DEFERRABLE: bool = conf.getboolean("operators", "default_deferrable", fallback=False)


def own_xcom(context: Context, key: str) -> Any:
    """
    Read what the running task instance itself pushed in this try.

    A mapped task must name its own map index, or it reads the list of all of its siblings.
    """
    ti = context["ti"]
    return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)


def dag_run_state(dag_id: str, run_id: str, *, ti: Any = None) -> str | None:
    """
    Return the state of a DAG run ("queued", "running", "success", "failed"); ``None`` when Airflow knows no such run.

    :param ti: of the task that asks: on Airflow 3 tasks have no metadata database, and ask through their supervisor.
        Processes that have the database, like the command line, leave it out.
    """
    if hasattr(ti, "get_dagrun_state"):  # Airflow >= 3.0
        from airflow.sdk.exceptions import AirflowRuntimeError  # noqa: PLC0415

        try:
            state = ti.get_dagrun_state(dag_id=dag_id, run_id=run_id)
        except AirflowRuntimeError as error:
            if (error.error.detail or {}).get("status_code") == _NOT_FOUND:
                return None
            raise
        return str(getattr(state, "value", state))
    from airflow.models import DagRun  # noqa: PLC0415 - slow, and the database is not there for everyone

    found = DagRun.find(dag_id=dag_id, run_id=run_id)
    return str(getattr(found[0].state, "value", found[0].state)) if found else None
