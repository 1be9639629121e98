"""A clock that a test or a benchmark turns, for :func:`airflow_eip_provider.clock.used`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class SimulatedClock:
    """
    One time for all: deadlines, ages and pauses go by it together.

    :param now: returns it, in seconds since the epoch.
    :param sleep: lets seconds pass: what ``now`` returns has to be later by them, or a wait for a deadline never ends.
    """

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], Any]) -> None:
        self.time = self.monotonic = now
        self.sleep = sleep
