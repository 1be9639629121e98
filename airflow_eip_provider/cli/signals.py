"""Being stopped once: the first signal ends what runs, and none disturbs what comes after it."""

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
    Let the first Ctrl-C, SIGTERM or SIGHUP end what runs here as an exception does.

    A later one, and any while :attr:`is_shielded` is set, is answered with a line: half an undo leaves a cluster
    behind. What is ignored from the start, as under nohup, stays so.

    :param stopping: what is done because of it, in words, e.g. "ending the cluster".
    :ivar is_shielded: what runs now must come to its end.
    :ivar stopped: what ends this process, once a signal has come.
    """

    def __init__(self, stopping: str) -> None:
        self._stopping = stopping
        self.is_shielded = False
        self.stopped: BaseException | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        """Begin to listen; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._stop) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _stop(self, number: int, _frame: object) -> None:
        is_first = self.stopped is None
        stopped = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        self.stopped = self.stopped or stopped
        if self.is_shielded or not is_first:
            note(f"stopping already: {self._stopping}, which takes a while")
            return
        note(f"stopping: {self._stopping}")
        raise stopped
