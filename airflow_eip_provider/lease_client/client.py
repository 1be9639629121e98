"""The lease of one Elastic IP with a lock store: the client for tasks, and the protocol's world on AWS."""

from __future__ import annotations

import functools
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.addresses import put_on_primary
from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.endings import end
from airflow_eip_provider.aws.lag import until_shown
from airflow_eip_provider.aws.nat_gateway_changes import is_behind_own_gateway, remove_association
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
from airflow_eip_provider.lease_client.interface import (
    FRESH_SECONDS,
    NO_RECORD,
    Clients,
    LeaseClient,
    StepCheck,
    Successor,
)
from airflow_eip_provider.lease_client.reads import LeaseReads, as_aws_tags, is_cluster, read_existing, read_location
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

# After this many writes in a row without an answer, each sent by botocore more than once, the store counts as down.
_MOST_UNANSWERED = 4
# A new owner may not join the queue if the record would become larger than this. A DynamoDB item has at most 400 KB
# ("Quotas in Amazon DynamoDB"). The rest is for the owners that are in the record already, whose writes are never
# refused: hand-overs and releases, which add to the history and the possible orphans. S3 has no such limit.
MOST_BYTES_TO_JOIN = 300_000
# The pauses after a conflict are random and on average double from half a second to ten seconds, up to
# LeaseClient.patience_seconds in all. They are much longer than a call of the store takes, so that fifty writers at a
# time need three writes each, not ten.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 20.0


def pause_seconds(number: int, chance: float) -> float:
    """
    Return the pause before the next read of a record that others change.

    :param number: the number of pauses before.
    :param chance: a random number from 0 to 1, so that each of many writers pauses for a different time.
    """
    return chance * min(_FIRST_PAUSE_SECONDS * float(2 ** min(number, 16)), _LONGEST_PAUSE_SECONDS)


class StoreLeaseClient(LeaseClient):
    """
    The lease of one address on a lock store; each operation uses a new :class:`LeaseWorld`.

    :param client_for: returns a boto3 client, or an object like one, by service and region.
    :param kill: the task's kill flag; once it is set, only an undo changes anything.
    :param remembered: a cluster that may be the lease's, even if ListClusters does not show it.
    :param who: the owner, for error messages.
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
        self._disassociated: str | None = None
        self._without_gateway: set[str] = set()

    def check(self) -> None:
        """
        Check the lock store by reading the record; the next operation uses that record.

        If the read succeeds, the DynamoDB table exists, can be used, and has the right key. If it fails, the store is
        checked for the reason, and a missing table is created if the URI says so. A bucket is always checked, because
        S3 also reads from a bucket of another region.
        """
        if not self._is_dynamodb:
            self.store.check()
        try:
            snapshot = self.read()
        except (CorruptRecordError, NewerRecordError):
            raise
        except (LockStoreError, ClientError) as refused:
            log.info("Checking lock store '%s', as its first read failed: %s", self.uri, refused)
            self.store.check()
            snapshot = self.read()
        self._opened = (snapshot, clock.monotonic())

    def take_opened(self) -> Snapshot | None:
        """Return the record that :meth:`check` read, once; ``None`` when it is too old."""
        opened, self._opened = self._opened, None
        return opened[0] if opened and clock.monotonic() - opened[1] < FRESH_SECONDS else None

    def read(self) -> Snapshot:
        """Return the current record."""
        asked_at = clock.monotonic()
        snapshot = self.store.read(self.allocation_id)
        self.set_clock(snapshot, asked_at=asked_at)
        return snapshot

    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: float = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired | Queued:
        """Acquire the lease, or join the queue, if the address still exists: it may have been released meanwhile."""
        world = self.entering_world(lease_request, launcher)
        if world.known_location is None:
            self._check_exists(world)
        entered = protocol.enter(world, lease_request, due_seconds=due_seconds, limits=self.limits)
        if isinstance(entered, protocol.Superseded):
            raise self.superseded()
        if isinstance(entered, protocol.Queued):
            self.note_grace(entered.observation.snapshot.record.grace)
        return entered

    def entering_world(self, lease_request: LeaseRequest, launcher: ClusterLauncher | None) -> LeaseWorld:
        """Return the world for an attempt that enters; it uses what :meth:`check` and the preflight have just read."""
        world = self.world(launcher, try_number=lease_request.attempt.try_number)
        world.known_record = self.take_opened()
        noted = self.take_noted()
        if world.known_record is not None and noted is not None:  # the record was read first (rule 11)
            world.known_location = functools.partial(read_location, self.clients, self.allocation_id, address=noted)
        return world

    def _check_exists(self, world: LeaseWorld) -> None:
        """
        Check that the address exists, before anything is spent on it; the world uses what is read here.

        :raises AddressNotFoundError: when it does not.
        """
        if world.known_record is None:
            world.known_record = self.read()  # before the address (rule 11)
        address = read_existing(self.clients, self.allocation_id, kill=self.kill)
        world.known_location = functools.partial(read_location, self.clients, self.allocation_id, address=address)

    def superseded(self) -> SupersededError:
        """Return the error of an attempt when a newer one is running."""
        return SupersededError(self.allocation_id, problem=f"a newer try of {self._who} is at work")

    def note_grace(self, agreed: float) -> None:
        """Log that the record's grace, which applies to all owners, differs from the one that is configured here."""
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
        """Return the successor according to the record."""
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
        """Move the lease in the record, or queue for it, if the address still exists."""
        read_existing(self.clients, self.allocation_id, kill=self.kill)
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
        """Give up the cluster in the record, terminate it, and launch the next one when it has ended."""
        world = self.world(launcher, try_number=attempt.try_number)
        world.replaced = failed
        given_up = protocol.give_up(world, attempt, token=token or 0, failed=failed)
        if isinstance(given_up, protocol.LeaseLost):
            raise self._lost(given_up)
        self._remove_ending_gateways(failed)
        launched = protocol.replace_cluster(world, attempt, token=token or 0, failed=failed, other=other)
        if isinstance(launched, protocol.LeaseLost):
            raise self._lost(launched)
        if isinstance(launched, Unclear):
            raise LaunchUnclearError(given_up.cluster_name, owner=attempt.name, problem="see above")
        return launched

    def give_up(self, attempt: Attempt, *, token: int | None, failed: str) -> None:
        """Record that a cluster did not start, so that its owner keeps the lease while it replaces it."""
        given_up = protocol.give_up(self.world(), attempt, token=token or 0, failed=failed)
        if isinstance(given_up, protocol.LeaseLost):
            raise self._lost(given_up)

    def relocate(self, attempt: Attempt, *, token: int | None, resource_id: str) -> str:
        """Find another cluster of the lease that has the address: of an earlier attempt that is still running."""
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
            raise self._lost(handed)

    def take_off(self, attempt: Attempt, *, token: int | None, moved_from: str) -> None:
        """Disassociate the address from the old cluster, if the record still names this attempt."""
        lost = protocol.take_off(self.world(), attempt, token=token or 0, moved_from=moved_from)
        if lost is not None:
            raise self._lost(lost)

    def undo(self, undo: Undo) -> None:
        """Undo what an attempt did, and remove what was made for a cluster that is ending."""
        work = protocol.Work(
            undo.attempt,
            launched=undo.resource_id,
            token=undo.token,
            terminate=undo.terminate,
            association_id=undo.association_id,
            may_lag=undo.may_lag,
            succeeded=undo.succeeded,
            moved_from=undo.moved_from,
            keeps_lease=undo.keeps_lease,
            was_freed=undo.was_freed,
        )
        world = self.world(undoing=True)
        protocol.undo(world, work)
        if undo.launched and undo.resource_id is not None:
            self._remove_ending_gateways(undo.resource_id, undo if undo.resource_id in world.terminated else None)

    def _lost(self, lost: protocol.LeaseLost) -> LeaseLostError:
        return LeaseLostError(self.allocation_id, who=self._who, problem=lost.why)

    def _remove_ending_gateways(self, job_flow_id: str, undo: Undo | None = None) -> None:
        """
        Remove the NAT gateway of a cluster that is ending; a gateway that failed may not show the address.

        :param undo: has just terminated it. Its gateway may be new: search until EC2 must show it.
        """
        if job_flow_id in self._without_gateway:
            return
        cluster = read_cluster(self.clients["emr"], job_flow_id)
        is_shown = cluster is not None and ALLOCATION_TAG in cluster.tags  # with the tags that it was launched with
        if cluster is not None and is_shown and not is_behind_own_gateway(cluster):
            self._without_gateway.add(job_flow_id)  # this does not change, so EMR need not be asked again
            return
        if undo is not None and (is_shown or undo.may_have_gateway):
            until_shown(lambda: self.remove_gateways(job_flow_id))
        elif cluster is not None and is_shown and cluster.is_ending:
            self.remove_gateways(job_flow_id)

    def check_step(self, resource_id: str) -> StepCheck:
        """Check that the cluster has the lease, and that it is active."""
        world = self.world()
        refusal, record = protocol.guard(world, resource_id), world.last_record
        if refusal is None:
            return StepCheck(is_certain=True, token=record.lease.token if record.lease else None)
        ended = _how_it_ended(record, resource_id)
        return StepCheck(f"{refusal}; {ended}" if ended else refusal)

    def start_release(self, resource_id: str) -> bool:
        """Make the lease releasing."""
        return protocol.start_release(self.world(), resource_id)

    def release(self, resource_id: str, *, why: str) -> bool:
        """
        Disassociate the address, end the lease, and terminate what crashed attempts may have left.

        If :meth:`disassociate` has just disassociated it from this resource, its location is not read again.
        """
        world = self.world()
        disassociated, self._disassociated = self._disassociated, None
        if disassociated == resource_id:
            world.known_location = AddressLocation
        return protocol.release(world, resource_id, why=why)

    def disassociate(self, resource_id: str) -> bool:
        """Disassociate the address from a resource, and remember that for :meth:`release`."""
        freed = super().disassociate(resource_id)
        self._disassociated = resource_id if freed else None
        return freed

    def world(
        self, launcher: ClusterLauncher | None = None, *, try_number: int = 1, undoing: bool = False
    ) -> LeaseWorld:
        """
        Return the world for one operation; its pauses count from zero.

        :param try_number: the try for which the launcher launches.
        :param undoing: continue after a kill.
        """
        return LeaseWorld(self, launcher, try_number=try_number, undoing=undoing)

    def set_clock(self, snapshot: Snapshot, *, asked_at: float) -> None:
        """Remember the store's time, and this process's monotonic time before the store was asked."""
        self._clock = (snapshot.now, asked_at)

    def store_time(self) -> float | None:
        """Return the store's time, never too early: that of its last answer, plus the time since it was asked."""
        if self._clock is None:
            return None
        answered, asked_at = self._clock
        return answered + clock.monotonic() - asked_at


class LeaseWorld(LeaseReads):
    """
    A :class:`~airflow_eip_provider.lease.world.World` on AWS, for one operation of one task.

    Errors of AWS and of the store end the operation. Any method may also raise:

    - LockStoreUnavailableError when several writes in a row get no answer,
    - QueueFullError when the record has no room for another owner in the queue,
    - RecordContendedError when for minutes others change the record before each write of this task,
    - KilledError before a change, after a kill.

    :ivar known_record: the result of the first read of the record, if it was read before.
    :ivar known_location: returns the result of the first read of the location, if the record is not read again first.
    :ivar last_record: the record as it was read last.
    :ivar replaced: the cluster that its own task terminates because it did not start.
    :ivar terminated: the clusters that were terminated.
    """

    known_record: Snapshot | None = None
    known_location: Callable[[], AddressLocation] | None = None
    last_record: Record = NO_RECORD.record
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
        self.terminated: set[str] = set()

    def read_record(self) -> Snapshot:
        """
        Return the current record, or the one that was read when the store was checked a moment ago.

        A write that follows names the version of that record, and is refused if it has changed since.
        """
        snapshot, self.known_record = self.known_record, None
        if snapshot is None:
            self.known_location = None  # it would be older than the record (rule 11)
            snapshot = self._lease_client.read()
        self._before, self.last_record = snapshot, snapshot.record
        return snapshot

    def read_location(self) -> AddressLocation:
        """Return where the address is, or where it was a moment ago, after the record was read."""
        known, self.known_location = self.known_location, None
        return known() if known else super().read_location()

    def write_record(self, record: Record, version: str | None, *, joins: bool = False) -> Outcome:
        """Replace the record of this version, unless it has become too large for another entry in the queue."""
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
            previous = before.record if before is not None and before.version == version else None
            self._lease_client.events.written(previous, outcome.record)
        return outcome

    def pause(self) -> None:
        """Pause for a random time that grows, so that of many writers one is always first."""
        if self._paused >= self._lease_client.patience_seconds:
            raise RecordContendedError(self._lease_client.uri, writes=self._pauses, seconds=self._paused)
        seconds = pause_seconds(self._pauses, random.random())  # noqa: S311 - not a secret
        self._pauses += 1
        self._paused += seconds
        clock.sleep(seconds)

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        """Return the clusters with these tags, also the one that an earlier try noted: ListClusters may lag."""
        found = super().find_clusters(lease_tags, since)
        noted_id = self._lease_client.remembered
        if noted_id is None or any(resource.resource_id == noted_id for resource in found):
            return found
        noted = self.read_resource(noted_id)
        return (*found, noted) if noted.lease_tags == lease_tags and noted.state != "ended" else found

    def launch(self, token: int, announced_at: float) -> str | TooLate | Unclear:
        """Launch a cluster with this token in its tags, and return its ID."""
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
        """Replace the lease tags of a cluster; EMR copies them to its instances."""
        self._check_alive()
        tags = {ALLOCATION_TAG: self.allocation_id, TOKEN_TAG: str(token)}

        def has_answered() -> bool:
            try:
                self.clients["emr"].add_tags(ResourceId=resource_id, Tags=as_items(tags))
            except ClientError:
                # EMR may refuse it for a cluster that has ended meanwhile; then the lease needs another one anyway.
                resource = self.read_resource(resource_id)
                if resource.is_live:
                    raise
                return resource.is_known
            return True

        until_shown(has_answered)  # EMR may not know a new cluster yet

    def terminate(self, resource_id: str) -> bool:
        """Terminate a cluster in any state, but no instance; return ``False`` when EMR does not know the cluster."""
        self._check_alive()
        if not is_cluster(resource_id):
            return True
        is_known = end(self.clients["emr"], resource_id)
        self.terminated.add(resource_id)
        if is_known and not self._undoing and resource_id != self.replaced:
            self._lease_client.events.orphan_terminated(resource_id)
        return is_known

    def disassociate(self, association_id: str) -> None:
        """Undo one association, if it still exists; for that of a NAT gateway, delete the gateway."""
        self._check_alive()
        remove_association(self.clients["ec2"], association_id, patient=self._lease_client.patient)

    def put_on(self, resource_id: str) -> str | None:
        """Associate the address with the primary node of a cluster, unless anything has it or EC2 refuses it."""
        self._check_alive()
        return put_on_primary(self.clients["ec2"], self.allocation_id, job_flow_id=resource_id)

    def _check_alive(self) -> None:
        """Raise an error after a kill. Call it before a change: reading is allowed, and undoing has to continue."""
        if not self._undoing and self._lease_client.kill is not None:
            self._lease_client.kill.check()

    def _check_room(self, record: Record) -> None:
        size = len(to_text(record))
        if size > MOST_BYTES_TO_JOIN:
            raise QueueFullError(
                self._lease_client.uri, waiting=len(record.queue) - 1, size=size, most=MOST_BYTES_TO_JOIN
            )


def _how_it_ended(record: Record, resource_id: str) -> str | None:
    """Return when and why the lease of a cluster ended, for error messages; ``None`` if it has not."""
    if record.lease is not None and record.lease.resource_id == resource_id:
        return None
    ended = next((ended for ended in reversed(record.history) if ended.resource_id == resource_id), None)
    return None if ended is None else f"the lease of this cluster ended at {utc(ended.ended_at)}: {ended.why}"
