"""Waiting in the foreground: looks at AWS, a bound, and an end by a signal that undoes what was begun."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.cli.output import note, progress
from airflow_eip_provider.lease_client.waiting import POLL_SECONDS
from airflow_eip_provider.operators.phases import raise_if_cluster_gone
from airflow_eip_provider.triggers.backoff import Backoff
from airflow_eip_provider.triggers.observed import Observed
from airflow_eip_provider.triggers.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from airflow_eip_provider.triggers.observed import ClientFor

_STOPS = (signal.SIGTERM, signal.SIGHUP)


def deadline_after(wait: timedelta) -> float:
    """Return when a wait that begins now ends, in seconds since the epoch."""
    return clock.time() + wait.total_seconds()


def seconds_left(deadline: float) -> float:
    """Return the seconds until a deadline; 0 when it has passed."""
    return max(0.0, deadline - clock.time())


def wait_until(judge: Callable[[Observed], Verdict], client_for: ClientFor, *, deadline: float) -> Verdict:
    """
    Look until something is decided, or the deadline has passed; at least once. What is waited for is said.

    :return: what was seen last; it is "pending" when the time was over.
    :raises ClusterEndedError: when a cluster has ended on which that depends.
    """
    pause, said = Backoff(POLL_SECONDS), ""
    while True:
        try:
            verdict = judge(Observed(client_for))
            pause.answered()
        except Exception as error:
            if not is_transient(error) or clock.time() >= deadline:
                raise
            verdict = Verdict("pending", f"no answer from AWS: {error}")
            pause.missed()
        raise_if_cluster_gone(verdict.data)
        left = deadline - clock.time()
        if verdict.status != "pending" or left <= 0:
            return verdict
        if verdict.message != said:
            said = verdict.message
            note(f"waiting: {said}")
            progress("waiting")
        clock.sleep(min(pause.seconds(), left))


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """
    Let SIGTERM, or SIGHUP of a lost terminal, end what runs here as an exception does, so that it undoes what it began.

    A second one does not disturb that: when a terminal is lost, both the kernel and the shell send SIGHUP. What is
    ignored from the start, as under nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    heeded = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(number: int, _frame: object) -> None:
        for heard in heeded:
            signal.signal(heard, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
