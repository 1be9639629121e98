"""Several owners in one queue, on one simulated clock; and processes that vanish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease_client.client import LeaseWorld
from airflow_eip_provider.triggers.observed import Observed

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from harness.life import Task

TICK_SECONDS = 15


class Vanished(BaseException):
    """The process is gone: nothing of it runs any more."""


class Queue:
    """Tasks that wait; each tick lets every trigger look once, as a triggerer would."""

    def __init__(self, aws: Any, client_for: Callable[[str], Any]) -> None:
        self._aws = aws
        self._client_for = client_for
        self._triggers: dict[int, tuple[Any, Any]] = {}

    def pass_time(self, seconds: float, *tasks: Task) -> None:
        """Let the time pass tick by tick."""
        for _ in range(int(seconds // TICK_SECONDS)):
            self.tick(*tasks)

    def until(self, happened: Callable[[], bool], *tasks: Task, most_seconds: float = 7200) -> float:
        """Let the time pass until something has happened; return how long that took."""
        for tick in range(int(most_seconds // TICK_SECONDS)):
            if happened():
                return tick * TICK_SECONDS
            self.tick(*tasks)
        assert happened(), [str(task.error) for task in tasks]
        return most_seconds

    def tick(self, *tasks: Task) -> None:
        self._aws.clock.advance(TICK_SECONDS)
        for task in tasks:
            if not task.ended:
                self._look(task)

    def _look(self, task: Task) -> None:
        deferral, trigger = self._triggers.get(id(task), (None, None))
        if deferral is not task.deferral:
            trigger = task.trigger()
            self._triggers[id(task)] = (task.deferral, trigger)
        verdict = trigger.judge(Observed(lambda service, _: self._client_for(service)))
        if verdict.status != "pending":
            task.resume(trigger._payload(verdict))


def vanish(monkeypatch: pytest.MonkeyPatch, task: Task, method: str, *, after: bool, nth: int = 1) -> None:
    """
    Let the task's process vanish at a call of one of the methods of the lease's world, and run it until then.

    :param after: the call took effect.
    """
    real, seen = getattr(LeaseWorld, method), []

    def called(self: Any, *args: Any, **options: Any) -> Any:
        seen.append(method)
        if len(seen) != nth:
            return real(self, *args, **options)
        if after:
            real(self, *args, **options)
        raise Vanished

    task._pristine.undo = lambda *_: None
    with monkeypatch.context() as patch:
        patch.setattr(LeaseWorld, method, called)
        try:
            task.start() if task.deferral is None else task.go_on()
        except Vanished:
            task.deferral = None
            return
    raise AssertionError(f"there was no {method} number {nth}")
