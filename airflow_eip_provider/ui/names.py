"""The parts of owners' names, and how much of a name a viewer may see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.ids import JOB_FLOW_ID

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN = "a DAG that you may not see"

_CLUSTER_OWNER = re.compile(f"[^/]+/cluster/{JOB_FLOW_ID.pattern}")
_MIN_PARTS = 5
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

    :param text: its name, or a text that says that it is hidden.
    :param task: the parts of its name, if it is a task and not hidden.
    :param is_own: it belongs to this Airflow environment, which has a page for it.
    """

    text: str
    task: TaskName | None = None
    is_own: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Viewer:
    """
    A user who views the page.

    :param environment: the name of this Airflow environment in the names of owners.
    :param may_read: whether the viewer may read a DAG of this environment.
    """

    environment: str
    may_read: Callable[[str], bool]

    def view_owner(self, name: str) -> OwnerView:
        """Return an owner as this viewer may see it."""
        if _CLUSTER_OWNER.fullmatch(name):
            return OwnerView(name)  # it names no DAG
        task = task_of(name)
        is_own = task is not None and task.environment == self.environment
        # This Airflow does not know the permissions of another environment. A viewer who may read every DAG of this
        # environment may see its names. No DAG id contains a slash, so only a permission for all DAGs matches this one.
        if not self.may_read(task.dag_id if task is not None and is_own else _EVERY_DAG):
            return OwnerView(HIDDEN, hidden=True)
        return OwnerView(name, task, is_own=is_own)


def task_of(name: str) -> TaskName | None:
    """Parse the task instance from an owner's name; ``None`` when the name has another form."""
    parts = name.split("/")
    if len(parts) < _MIN_PARTS or not re.fullmatch(r"-1|\d{1,9}", parts[-1], re.ASCII):
        return None
    return TaskName(parts[0], parts[1], "/".join(parts[2:-2]), parts[-2], int(parts[-1]))
