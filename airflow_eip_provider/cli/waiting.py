"""Waiting in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.cli.output import note, progress
from airflow_eip_provider.lease_client.waiting import POLL_SECONDS
from airflow_eip_provider.triggers.backoff import Backoff
from airflow_eip_provider.triggers.observed import Observed
from airflow_eip_provider.triggers.verdict import Verdict, raise_if_cluster_gone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from airflow_eip_provider.triggers.observed import ClientFor


def deadline_after(wait: timedelta) -> float:
    """Return the end of a wait that begins now, in seconds since the epoch."""
    return clock.time() + wait.total_seconds()


def wait_until(judge: Callable[[Observed], Verdict], client_for: ClientFor, *, deadline: float) -> Verdict:
    """
    Poll until there is a result, or the deadline has passed; at least once. Print what is waited for.

    :return: the last verdict, which is "pending" after the deadline.
    :raises ClusterEndedError: when a cluster has ended that the wait depends on.
    """
    pause, last_message = Backoff(POLL_SECONDS), ""
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
        if verdict.message != last_message:
            last_message = verdict.message
            note(f"waiting: {last_message}")
            progress("waiting")
        clock.sleep(min(pause.seconds(), left))
