"""``depends_on_past`` and ``wait_for_downstream`` in a group whose first task launches a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARAMETERS = ("depends_on_past", "wait_for_downstream")


def wait_for_the_past_before(first: Any, tasks: Iterable[Any]) -> None:
    """
    Move ``depends_on_past`` and ``wait_for_downstream`` of any task to the first task.

    A later task that waits for the previous run would keep the cluster running and its address in use, and delay the
    teardown. ``wait_for_downstream`` of the first task checks the tasks that directly follow it. So each task that had
    either parameter becomes a direct follower, unless that would change the meaning of its trigger rule.
    """
    waiting = [task for task in tasks if any(getattr(task, name) for name in _PARAMETERS)]
    for task in waiting:
        if task is not first:
            for name in _PARAMETERS:
                _set(task, name, value=False)
            if str(getattr(task.trigger_rule, "value", task.trigger_rule)) == "all_success":
                first.set_downstream(task)
    if waiting:
        for name in _PARAMETERS:
            setattr(first, name, True)


def _set(task: Any, name: str, *, value: bool) -> None:
    """Set a parameter of a task, or of all instances of a mapped task."""
    partial_kwargs = getattr(task, "partial_kwargs", None)
    if partial_kwargs is None:
        setattr(task, name, value)
    else:
        partial_kwargs[name] = value
