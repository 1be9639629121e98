"""The first signal stops a command; further ones do not interrupt its cleanup."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

from airflow_eip_provider.cli.output import note

if TYPE_CHECKING:
    from types import TracebackType

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedOnce:
    """
    A context in which the first Ctrl-C, SIGTERM or SIGHUP raises an exception.

    A later one, and any while :attr:`is_shielded` is set, only prints a line: an interrupted cleanup would leave
    resources behind. A lost terminal sends SIGHUP twice, from the kernel and from the shell. A signal that was ignored
    before, as under nohup, stays ignored.

    :param stopping: what the command does now, such as "ending the cluster".
    :ivar is_shielded: whether what runs now must not be interrupted.
    :ivar stopped: the exception that ends this process, after the first signal.
    """

    def __init__(self, stopping: str) -> None:
        self._stopping = stopping
        self.is_shielded = False
        self.stopped: BaseException | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        """Install the handlers; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            handled = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._stop) for number in handled}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _stop(self, number: int, _frame: object) -> None:
        is_first = self.stopped is None
        stopped = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        self.stopped = self.stopped or stopped
        if self.is_shielded or not is_first:
            note(f"already stopping: {self._stopping}; please wait")
            return
        note(f"stopping: {self._stopping}")
        raise stopped
