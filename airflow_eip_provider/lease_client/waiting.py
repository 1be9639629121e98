"""Waiting for a lease in the foreground, for a process outside Airflow's workers and triggerer."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.lease.description import queue_place_of
from airflow_eip_provider.lease.observation import Due
from airflow_eip_provider.lease.protocol import Queued

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired
    from airflow_eip_provider.lease_client.interface import AddressInUse, LeaseClient


T = TypeVar("T")

POLL_SECONDS = 15.0
# How long a hand-over is tried while the store gives no answer; the address is already associated.
HANDOVER_PATIENCE_SECONDS = 300


class Foreground:
    """
    Waits in the foreground.

    :param deadline: in seconds since the epoch.
    :param say: prints a message; called when the message has changed.
    :param poll_seconds: the time between two attempts.
    """

    def __init__(self, *, deadline: float, say: Callable[[str], None], poll_seconds: float = POLL_SECONDS) -> None:
        self.deadline = deadline
        self._say = say
        self._poll_seconds = poll_seconds
        self._said = ""

    def acquire(self, lease_client: LeaseClient, lease_request: LeaseRequest) -> Acquired | Queued | AddressInUse:
        """
        Queue until this owner has the lease or the deadline has passed; try at least once.

        :return: the result of the last attempt.
        """
        due, due_seconds = Due(), 0.0
        patience = lease_client.patience_seconds
        while True:
            lease_client.patience_seconds = min(patience, max(self.deadline - clock.time(), self._poll_seconds))
            entered = self.persist(functools.partial(lease_client.enter, lease_request, due_seconds=due_seconds))
            lease_client.patience_seconds = patience
            if not isinstance(entered, Queued):
                return entered
            due_seconds = due.seconds(entered.observation)
            place = queue_place_of(entered.observation, lease_request.attempt.owner)
            self.note(f"waiting: Elastic IP {lease_client.allocation_id}: {place}")
            if not self.rest():
                return entered

    def persist(self, attempt: Callable[[], T]) -> T:
        """
        Call a function; repeat the call after each transient error until the deadline.

        :param attempt: must be safe to repeat after an error.
        """
        while True:
            try:
                return attempt()
            except Exception as error:
                if not is_transient(error) or clock.time() >= self.deadline:
                    raise
                self.note(f"trying again: {error}")
            self.rest()

    def rest(self) -> bool:
        """
        Sleep for the time between two attempts.

        :return: ``False``, without sleeping, when the deadline has passed.
        """
        left = self.deadline - clock.time()
        if left > 0:
            clock.sleep(min(left, self._poll_seconds))
        return left > 0

    def note(self, text: str) -> None:
        """Print a message, unless it was the last one."""
        if text != self._said:
            self._said = text
            self._say(text)
