"""Waiting in the foreground: looks at AWS, a bound, and an end by a signal that undoes what was begun."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.calls import is_transient, perform
from airflow_eip_provider.cli.output import note
from airflow_eip_provider.operators.phases import raise_if_cluster_gone
from airflow_eip_provider.triggers.backoff import Backoff
from airflow_eip_provider.triggers.watch import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta

    from airflow_eip_provider.calls import Reading

POLL_SECONDS = 15.0


def deadline_after(wait: timedelta) -> float:
    """Return when a wait that begins now ends, in seconds since the epoch."""
    return time.time() + wait.total_seconds()


def wait_until(look: Callable[[], Reading[Verdict]], clients: Mapping[str, Any], *, deadline: float) -> Verdict:
    """
    Look until something is decided, or the deadline has passed; at least once. What is waited for is said.

    :return: what was seen last; it is "pending" when the time was over.
    :raises ClusterEndedError: when a cluster has ended on which that depends.
    """
    pause, said = Backoff(POLL_SECONDS), ""
    while True:
        try:
            verdict = perform(look(), clients)
            pause.answered()
        except Exception as error:
            if not is_transient(error) or time.time() >= deadline:
                raise
            verdict = Verdict("pending", f"no answer from AWS: {error}")
            pause.missed()
        raise_if_cluster_gone(verdict.data)
        left = deadline - time.time()
        if verdict.status != "pending" or left <= 0:
            return verdict
        if verdict.message != said:
            said = verdict.message
            note(f"waiting: {said}")
        time.sleep(min(pause.seconds(), left))


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end what runs here as an exception does, so that it undoes what it began."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
