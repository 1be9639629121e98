"""Whether a task was killed. Imported when a DAG file is parsed, so that it is available when the task is killed."""

from __future__ import annotations

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import KilledError


class KillFlag:
    """
    Whether a task was killed. It is checked before every change of AWS, except those that undo changes.

    :ivar is_set: the task was killed.
    """

    def __init__(self, allocation_id: str) -> None:
        self.is_set = False
        self._allocation_id = allocation_id

    def check(self) -> None:
        """
        Raise an error after a kill.

        :raises KilledError: if the task was killed.
        """
        if self.is_set:
            raise KilledError(self._allocation_id)

    def pause(self, seconds: float) -> None:
        """Sleep, with a :meth:`check` before and after."""
        self.check()
        clock.sleep(seconds)
        self.check()
