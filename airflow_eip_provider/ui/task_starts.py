"""When task instances began, from Airflow's metadata database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_eip_provider.ui.names import TaskName

_AT_ONCE = 200  # databases bound the number of values in a statement


def read_starts(tasks: Collection[TaskName]) -> dict[TaskName, float]:
    """
    Return when the newest try of each task instance began, in seconds since the epoch.

    A deferral does not change it. Those that Airflow does not know, any more or yet, are left out.
    """
    from airflow.models import TaskInstance  # noqa: PLC0415 - only processes with the database
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select, tuple_  # noqa: PLC0415

    key = tuple_(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    wanted = {(task.dag_id, task.run_id, task.task_id, task.map_index): task for task in tasks}
    names = sorted(wanted)
    found: dict[TaskName, float] = {}
    with create_session() as session:
        for first in range(0, len(names), _AT_ONCE):
            columns = (
                TaskInstance.dag_id,
                TaskInstance.run_id,
                TaskInstance.task_id,
                TaskInstance.map_index,
                TaskInstance.start_date,
            )
            rows = session.execute(select(*columns).where(key.in_(names[first : first + _AT_ONCE])))
            for dag_id, run_id, task_id, map_index, start in rows:
                if start is not None:
                    found[wanted[dag_id, run_id, task_id, map_index]] = start.timestamp()
    return found
