"""
Calls Airflow's notifiers when a lease does not proceed as expected.

The task that observes an event calls the notifier once; triggers never do. The deferrals of the task, and since Airflow
3.3 its retries, remember the call. It is marked as done before it is made, so that a task that is killed meanwhile does
not notify again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_eip_provider.airflow_compat import remember, remembered
from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context

# A BaseNotifier, or a function that takes the task's context.
Notifier: TypeAlias = Callable[["Context"], Any]

_AS_NOTIFIER = "give a notifier of Airflow, such as SnsNotifier(...), or a function that takes the context"
_REMEMBERED = "eip_notified"


def checked_notifier(value: Any, *, parameter: str) -> Notifier | None:
    """
    Return a notifier, or ``None``.

    :raises InvalidInputError: if it is not callable.
    """
    if value is None or (callable(value) and not isinstance(value, type)):
        return value
    raise _invalid(parameter, value, "it is not callable", _AS_NOTIFIER)


def checked_limit(value: Any, *, parameter: str) -> tuple[timedelta, Notifier] | None:
    """
    Return a time limit and the notifier to call after it, or ``None``.

    :raises InvalidInputError: if it is not a pair of a positive duration and a notifier.
    """
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != len(("limit", "notifier")):
        example = f"write {parameter}=(timedelta(minutes=30), notifier)"
        raise _invalid(parameter, value, "it is not a pair of a duration and a notifier", example)
    limit, notifier = value
    if not isinstance(limit, timedelta) or limit <= timedelta():
        problem = f"{limit!r} is not a positive duration"
        raise _invalid(parameter, value, problem, "give a timedelta, such as timedelta(minutes=30)")
    if notifier is None:
        raise _invalid(parameter, value, "there is no notifier", _AS_NOTIFIER)
    return limit, checked_notifier(notifier, parameter=parameter)  # type: ignore[return-value]


def _invalid(parameter: str, value: object, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {parameter} {value!r}", problem=problem, remedy=remedy)


class Notifying:
    """The notifications of an operator. Notifiers get Airflow's context, with the facts under the key ``eip``."""

    on_queued_longer_than: tuple[timedelta, Notifier] | None = None
    on_lost: Notifier | None = None
    on_failover: Notifier | None = None

    allocation_id: Any
    retries: Any
    log: Any
    _state: Any

    def has_notified(self, context: Context, once: str) -> bool:
        """
        Whether this try, or a known earlier one, has called a notifier for an event.

        :param once: names the event.
        """
        return once in self._told() or once in self._notified_before(context)

    def is_first_time(self, context: Context, once: str) -> bool:
        """Mark an event as notified; return whether this is the first time."""
        if self.has_notified(context, once):
            return False
        self._told().append(once)
        self._note_notified(context, once)
        return True

    def notify(self, context: Context, notifier: Notifier | None, event: str, *, once: str, **facts: Any) -> None:
        """
        Call a notifier once.

        :param event: "queued", "lost" or "failover".
        :param once: names the event; there is no second notification for the same name.
        :param facts: plain values for its templates: ``{{ eip.waited_seconds }}``.
        """
        if notifier is None or not self.is_first_time(context, once):
            return
        extended = copy.copy(context)
        # While the task waits for any address of a pool, a string with all of them.
        address = str(self.allocation_id) if isinstance(self.allocation_id, tuple) else self.allocation_id
        extended["eip"] = {"event": event, "allocation_id": address, **facts}  # type: ignore[typeddict-unknown-key]
        try:
            # Airflow's notifiers render their templates in place, so a copy is called.
            (copy.copy(notifier) if hasattr(notifier, "template_fields") else notifier)(extended)
        except Exception:
            self.log.exception("The notifier for '%s' failed; the task continues", event)

    def _told(self) -> list[str]:
        """Return the notified events, from the state of the deferrals or, before there is one, of this process."""
        state = getattr(self, "_state", None)
        return self.__dict__.setdefault("_told_early", []) if state is None else state.told  # type: ignore[no-any-return]

    def _notified_before(self, context: Context) -> list[str]:
        """Return the events that earlier tries since the last clear have notified of."""
        kept = remembered(context, _REMEMBERED) or {}
        return list(kept.get("told", ())) if kept.get("first_try") == self.first_try(context) else []

    def _note_notified(self, context: Context, once: str) -> None:
        told = [*self._notified_before(context), once]
        try:
            remember(context, _REMEMBERED, {"first_try": self.first_try(context), "told": told})
        except Exception:
            self.log.warning("A retry of this task may notify of '%s' again", once, exc_info=True)

    def first_try(self, context: Context) -> int:
        """Return the number of the first try since the last clear, which allows the same number of retries again."""
        return max(1, int(context["ti"].max_tries) - int(self.retries or 0) + 1)
