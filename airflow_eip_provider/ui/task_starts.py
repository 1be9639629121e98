"""The start times of task instances, from Airflow's metadata database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_eip_provider.ui.names import TaskName

_BATCH = 200  # databases limit the number of values in a statement


def read_starts(tasks: Collection[TaskName]) -> dict[TaskName, float]:
    """
    Return when the newest try of each task instance started, in seconds since the epoch.

    A deferral does not change it. Task instances that Airflow does not know are left out.
    """
    from airflow.models import TaskInstance  # noqa: PLC0415 - only processes with the database
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select, tuple_  # noqa: PLC0415

    key = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    by_key = {(task.dag_id, task.run_id, task.task_id, task.map_index): task for task in tasks}
    keys = sorted(by_key)
    starts: dict[TaskName, float] = {}
    with create_session() as session:
        for first in range(0, len(keys), _BATCH):
            batch = keys[first : first + _BATCH]
            rows = session.execute(select(*key, TaskInstance.start_date).where(tuple_(*key).in_(batch)))
            for dag_id, run_id, task_id, map_index, start in rows:
                if start is not None:
                    starts[by_key[dag_id, run_id, task_id, map_index]] = start.timestamp()
    return starts
