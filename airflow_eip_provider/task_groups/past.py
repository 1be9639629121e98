"""``depends_on_past`` and ``wait_for_downstream`` in a group whose first task launches a paid cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARAMETERS = ("depends_on_past", "wait_for_downstream")


def wait_for_the_past_before(first: Any, tasks: Iterable[Any]) -> None:
    """
    Let the first task wait for what any of the tasks would wait for in the run before; the others wait for nothing.

    Later, a task that waits for its past would keep a cluster and its address, and the teardown with it. The first one
    gets ``wait_for_downstream``, which looks at the tasks that directly follow it; so each task that had either
    parameter is made one of these, unless its trigger rule would then mean something else.
    """
    waits = False
    for task in tasks:
        if task is first:
            waits = waits or any(getattr(task, name) for name in _PARAMETERS)
        elif any(getattr(task, name) for name in _PARAMETERS):
            waits = True
            for name in _PARAMETERS:
                _set(task, name, value=False)
            if str(getattr(task.trigger_rule, "value", task.trigger_rule)) == "all_success":
                first.set_downstream(task)
    if waits:
        for name in _PARAMETERS:
            setattr(first, name, True)


def _set(task: Any, name: str, *, value: bool) -> None:
    """Set a parameter of a task; a mapped one hands it to each of its instances."""
    kept = getattr(task, "partial_kwargs", None)
    if kept is None:
        setattr(task, name, value)
    else:
        kept[name] = value
