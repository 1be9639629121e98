"""Waiting for a lease in the foreground, for a process that does nothing else meanwhile: no operator, no triggerer."""

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
# For how long a hand-over is tried while the store gives no answer: the address is there already.
HANDOVER_PATIENCE_SECONDS = 300


class Foreground:
    """
    How such a process waits.

    :param deadline: in seconds since the epoch.
    :param say: tells a person what is waited for; called when that has changed.
    :param poll_seconds: between two attempts.
    """

    def __init__(self, *, deadline: float, say: Callable[[str], None], poll_seconds: float = POLL_SECONDS) -> None:
        self.deadline = deadline
        self._say = say
        self._poll_seconds = poll_seconds
        self._said = ""

    def acquire(self, lease_client: LeaseClient, lease_request: LeaseRequest) -> Acquired | Queued | AddressInUse:
        """
        Queue until the lease is this owner's, or the deadline has passed; attempt it at least once.

        :return: what the last attempt came to.
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
        Attempt something until it is answered: once, and again after transient errors until the deadline.

        :param attempt: may be made again after an error that came halfway.
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
        Let the time between two attempts pass.

        :return: ``False``, at once, when the deadline has passed.
        """
        left = self.deadline - clock.time()
        if left > 0:
            clock.sleep(min(left, self._poll_seconds))
        return left > 0

    def note(self, text: str) -> None:
        """Say something, if it was not the last thing said."""
        if text != self._said:
            self._said = text
            self._say(text)
