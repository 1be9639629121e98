"""Hides the differences between the versions of Airflow."""

from __future__ import annotations

import sys
from inspect import signature
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

try:  # Airflow >= 3.1
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.exceptions import (  # type: ignore[no-redef,attr-defined]
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )

try:  # Airflow >= 3.1
    from airflow.sdk import BaseHook
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.hooks.base import BaseHook  # type: ignore[no-redef,attr-defined]

# Airflow 2 counts execution_timeout from the first start of the task. When a task is resumed after that, only on_kill
# runs. So there a wait ends this much earlier, or a quarter of the timeout earlier.
_RESUME_SECONDS = 0.0
try:  # Airflow >= 3.0
    from airflow.sdk import BaseOperator, TaskGroup
except ImportError:  # Airflow 2.11
    from airflow.models.baseoperator import BaseOperator  # type: ignore[no-redef]
    from airflow.utils.task_group import TaskGroup  # type: ignore[no-redef]

    _RESUME_SECONDS = 30.0

try:  # Airflow >= 3.0
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2.11
    from airflow.operators.empty import EmptyOperator  # type: ignore[no-redef]

try:  # Airflow >= 3.1
    from airflow.sdk.configuration import conf
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.configuration import conf

# One for all processes until Airflow 3.1; since then one for tasks, and one for Airflow's services.
try:  # Airflow >= 3.2
    from airflow.observability.stats import Stats as _CoreStats
    from airflow.sdk.observability.stats import Stats as _TaskStats

    _STATS: tuple[Any, ...] = (_TaskStats, _CoreStats)
except ImportError:  # Airflow 2.11 to 3.1
    from airflow.stats import Stats as _OnlyStats

    _STATS = (_OnlyStats,)

if TYPE_CHECKING:
    from airflow.sdk import Context  # noqa: TC004 - imported by other modules, for annotations only

__all__ = [
    "DEFAULT_DEFERRABLE",
    "TASK_IS_OVER",
    "TRIGGER_FAIL_REPR",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseHook",
    "BaseOperator",
    "BaseTrigger",
    "Context",
    "EmptyOperator",
    "TaskDeferred",
    "TaskGroup",
    "TriggerEvent",
    "conf",
    "dag_run_state",
    "earliest_start",
    "execution_seconds",
    "flush_statistics",
    "own_xcom",
    "remember",
    "remembered",
    "statistics",
    "task_state",
]

# How long a task waits at its end for a collector that does not respond.
_FLUSH_MILLISECONDS = 5000

# Airflow uses this method name when a deferral ended with a timeout or an error of the trigger.
TRIGGER_FAIL_REPR = "__fail__"
_NOT_FOUND = 404

# The terminal states of a task instance.
TASK_IS_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

DEFAULT_DEFERRABLE: bool = conf.getboolean("operators", "default_deferrable", fallback=False)


# The scheduler's clock, which sets the dates of runs and tries, may differ from AWS's.
_CLOCK_SKEW_SECONDS = 900


def execution_seconds(operator: Any) -> float | None:
    """
    Return for how long a task may run and wait according to its ``execution_timeout``; ``None`` without one.

    Airflow 3 itself applies it to each resumed part of a deferred task separately, and not to its waits.
    """
    if operator.execution_timeout is None:
        return None
    seconds = float(operator.execution_timeout.total_seconds())
    return seconds - min(_RESUME_SECONDS, seconds / 4)


def earliest_start(context: Context) -> float:
    """
    Return a time before the first try of this task instance, in seconds since the epoch; 0 when unknown.

    It is the oldest of several dates of the DAG run: a clear renews some of them, and a run that was triggered manually
    or by an asset lacks some.
    """
    run, ti = context.get("dag_run"), context["ti"]
    known = [getattr(run, name, None) for name in ("run_after", "data_interval_end", "start_date")]
    moments = [moment.timestamp() for moment in (*known, getattr(ti, "start_date", None)) if moment is not None]
    return max(min(moments) - _CLOCK_SKEW_SECONDS, 0.0) if moments else 0.0


def own_xcom(context: Context, key: str) -> Any:
    """
    Read an XCom that this task instance pushed in this try.

    A mapped task must name its map index; otherwise it reads a list of the values of all mapped tasks.
    """
    ti = context["ti"]
    return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)


def remember(context: Context, key: str, value: Any) -> None:
    """Store a value for later tries of this task (Airflow >= 3.3; else it does nothing)."""
    if (store := context.get("task_state_store")) is not None:
        store.set(key, value)


def remembered(context: Context, key: str) -> Any:
    """Return a value that this or an earlier try of this task stored; ``None`` before Airflow 3.3."""
    store = context.get("task_state_store")
    return None if store is None else store.get(key)


def statistics() -> Any:
    """
    Return the Airflow statistics object of this process.

    Since Airflow 3.2 there are two, and a process initializes one of them: a task initializes the one of the task SDK,
    the triggerer the one of the core. Metrics that are sent to the other one are lost silently (apache/airflow#69172).
    A process that has initialized neither, such as a command, uses that of the task SDK, initialized as in a task.
    """
    if len(_STATS) == 1:
        return _STATS[0]
    initialized = next((stats for stats in _STATS if _sends(stats)), None)
    if initialized is None:
        initialized = _STATS[0]
        _initialize(initialized)
    return initialized


def _sends(stats: Any) -> bool:
    factory = getattr(stats, "factory", None)  # Airflow 3.2
    if factory is None:  # Airflow >= 3.3
        factory = getattr(sys.modules[stats.__module__], "_factory", None)
    return factory is not None and factory.__name__ != "NoStatsLogger"


def _initialize(stats: Any) -> None:
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory  # noqa: PLC0415 - Airflow >= 3.2

    of_whom = (stats,) if signature(get_stats_factory).parameters else ()  # Airflow 3.2
    options: dict[str, Any] = {"factory": get_stats_factory(*of_whom)}
    if "export_legacy_names" in signature(stats.initialize).parameters:  # Airflow >= 3.3
        options["export_legacy_names"] = False  # only for Airflow's own metrics
    if options["factory"].__name__ != "NoStatsLogger":
        stats.initialize(**options)


def flush_statistics() -> None:
    """
    Let OpenTelemetry export the collected metrics, if Airflow's statistics use it.

    Since Airflow 3.3 the process of a task does that itself at its end.
    """
    if conf.getboolean("metrics", "otel_on", fallback=False):
        from opentelemetry import metrics  # noqa: PLC0415 - an optional part of Airflow 2.11

        provider = metrics.get_meter_provider()
        if hasattr(provider, "force_flush"):
            provider.force_flush(_FLUSH_MILLISECONDS)


def dag_run_state(dag_id: str, run_id: str, *, ti: Any = None) -> str | None:
    """
    Return the state of a DAG run ("queued", "running", "success", "failed"); ``None`` if it does not exist.

    :param ti: of the calling task: on Airflow 3 tasks cannot access the metadata database, and use their supervisor.
        ``None`` in processes with access to the database, such as commands.
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
    from airflow.models import DagRun  # noqa: PLC0415 - slow, and not every process has access to the database

    found = DagRun.find(dag_id=dag_id, run_id=run_id)
    return str(getattr(found[0].state, "value", found[0].state)) if found else None


def task_state(ti: Any) -> str | None:
    """
    Return the present state of a task instance, in a thread of the triggerer (Airflow >= 3.3).

    "removed" if the task instance no longer exists; ``None`` if it is to run again.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415 - does not exist in Airflow 2

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    of_run: dict[str, str | None] = states.get(ti.run_id, {})
    return next(iter(of_run.values()), None) if of_run else "removed"
