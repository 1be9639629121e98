"""How long the owners of leases waited, for tasks whose start Airflow knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.ui.names import task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeAlias

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.ui.names import TaskName

    # Returns when the newest try of each known task instance started, in seconds since the epoch.
    ReadStarts: TypeAlias = Callable[[Collection[TaskName]], Mapping[TaskName, float]]

# No wait is longer: a task that started earlier is not the one that had the lease.
_LONGEST_WAIT_SECONDS = 30 * 86400.0


def acquisitions(record: Record) -> dict[int, tuple[str, float]]:
    """Return the owner and the acquisition time of every lease in a record, by token."""
    acquired = {lease.token: (lease.owner, lease.acquired_at) for lease in record.history}
    if lease := record.lease:
        acquired[lease.token] = (lease.attempt.name, lease.acquired_at)
    return acquired


def read_waits(
    leases: Mapping[int, tuple[str, float]], *, environment: str, read_starts: ReadStarts
) -> dict[int, float | None]:
    """
    Return the seconds from the start of the task to each lease; ``None`` when unknown.

    A task that was cleared or retried after the lease has a later start, so its wait is unknown.

    :param environment: the name of this Airflow environment, whose tasks it knows.
    """
    tasks = {token: task_of(owner) for token, (owner, _) in leases.items()}
    own = {task for task in tasks.values() if task is not None and task.environment == environment}
    starts = read_starts(own) if own else {}
    waits: dict[int, float | None] = {}
    for token, (_, acquired_at) in leases.items():
        task = tasks[token]
        start = starts.get(task) if task is not None else None
        wait = None if start is None else acquired_at - start
        waits[token] = wait if wait is not None and 0 <= wait <= _LONGEST_WAIT_SECONDS else None
    return waits
