"""Whether a task was killed; imported when a DAG file is parsed, so that a kill finds it whenever it comes."""

from __future__ import annotations

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import KilledError


class KillFlag:
    """
    Whether the task was killed. What changes AWS asks it before every change, but for what undoes.

    :ivar is_set: it was.
    """

    def __init__(self, allocation_id: str) -> None:
        self.is_set = False
        self._allocation_id = allocation_id

    def check(self) -> None:
        """
        Refuse to go on after a kill.

        :raises KilledError: when the task was killed.
        """
        if self.is_set:
            raise KilledError(self._allocation_id)

    def pause(self, seconds: float) -> None:
        """Let seconds pass; raises as :meth:`check` does."""
        self.check()
        clock.sleep(seconds)
        self.check()
