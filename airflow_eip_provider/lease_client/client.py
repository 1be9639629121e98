"""The lease of one Elastic IP as a task uses it, and the world of the lease protocol, on AWS and a lock store."""

from __future__ import annotations

import functools
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.endings import end
from airflow_eip_provider.aws.nat_gateway_changes import is_behind_own_gateway, remove_association, remove_gateways
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, TOKEN_TAG, as_items
from airflow_eip_provider.exceptions import (
    CorruptRecordError,
    LaunchUnclearError,
    LeaseLostError,
    LockStoreError,
    LockStoreUnavailableError,
    NewerRecordError,
    QueueFullError,
    RecordContendedError,
    SupersededError,
)
from airflow_eip_provider.lease import protocol
from airflow_eip_provider.lease.description import utc
from airflow_eip_provider.lease.record import LIMITS, Phase
from airflow_eip_provider.lease.store import Snapshot, Unknown
from airflow_eip_provider.lease.world import AddressLocation, LeaseTags, TooLate, Unclear
from airflow_eip_provider.lease_client.interface import FRESH_SECONDS, Clients, LeaseClient, StepCheck, Successor
from airflow_eip_provider.lease_client.reads import LeaseReads, as_aws_tags, is_cluster, read_location
from airflow_eip_provider.stores.records import to_text
from airflow_eip_provider.stores.uri import open_store, parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired, Ending, MovedByAnother, NotStarted, Queued
    from airflow_eip_provider.lease.record import Attempt, Record
    from airflow_eip_provider.lease.store import Outcome
    from airflow_eip_provider.lease.world import Resource
    from airflow_eip_provider.lease_client.interface import ClusterLauncher, Undo

    ClientFor: TypeAlias = Callable[[str, "str | None"], Any]

log = logging.getLogger(__name__)

# So many writes in a row without an answer, each sent by botocore more than once, are no accident.
_MOST_UNANSWERED = 4
# A new owner may not join the queue if the record became larger than this. DynamoDB keeps 400 KB in an item ("Quotas
# in Amazon DynamoDB"); the rest is for the writes of owners that are in the record already, which are never refused: a
# hand-over, a release, and what they add to history and possible orphans. S3 has no such limit; one rule is enough.
MOST_BYTES_TO_JOIN = 300_000
# The pauses after a write that met another: random, on average doubling from half a second to ten seconds, and for
# LeaseClient.patience_seconds in all. Much longer than a call of the store takes: then fifty writers at a time need
# three writes each, not ten.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 20.0


def pause_seconds(number: int, chance: float) -> float:
    """
    Return the pause before the next read of a record that others change.

    :param number: how many there were before.
    :param chance: random, from 0 to 1: of many writers, each pauses for another time.
    """
    return chance * min(_FIRST_PAUSE_SECONDS * float(2 ** min(number, 16)), _LONGEST_PAUSE_SECONDS)


class StoreLeaseClient(LeaseClient):
    """
    The lease of one address on a lock store; each operation on it gets a :class:`LeaseWorld` of its own.

    :param client_for: makes a boto3 client, or what is like one, by service and region.
    :param kill: the task's; nothing but an undo changes anything once it is set.
    :param remembered: a cluster that may be the lease's, whatever ListClusters says.
    :param who: the owner, in words for errors.
    """

    def __init__(
        self,
        uri: str,
        *,
        allocation_id: str,
        client_for: ClientFor,
        kill: KillFlag | None = None,
        remembered: str | None = None,
        who: str = "this task",
    ) -> None:
        where = parse_uri(uri)
        self.uri: str = uri
        self.allocation_id = allocation_id
        self.limits = replace(LIMITS, grace=where.grace or LIMITS.grace)
        self.store = open_store(uri, client_for)
        self.clients = Clients(client_for)
        self._is_dynamodb = where.kind == "dynamodb"
        self.kill = kill
        self.remembered = remembered
        self._who = who
        self._noted_grace: float | None = None
        self._clock: tuple[float, float] | None = None
        self._opened: tuple[Snapshot, float] | None = None
        self._taken_off: str | None = None
        self._without_gateway: set[str] = set()

    def check(self) -> None:
        """
        Check the lock store, before anything depends on it, by reading the record; the next operation uses that.

        A table that DynamoDB reads from is there, serves, and has the right key. Only where the read fails the store is
        checked for why, and a missing table is created if that is asked for. S3 also reads a bucket of another region.
        """
        if not self._is_dynamodb:
            self.store.check()
        try:
            snapshot = self._read_timed()
        except (CorruptRecordError, NewerRecordError):
            raise
        except (LockStoreError, ClientError) as refused:
            log.info("Checking lock store '%s', as its first read failed: %s", self.uri, refused)
            self.store.check()
            snapshot = self._read_timed()
        self._opened = (snapshot, clock.monotonic())

    def _read_timed(self) -> Snapshot:
        asked_at = clock.monotonic()
        snapshot = self.read()
        self.set_clock(snapshot, asked_at=asked_at)
        return snapshot

    def take_opened(self) -> Snapshot | None:
        """Return the record as :meth:`check` read it, once; ``None`` when that is too long ago."""
        opened, self._opened = self._opened, None
        return opened[0] if opened and clock.monotonic() - opened[1] < FRESH_SECONDS else None

    def read(self) -> Snapshot:
        """Return the record as it is now."""
        return self.store.read(self.allocation_id)

    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: float = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired | Queued:
        """Acquire the lease, or join the queue."""
        world = self.entering_world(lease_request, launcher)
        entered = protocol.enter(world, lease_request, due_seconds=due_seconds, limits=self.limits)
        if isinstance(entered, protocol.Superseded):
            raise self.superseded()
        if isinstance(entered, protocol.Queued):
            self.note_grace(entered.observation.snapshot.record.grace)
        return entered

    def entering_world(self, lease_request: LeaseRequest, launcher: ClusterLauncher | None) -> LeaseWorld:
        """Return the world for an attempt that enters; it knows what :meth:`check` and the preflight have just read."""
        world = self.world(launcher, try_number=lease_request.attempt.try_number)
        world.known_record = self.take_opened()
        noted = self.take_noted()
        if world.known_record is not None and noted is not None:  # of the two, the record was read first
            world.known_location = functools.partial(read_location, self.clients, self.allocation_id, address=noted)
        return world

    def superseded(self) -> SupersededError:
        """Return the error of an attempt beside which a newer one is at work."""
        return SupersededError(self.allocation_id, problem=f"a newer try of {self._who} is at work")

    def note_grace(self, agreed: float) -> None:
        """Log that the record's grace is not the one that is configured here: the record's holds for everybody."""
        configured = self.limits.grace
        if agreed not in {configured, self._noted_grace}:
            self._noted_grace = agreed
            log.info(
                "A free Elastic IP %s is kept %.0f s for the task whose turn it is, as its record says; the %.0f s "
                "that are configured here apply once its record has neither a lease nor a queue",
                self.allocation_id,
                agreed,
                configured,
            )

    def successor(self, old: str, *, attempt: Attempt) -> Successor | None:
        """Return what the record says."""
        record = self.read().record
        lease = record.lease
        if lease is None or not record.has_moved_from(old):
            return None
        return Successor(
            lease.resource_id,
            in_charge=lease.phase is Phase.ACTIVE,
            is_own=lease.attempt.owner == attempt.owner,
            has_address=lease.phase is Phase.ACTIVE,
            token=lease.token,
            moved_at=lease.acquired_at,
        )

    def move(
        self, lease_request: LeaseRequest, *, moved_from: str, due_seconds: float = 0.0
    ) -> Acquired | Queued | MovedByAnother:
        """Move the lease in the record, or queue for it."""
        world = self.world(try_number=lease_request.attempt.try_number)
        moved = protocol.move(world, lease_request, moved_from=moved_from, due_seconds=due_seconds, limits=self.limits)
        if isinstance(moved, protocol.Superseded):
            raise self.superseded()
        return moved

    def launch(
        self, acquired: Acquired, lease_request: LeaseRequest, launcher: ClusterLauncher, *, replaces: bool = False
    ) -> str | NotStarted:
        """Return the cluster of the lease, or the one that has to be replaced."""
        attempt = lease_request.attempt
        world = self.world(launcher, try_number=attempt.try_number)
        launched = protocol.launch(world, acquired.snapshot, attempt, replaces=replaces)
        if isinstance(launched, protocol.LeaseLost):
            raise LeaseLostError(self.allocation_id, problem=launched.why)
        if isinstance(launched, Unclear):
            raise LaunchUnclearError(lease_request.cluster_name, owner=attempt.name, problem="see above")
        return launched

    def replace(
        self,
        attempt: Attempt,
        launcher: ClusterLauncher,
        *,
        token: int | None,
        failed: str,
        other: str | None = None,
    ) -> str | Ending:
        """Give the cluster up in the record, end it, and launch the next one when it is gone."""
        world = self.world(launcher, try_number=attempt.try_number)
        world.replaced = failed
        given_up = protocol.give_up(world, attempt, token=token or 0, failed=failed)
        if not isinstance(given_up, protocol.LeaseLost):
            self._remove_gateways(failed)
        launched = protocol.replace_cluster(world, attempt, token=token or 0, failed=failed, other=other)
        if isinstance(launched, protocol.LeaseLost):
            raise LeaseLostError(self.allocation_id, who=self._who, problem=launched.why)
        if isinstance(launched, Unclear):
            raise LaunchUnclearError(f"in the place of {failed}", owner=attempt.name, problem="see above")
        return launched

    def give_up(self, attempt: Attempt, *, token: int | None, failed: str) -> None:
        """Write that a cluster did not start, so that its owner keeps the lease while it replaces it."""
        given_up = protocol.give_up(self.world(), attempt, token=token or 0, failed=failed)
        if isinstance(given_up, protocol.LeaseLost):
            raise LeaseLostError(self.allocation_id, who=self._who, problem=given_up.why)

    def relocate(self, attempt: Attempt, *, token: int | None, resource_id: str) -> str:
        """Find another cluster of the lease that has the address: of an earlier attempt that is still at work."""
        if token is None:
            return resource_id
        return protocol.relocate(self.world(), LeaseTags(token, attempt.owner), resource_id=resource_id)

    def lease_tags(self, attempt: Attempt, *, token: int | None) -> dict[str, str] | None:
        """Return address, owner and fencing token."""
        if token is None:
            return None
        return as_aws_tags(LeaseTags(token, attempt.owner), allocation_id=self.allocation_id)

    def hand_over(
        self, attempt: Attempt, *, token: int | None, resource_id: str, launcher: ClusterLauncher | None = None
    ) -> None:
        """Make the lease active."""
        handed = protocol.hand_over(self.world(), attempt, token=token or 0, resource_id=resource_id)
        if isinstance(handed, protocol.LeaseLost):
            raise LeaseLostError(self.allocation_id, who=self._who, problem=handed.why)

    def check_current(self, attempt: Attempt, *, token: int | None) -> None:
        """Read the record, and check that it names this attempt, and no release has begun."""
        lease = self.read().record.lease
        if lease is None or lease.token != token or lease.attempt != attempt or lease.phase is Phase.RELEASING:
            now = f"leased to {lease.attempt.name}, and {lease.phase.name.lower()}" if lease else "not leased"
            raise LeaseLostError(self.allocation_id, who=self._who, problem=f"it is {now} now")

    def was_handed_over(self, undo: Undo) -> bool:
        """Whether the lease is active."""
        lease = self.read().record.lease
        return lease is not None and lease.attempt == undo.attempt and lease.phase is Phase.ACTIVE

    def undo(self, undo: Undo) -> None:
        """End an attempt's part in the lease or the queue; and what was made for a cluster that is ending."""
        work = protocol.Work(
            undo.attempt, undo.resource_id, undo.token, undo.terminate, undo.association_id, undo.may_lag
        )
        protocol.undo(self.world(undoing=True), work)
        if undo.launched and undo.resource_id is not None:
            self._remove_gateways(undo.resource_id)

    def _remove_gateways(self, job_flow_id: str) -> None:
        """Remove what was made for a cluster that is ending: a gateway that failed may not show the address."""
        if job_flow_id in self._without_gateway:
            return
        cluster = read_cluster(self.clients["emr"], job_flow_id)
        if cluster is None or ALLOCATION_TAG not in cluster.tags:
            return  # EMR does not show it, or not the tags that it was launched with
        if not is_behind_own_gateway(cluster):
            self._without_gateway.add(job_flow_id)  # for good, so EMR need not be asked again
        elif cluster.is_ending:
            remove_gateways(self.clients["ec2"], job_flow_id, allocation_id=self.allocation_id)

    def check_step(self, resource_id: str) -> StepCheck:
        """Check that the lease is the cluster's, and active."""
        world = self.world()
        said, snapshot = protocol.guard(world, resource_id), world.last_seen
        if said is None:
            lease = None if snapshot is None else snapshot.record.lease
            return StepCheck(is_certain=True, token=None if lease is None else lease.token)
        ended = None if snapshot is None else _how_it_ended(snapshot.record, resource_id)
        return StepCheck(f"{said}; {ended}" if ended else said)

    def start_release(self, resource_id: str) -> bool:
        """Make the lease releasing."""
        return protocol.start_release(self.world(), resource_id)

    def release(self, resource_id: str, *, why: str) -> bool:
        """
        Disassociate the address, and end the lease with what crashed attempts may have left.

        Where :meth:`disassociate` has just disassociated it from this resource, it is not looked for there again.
        """
        world = self.world()
        taken_off, self._taken_off = self._taken_off, None
        if taken_off == resource_id:
            world.known_location = AddressLocation
        return protocol.release(world, resource_id, why=why)

    def disassociate(self, resource_id: str) -> bool:
        """Take the address off a resource, and remember that for the release that follows."""
        freed = super().disassociate(resource_id)
        self._taken_off = resource_id if freed else None
        return freed

    def world(
        self, launcher: ClusterLauncher | None = None, *, try_number: int = 1, undoing: bool = False
    ) -> LeaseWorld:
        """
        Return the world for one operation, whose patience begins now.

        :param try_number: of what the launcher launches.
        :param undoing: go on after a kill.
        """
        return LeaseWorld(self, launcher, try_number=try_number, undoing=undoing)

    def set_clock(self, snapshot: Snapshot, *, asked_at: float) -> None:
        """
        Remember what the store's clock said.

        :param asked_at: by this process's monotonic clock, before the store was asked.
        """
        self._clock = (snapshot.now, asked_at)

    def store_time(self) -> float | None:
        """
        Return the store's time, never too early: its last answer, and what has passed here since it was asked.

        :return: ``None`` when it has not answered yet.
        """
        if self._clock is None:
            return None
        said, asked = self._clock
        return said + clock.monotonic() - asked


class LeaseWorld(LeaseReads):
    """
    A :class:`~airflow_eip_provider.lease.world.World` on AWS, for one operation of one task.

    Whatever calls of AWS and of the store raise is raised out of the operation. Besides, any method may raise:

    - LockStoreUnavailableError when the store leaves one write after the other without an answer,
    - QueueFullError when the queue is too long for one more,
    - RecordContendedError when others change the record before each write of this task, for minutes,
    - KilledError after a kill, before a change.

    :ivar known_record: what the first read of the record returns.
    :ivar known_location: returns what the first read of the location does, if no other read of the record comes before.
    :ivar last_seen: what the last one returned.
    :ivar replaced: the cluster that its own task terminates because it did not start.
    """

    known_record: Snapshot | None = None
    known_location: Callable[[], AddressLocation] | None = None
    last_seen: Snapshot | None = None
    replaced: str | None = None

    def __init__(
        self, lease_client: StoreLeaseClient, launcher: ClusterLauncher | None, *, try_number: int, undoing: bool
    ) -> None:
        super().__init__(lease_client.store, allocation_id=lease_client.allocation_id, clients=lease_client.clients)
        self._lease_client = lease_client
        self._launcher = launcher
        self._try_number = try_number
        self._undoing = undoing
        self.is_patient = not undoing
        self._before: Snapshot | None = None
        self._unanswered = 0
        self._pauses, self._paused = 0, 0.0

    def read_record(self) -> Snapshot:
        """
        Return the record as the store has it now, or had it when the store was checked a moment ago.

        A write that follows names the version of that record, and is refused if it has changed since.
        """
        self.last_seen, self.known_record = self.known_record, None
        if self.last_seen is None:
            self.known_location = None  # it would be older than the record (rule 11)
            asked_at = clock.monotonic()
            self.last_seen = super().read_record()
            self._lease_client.set_clock(self.last_seen, asked_at=asked_at)
        self._before = self.last_seen
        return self.last_seen

    def read_location(self) -> AddressLocation:
        """Return where the address is, or was a moment ago, after the record was read."""
        known, self.known_location = self.known_location, None
        return known() if known else super().read_location()

    def write_record(self, record: Record, version: str | None, *, joins: bool = False) -> Outcome:
        """
        Replace the record of this version.

        :param joins: it adds an entry to the queue, and may be refused where the record has grown too large.
        """
        asked_at = clock.monotonic()
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
        if isinstance(outcome, Snapshot):
            self._lease_client.set_clock(outcome, asked_at=asked_at)
            before, self._before = self._before, outcome
            known = before is not None and before.version == version
            self._lease_client.events.written(before.record if before and known else None, outcome.record)
        return outcome

    def pause(self) -> None:
        """Pause, longer each time and not as long as others do: of many writers one is always the first."""
        if self._paused >= self._lease_client.patience_seconds:
            raise RecordContendedError(self._lease_client.uri, writes=self._pauses, seconds=self._paused)
        seconds = pause_seconds(self._pauses, random.random())  # noqa: S311 - not a secret
        self._pauses += 1
        self._paused += seconds
        clock.sleep(seconds)

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        """Add the cluster that an earlier try remembers, if it is of the same lease: ListClusters may lag behind."""
        found = super().find_clusters(lease_tags, since)
        name = self._lease_client.remembered
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
        if self._launcher is None:
            raise TypeError("this task launches nothing")
        now = self._lease_client.store_time()
        if now is None or now - announced_at > LIMITS.send:
            return TooLate()
        try:
            return self._launcher.launch(try_number=self._try_number, allocation_id=self.allocation_id, token=token)
        except LaunchUnclearError as error:
            log.warning("%s", error)
            return Unclear()

    def give_lease_tags(self, resource_id: str, token: int) -> None:
        """
        Replace a cluster's lease tags by those of this address; EMR gives them to its instances.

        :param token: of the lease that goes on with it.
        """
        self._check_alive()
        tags = {ALLOCATION_TAG: self.allocation_id, TOKEN_TAG: str(token)}
        try:
            self.clients["emr"].add_tags(ResourceId=resource_id, Tags=as_items(tags))
        except ClientError:
            # EMR may refuse it for a cluster that has ended meanwhile: its lease needs another one anyway.
            if self.read_resource(resource_id).is_live:
                raise

    def terminate(self, resource_id: str) -> bool:
        """
        Terminate a cluster, whatever has become of it; an instance is left as it is, as it was not made for the lease.

        :return: ``False`` when EMR does not know it (yet).
        """
        self._check_alive()
        if not is_cluster(resource_id):
            return True
        is_known = end(self.clients["emr"], resource_id)
        if is_known and not self._undoing and resource_id != self.replaced:
            self._lease_client.events.orphan_terminated(resource_id)
        return is_known

    def disassociate(self, association_id: str) -> None:
        """Undo one association, if it still exists; that of a NAT gateway ends with the gateway."""
        self._check_alive()
        remove_association(self.clients["ec2"], association_id)

    def _check_alive(self) -> None:
        """Before a change, not before a read: undoing must go on after a kill, and reading may."""
        if not self._undoing and self._lease_client.kill is not None:
            self._lease_client.kill.check()

    def _check_room(self, record: Record) -> None:
        size = len(to_text(record))
        if size > MOST_BYTES_TO_JOIN:
            raise QueueFullError(
                self._lease_client.uri, waiting=len(record.queue) - 1, size=size, most=MOST_BYTES_TO_JOIN
            )


def _how_it_ended(record: Record, resource_id: str) -> str | None:
    """Say when and why the lease of a cluster ended, if it has."""
    if record.lease is not None and record.lease.resource_id == resource_id:
        return None
    ended = next((ended for ended in reversed(record.history) if ended.resource_id == resource_id), None)
    return None if ended is None else f"the lease of this cluster ended at {utc(ended.ended_at)}: {ended.why}"
