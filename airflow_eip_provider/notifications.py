"""
Telling people: Airflow's notifiers, called by tasks when a lease takes an unexpected way.

A notifier is called once for what it is about, by the task that finds it out, never by a trigger. That it was called
travels with the task's deferrals, and from Airflow 3.3 on to its retries. It is marked as called before it is: a
process that is killed while it notifies does not do so again.
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

_AS_NOTIFIER = "give a notifier of Airflow's, such as SnsNotifier(...), or a function that takes the context"
_REMEMBERED = "eip_notified"


def checked_notifier(value: Any, *, parameter: str) -> Notifier | None:
    """
    Return a notifier.

    :raises InvalidInputError: when it cannot be called.
    """
    if value is None or (callable(value) and not isinstance(value, type)):
        return value
    raise InvalidInputError(
        f"checking {parameter} {value!r}", problem="it is nothing that can be called", remedy=_AS_NOTIFIER
    )


def checked_limit(value: Any, *, parameter: str) -> tuple[timedelta, Notifier] | None:
    """
    Return after how long to notify, and by what.

    :raises InvalidInputError: when it is no pair of a positive duration and a notifier.
    """
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != len(("limit", "notifier")):
        raise InvalidInputError(
            f"checking {parameter} {value!r}",
            problem="it is no pair of a duration and a notifier",
            remedy=f"write {parameter}=(timedelta(minutes=30), notifier)",
        )
    limit, notifier = value
    if not isinstance(limit, timedelta) or limit <= timedelta():
        raise InvalidInputError(
            f"checking {parameter} {value!r}",
            problem=f"{limit!r} is no positive duration",
            remedy="give a timedelta, such as timedelta(minutes=30)",
        )
    if notifier is None:
        raise InvalidInputError(f"checking {parameter} {value!r}", problem="there is no notifier", remedy=_AS_NOTIFIER)
    return limit, checked_notifier(notifier, parameter=parameter)  # type: ignore[return-value]


class Notifying:
    """What an operator notifies of. Its notifiers get Airflow's context, with the facts under the key ``eip``."""

    on_queued_longer_than: tuple[timedelta, Notifier] | None = None
    on_lost: Notifier | None = None
    on_failover: Notifier | None = None

    allocation_id: Any
    retries: Any
    log: Any
    _state: Any

    def has_notified(self, context: Context, once: str) -> bool:
        """
        Whether this try has called a notifier, or an earlier one, where that can be known.

        :param once: what it was about.
        """
        return once in self._told() or once in self._notified_before(context)

    def is_first_time(self, context: Context, once: str) -> bool:
        """Whether this has not been told before; from now on it has."""
        if self.has_notified(context, once):
            return False
        self._told().append(once)
        self._note_notified(context, once)
        return True

    def notify(self, context: Context, notifier: Notifier | None, event: str, *, once: str, **facts: Any) -> None:
        """
        Call a notifier, once.

        :param event: "queued", "lost" or "failover".
        :param once: what it is about: what has been called for it is not called again.
        :param facts: plain values for its texts: ``{{ eip.waited_seconds }}``.
        """
        if notifier is None or not self.is_first_time(context, once):
            return
        told = copy.copy(context)
        # Of a pool, while the task waits for any one address, a text with all of them.
        address = str(self.allocation_id) if isinstance(self.allocation_id, tuple) else self.allocation_id
        told["eip"] = {"event": event, "allocation_id": address, **facts}  # type: ignore[typeddict-unknown-key]
        try:
            # A notifier of Airflow's renders its templates in place; the DAG's own stays as it is.
            (copy.copy(notifier) if hasattr(notifier, "template_fields") else notifier)(told)
        except Exception:
            self.log.exception("The notifier for '%s' failed; the task goes on", event)

    def _told(self) -> list[str]:
        """Return what travels with the deferrals; before there is a state, what this process knows."""
        state = getattr(self, "_state", None)
        return self.__dict__.setdefault("_told_early", []) if state is None else state.told  # type: ignore[no-any-return]

    def _notified_before(self, context: Context) -> list[str]:
        """Return what earlier tries have told since the task was last cleared."""
        kept = remembered(context, _REMEMBERED) or {}
        return list(kept.get("told", ())) if kept.get("first_try") == self._first_of_chain(context) else []

    def _note_notified(self, context: Context, once: str) -> None:
        told = [*self._notified_before(context), once]
        try:
            remember(context, _REMEMBERED, {"first_try": self._first_of_chain(context), "told": told})
        except Exception:
            self.log.warning("A retry of this task may notify of '%s' again", once, exc_info=True)

    def _first_of_chain(self, context: Context) -> int:
        """Return the first try since the task was last cleared: a clear allows as many retries again."""
        return max(1, int(context["ti"].max_tries) - int(self.retries or 0) + 1)
