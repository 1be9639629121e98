"""A clock that a test or a benchmark advances, for :func:`airflow_eip_provider.clock.used`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class SimulatedClock:
    """
    One clock for deadlines, ages and pauses.

    :param now: returns the time, in seconds since the epoch.
    :param sleep: advances the time that ``now`` returns by a number of seconds; otherwise a wait would never end.
    """

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], Any]) -> None:
        self.time = self.monotonic = now
        self.sleep = sleep
