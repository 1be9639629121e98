"""The lease of one Elastic IP as a task uses it: the world of the lease protocol, on AWS."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.endings import disassociate, end
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS
from airflow_eip_provider.aws.nat_gateway_changes import remove_gateway
from airflow_eip_provider.aws.nat_gateways import is_gateway, read_gateway
from airflow_eip_provider.exceptions import (
    LaunchUnclearError,
    LockStoreUnavailableError,
    QueueFullError,
    RecordContendedError,
)
from airflow_eip_provider.lease.record import LIMITS
from airflow_eip_provider.lease.store import Seen, Unknown
from airflow_eip_provider.lease.world import TooLate, Unclear
from airflow_eip_provider.lease_client.reads import LeaseReads, is_cluster
from airflow_eip_provider.stores.records import to_text
from airflow_eip_provider.stores.uri import open_store, parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import Outcome
    from airflow_eip_provider.lease.world import AddressLocation, LeaseTags, Resource

log = logging.getLogger(__name__)

# So many writes in a row without an answer, each sent by botocore more than once, are no accident.
_MOST_UNANSWERED = 4
# A new owner may not join the queue if the record became larger than this. DynamoDB keeps 400 KB in an item ("Quotas
# in Amazon DynamoDB"); the rest is for the writes of owners that are in the record already, which are never refused: a
# hand-over, a release, and what they add to history and possible orphans. S3 has no such limit; one rule is enough.
MOST_BYTES_TO_JOIN = 300_000
# The pauses after a write that met another: random, on average doubling from half a second to ten seconds, five minutes
# in all. Much longer than a call of the store takes: then fifty writers at a time need three writes each, not ten.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 20.0
_MOST_PAUSES_SECONDS = 300.0


def pause_seconds(number: int, chance: float) -> float:
    """
    Return the pause before the next read of a record that others change.

    :param number: how many there were before.
    :param chance: random, from 0 to 1: of many writers, each pauses for another time.
    """
    return chance * min(_FIRST_PAUSE_SECONDS * float(2 ** min(number, 16)), _LONGEST_PAUSE_SECONDS)


class LeaseClient:
    """
    The lease of one address, for one task in one process; each operation on it gets a :class:`LeaseWorld` of its own.

    :param uri: the lock store's.
    :param ec2: a boto3 client, or what is like one; ``emr`` too.
    :param client_for: makes the boto3 client of a lock store, by service and region.
    :param check_alive: raises after a kill; asked before every change, but for those that undo.
    :param remembered: names a cluster that may be the lease's, whatever ListClusters says.
    :ivar patience_seconds: for how long one operation pauses, in all, because others change the record.
    """

    def __init__(
        self,
        uri: str,
        *,
        allocation_id: str,
        ec2: Any,
        emr: Any,
        client_for: Callable[[str, str | None], Any],
        check_alive: Callable[[], None],
        remembered: Callable[[], str | None] = lambda: None,
    ) -> None:
        where = parse_uri(uri)
        self.uri = uri
        self.allocation_id = allocation_id
        self.limits = replace(LIMITS, grace=where.grace or LIMITS.grace)
        self.store = open_store(uri, client_for)
        self.clients: dict[str, Any] = {"ec2": ec2, "emr": emr}
        self.check_alive = check_alive
        self.remembered = remembered
        self.patience_seconds = _MOST_PAUSES_SECONDS
        self._clock: tuple[float, float] | None = None

    def read(self) -> Seen:
        """Return the record as it is now."""
        return self.store.read(self.allocation_id)

    def world(self, *, launch: Callable[[int], str] | None = None, undoing: bool = False) -> LeaseWorld:
        """
        Return the world for one operation, whose patience begins now.

        :param launch: launches a cluster with a token in its tags, and returns its id.
        :param undoing: go on after a kill.
        """
        return LeaseWorld(self, launch=launch, undoing=undoing)

    def set_clock(self, seen: Seen, *, asked_at: float) -> None:
        """
        Remember what the store's clock said.

        :param asked_at: by this process's monotonic clock, before the store was asked.
        """
        self._clock = (seen.now, asked_at)

    def store_time(self) -> float | None:
        """
        Return the store's time, never too early: its last answer, and what has passed here since it was asked.

        :return: ``None`` when it has not answered yet.
        """
        if self._clock is None:
            return None
        said, asked = self._clock
        return said + time.monotonic() - asked


class LeaseWorld(LeaseReads):
    """
    A :class:`~airflow_eip_provider.lease.world.World` on AWS, for one operation of one task.

    Whatever calls of AWS and of the store raise is raised out of the operation. Besides, any method may raise:

    - LockStoreUnavailableError when the store leaves one write after the other without an answer,
    - QueueFullError when the queue is too long for one more,
    - RecordContendedError when others change the record before each write of this task, for minutes,
    - what ``check_alive`` raises, after a kill, before a change.
    """

    def __init__(self, lease_client: LeaseClient, *, launch: Callable[[int], str] | None, undoing: bool) -> None:
        super().__init__(lease_client.store, allocation_id=lease_client.allocation_id, clients=lease_client.clients)
        self._lease_client = lease_client
        self._launch = launch
        self._undoing = undoing
        self._unanswered = 0
        self._pauses, self._paused = 0, 0.0

    def read_record(self) -> Seen:
        """Return the record as the store has it now."""
        asked_at = time.monotonic()
        seen = super().read_record()
        self._lease_client.set_clock(seen, asked_at=asked_at)
        return seen

    def write_record(self, record: Record, version: str | None, *, joins: bool = False) -> Outcome:
        """
        Replace the record of this version.

        :param joins: it adds an entry to the queue, and may be refused where the record has grown too large.
        """
        asked_at = time.monotonic()
        self._check_alive()
        if joins:
            self._check_room(record)
        outcome = self.store.write(self.allocation_id, record, expected_version=version)
        if isinstance(outcome, Unknown):
            self._unanswered += 1
            if self._unanswered == _MOST_UNANSWERED:
                raise LockStoreUnavailableError(self._lease_client.uri, problem=outcome.problem)
            return outcome
        self._unanswered = 0
        if isinstance(outcome, Seen):
            self._lease_client.set_clock(outcome, asked_at=asked_at)
        return outcome

    def pause(self) -> None:
        """Pause, longer each time and not as long as others do: of many writers one is always the first."""
        if self._paused >= self._lease_client.patience_seconds:
            raise RecordContendedError(self._lease_client.uri, writes=self._pauses, seconds=self._paused)
        seconds = pause_seconds(self._pauses, random.random())  # noqa: S311 - not a secret
        self._pauses += 1
        self._paused += seconds
        time.sleep(seconds)

    def settled_location(self, expected: str) -> AddressLocation:
        """Read until the address is where it is expected, or EC2 would have to show it there: its answers may lag."""
        for _ in range(READS_LAG_SECONDS // SECOND_LOOK_SECONDS):
            location = self.read_location()
            if expected in location.resource_ids:
                return location
            time.sleep(SECOND_LOOK_SECONDS)
        return self.read_location()

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        """Add the cluster that an earlier try remembers, if it is of the same lease: ListClusters may lag behind."""
        found = super().find_clusters(lease_tags, since)
        name = self._lease_client.remembered()
        if name is None or any(resource.resource_id == name for resource in found):
            return found
        there = self.read_resource(name)
        return (*found, there) if there.lease_tags == lease_tags and there.state != "ended" else found

    def launch(self, token: int, announced_at: float) -> str | TooLate | Unclear:
        """
        Launch a cluster with this token in its tags, and return its id.

        :param announced_at: the store's time of the write that this launch relies on; ``Limits.send`` counts from it.
        """
        self._check_alive()
        if self._launch is None:
            raise TypeError("this task launches nothing")
        now = self._lease_client.store_time()
        if now is None or now - announced_at > LIMITS.send:
            return TooLate()
        try:
            return self._launch(token)
        except LaunchUnclearError as error:
            log.warning("%s", error)
            return Unclear()

    def terminate(self, resource_id: str) -> bool:
        """
        Terminate a cluster, whatever has become of it; an instance is left as it is, as it was not made for the lease.

        :return: ``False`` when EMR does not know it (yet).
        """
        self._check_alive()
        return end(self.clients["emr"], resource_id) if is_cluster(resource_id) else True

    def disassociate(self, association_id: str) -> None:
        """Undo one association, if it still exists; that of a NAT gateway ends with the gateway."""
        self._check_alive()
        if not is_gateway(association_id):
            disassociate(self.clients["ec2"], association_id)
            return
        gateway = read_gateway(self.clients["ec2"], association_id)
        if gateway is not None:
            remove_gateway(self.clients["ec2"], gateway)

    def _check_alive(self) -> None:
        """Before a change, not before a read: undoing must go on after a kill, and reading may."""
        if not self._undoing:
            self._lease_client.check_alive()

    def _check_room(self, record: Record) -> None:
        size = len(to_text(record))
        if size > MOST_BYTES_TO_JOIN:
            raise QueueFullError(
                self._lease_client.uri, waiting=len(record.queue) - 1, size=size, most=MOST_BYTES_TO_JOIN
            )
