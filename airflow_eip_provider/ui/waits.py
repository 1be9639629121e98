"""For how long the owners of leases waited, as far as Airflow knows when their tasks began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.ui.names import task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeAlias

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.ui.names import TaskName

    # Task instances to when their newest tries began, in seconds since the epoch, as far as Airflow knows.
    ReadStarts: TypeAlias = Callable[[Collection[TaskName]], Mapping[TaskName, float]]

# No wait is longer: a task that began earlier is not the one that had the lease.
_LONGEST_WAIT_SECONDS = 30 * 86400.0


def begun_leases(record: Record) -> dict[int, tuple[str, float]]:
    """Return the owner and the begin of every lease that a record knows, by token."""
    begun = {lease.token: (lease.owner, lease.acquired_at) for lease in record.history}
    if lease := record.lease:
        begun[lease.token] = (lease.attempt.name, lease.acquired_at)
    return begun


def read_waits(
    leases: Mapping[int, tuple[str, float]], *, environment: str, read_starts: ReadStarts
) -> dict[int, float | None]:
    """
    Return the seconds from the start of its task to each lease; ``None`` where that is not known.

    A task that was cleared or retried after the lease began later than the lease: its wait is not known any more.

    :param environment: the one whose tasks this Airflow knows.
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
