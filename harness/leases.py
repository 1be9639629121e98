"""Runs several waiting tasks on one simulated clock, and simulates the crash of a task at a call of the protocol."""

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
    """The simulated process has crashed; a BaseException, so that no ``except Exception`` catches it."""


class Queue:
    """Deferred tasks, whose triggers are each polled once per tick, as by a triggerer."""

    def __init__(self, aws: Any, client_for: Callable[[str], Any]) -> None:
        self._aws = aws
        self._client_for = client_for
        self._triggers: dict[int, tuple[Any, Any]] = {}

    def pass_time(self, seconds: float, *tasks: Task) -> None:
        """Advance the time tick by tick."""
        for _ in range(int(seconds // TICK_SECONDS)):
            self.tick(*tasks)

    def until(self, happened: Callable[[], bool], *tasks: Task, most_seconds: float = 7200) -> float:
        """Advance the time until ``happened`` returns True; return the simulated seconds that it took."""
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
                self._poll(task)

    def _poll(self, task: Task) -> None:
        deferral, trigger = self._triggers.get(id(task), (None, None))
        if deferral is not task.deferral:
            trigger = task.trigger()
            self._triggers[id(task)] = (task.deferral, trigger)
        verdict = trigger.judge(Observed(lambda service, _: self._client_for(service)))
        if verdict.status != "pending":
            task.resume(trigger.payload(verdict))


def vanish(monkeypatch: pytest.MonkeyPatch, task: Task, method: str, *, after: bool, nth: int = 1) -> None:
    """
    Run a task until its process crashes at a call of a method of ``LeaseWorld``.

    :param after: whether the call took effect before the crash.
    :param nth: which call of the method it is.
    """
    real, calls = getattr(LeaseWorld, method), 0

    def crashing(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != nth:
            return real(self, *args, **options)
        if after:
            real(self, *args, **options)
        raise Vanished

    task._pristine.undo = lambda *_: None
    with monkeypatch.context() as patch:
        patch.setattr(LeaseWorld, method, crashing)
        try:
            task.start() if task.deferral is None else task.go_on()
        except Vanished:
            task.deferral = None
            return
    raise AssertionError(f"the task made {calls} calls of {method}; the crash is planned at call {nth}")
