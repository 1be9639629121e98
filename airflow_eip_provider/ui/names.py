"""The names of owners, taken apart, and how much of them a viewer may see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN = "a DAG that you may not see"

_CLUSTER_OWNER = re.compile(r"[^/]+/cluster/(j-[0-9A-Z]+)")
_FEWEST_PARTS = 5
_EVERY_DAG = "another environment/"


@dataclass(frozen=True, slots=True)
class TaskName:
    """A task instance; only its run id may contain slashes."""

    environment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class OwnerView:
    """
    An owner as a viewer sees it.

    :param text: its name, or that it is hidden.
    :param task: its parts, when it is a task that is not hidden.
    :param is_own: of this Airflow environment, which has a page of it.
    """

    text: str
    task: TaskName | None = None
    is_own: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Viewer:
    """
    Who looks.

    :param environment: the name of this Airflow environment in its owners.
    :param may_read: whether the viewer may read a DAG of this environment.
    """

    environment: str
    may_read: Callable[[str], bool]

    def sees(self, name: str) -> OwnerView:
        """Return an owner as this viewer may see it."""
        if _CLUSTER_OWNER.fullmatch(name):
            return OwnerView(name)  # no DAG is named in it
        task = task_of(name)
        if task is not None and task.environment == self.environment:
            may = self.may_read(task.dag_id)
            return OwnerView(name, task, is_own=True) if may else OwnerView(HIDDEN, hidden=True)
        # This Airflow knows nothing of the rights in another environment. Who may read every DAG of this one may see
        # the names; no DAG has an id with a slash, so only a right to all DAGs is a right to this one.
        may = self.may_read(_EVERY_DAG)
        return OwnerView(name, task) if may else OwnerView(HIDDEN, hidden=True)


def task_of(name: str) -> TaskName | None:
    """Return the task instance that an owner's name says; ``None`` when it says none."""
    parts = name.split("/")
    if len(parts) < _FEWEST_PARTS or not re.fullmatch(r"-1|\d{1,9}", parts[-1], re.ASCII):
        return None
    return TaskName(parts[0], parts[1], "/".join(parts[2:-2]), parts[-2], int(parts[-1]))
