"""
What a task needs of the lease of one Elastic IP, with and without a lock store.

There are two implementations. With a lock store it is the lease protocol on that store
(:class:`~airflow_eip_provider.lease_client.client.StoreLeaseClient`). Without one it is EC2's refusal to re-associate,
and the tags of clusters (:class:`~airflow_eip_provider.lease_client.physical.PhysicalLeaseClient`). Operators, commands
and the triggerer use the interface and never ask which one they have.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_eip_provider import clock
from airflow_eip_provider.aws.nat_gateway_changes import remove_association
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease_client.reads import read_location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.pool import QueuedForAll
    from airflow_eip_provider.lease.protocol import Acquired, Ending, MovedByAnother, NotStarted, Queued
    from airflow_eip_provider.lease.record import Attempt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AddressInUse:
    """The address is not free, and there is no queue to join: wait until it is."""


@dataclass(frozen=True, slots=True)
class AllInUse:
    """No address of a pool is free, and there is no queue to join: wait until one is."""


@dataclass(frozen=True, slots=True)
class Successor:
    """
    The cluster to which the service of another cluster moves, or has moved, by a failover.

    :param job_flow_id: ``None`` while there is none yet.
    :param in_charge: the failover has come so far that this cluster serves.
    :param has_address: the address is on it; without an address as ``in_charge``.
    :param token: of the lease that was moved; ``None`` where no record is kept.
    :param moved_at: when that began, in seconds since the epoch; ``None`` when that is not known.
    :param is_own: by an attempt of the same owner. Where no record is kept all failovers of one cluster go on with the
        same successor, so each counts as the owner's own.
    """

    job_flow_id: str | None
    in_charge: bool
    is_own: bool
    has_address: bool
    token: int | None = None
    moved_at: float | None = None


@dataclass(frozen=True, slots=True)
class StepCheck:
    """
    Whether a step may run on a cluster, by the lease of the address.

    :param refusal: why not, in words that follow "Elastic IP … is"; ``None`` when the lease does not forbid it.
    :param is_certain: the lease is active, so no other owner can have the address by right. Otherwise only the address
        itself tells.
    :param token: the fencing token of that lease; ``None`` without an active one.
    """

    refusal: str | None = None
    is_certain: bool = False
    token: int | None = None


class LeaseEvents(Protocol):
    """
    What is told of a lease besides what its client returns.

    :ivar dag_id: of the task that works with the lease, if one does.
    """

    dag_id: str | None

    def written(self, before: Record | None, after: Record) -> None:
        """
        Hear that a record was replaced.

        :param before: ``None`` when the client has not read it.
        """

    def orphan_terminated(self, job_flow_id: str) -> None:
        """Hear that a cluster is terminated which none of its own tasks would have ended; maybe more than once."""


class NotTold:
    """Does nothing with what it is told."""

    dag_id: str | None = None

    def written(self, before: Record | None, after: Record) -> None:
        """Do nothing."""

    def orphan_terminated(self, job_flow_id: str) -> None:
        """Do nothing."""


# For how long what was read counts as read now, within one phase of one task.
FRESH_SECONDS = 10.0

# The answers where no record is kept, or where it cannot be read.
NO_RECORD = Snapshot(Record(), None, 0.0)
NOT_KNOWN = StepCheck()


@dataclass(frozen=True, slots=True)
class Undo:
    """
    What an attempt did and has to undo when it fails or is killed; a newer attempt's is left alone.

    :param resource_id: the cluster or instance that it associated the address with, or may have.
    :param token: of the lease under which it did, if it knows.
    :param launched: that resource is a cluster which it launched or adopted; otherwise it was made elsewhere.
    :param terminate: end that cluster, too.
    :param association_id: the association that it made, if it knows.
    :param may_lag: it may have made one a moment ago: search until EC2 must show it.
    :param may_be_adopted: a newer attempt may be at work already.
    :param is_unclear: RunJobFlow was sent, and its cluster is not known.
    :param created_after: seconds since the epoch, before which no attempt of the owner launched anything.
    :param step_ids: the steps that it submitted to that cluster, which are all that it has to undo then.
    """

    attempt: Attempt
    resource_id: str | None = None
    token: int | None = None
    launched: bool = False
    terminate: bool = False
    association_id: str | None = None
    may_lag: bool = False
    may_be_adopted: bool = False
    is_unclear: bool = False
    created_after: float = 0.0
    step_ids: tuple[str, ...] | None = None


class ClusterLauncher(Protocol):
    """
    Launches one owner's cluster.

    :ivar created_after: seconds since the epoch, before which no try of the owner launched anything.
    """

    created_after: float

    def launch(self, *, try_number: int, allocation_id: str | None, token: int | None = None) -> str:
        """
        Launch the cluster and return its id.

        :param allocation_id: of the address that it is launched for, for its tags; ``None`` for none.
        :param token: of the lease that it is launched under, for its tags.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster shows up.
        """


class Clients(Mapping[str, "Any"]):
    """
    The boto3 clients of a lease, by service: EC2's and EMR's.

    Each is asked for when it is used, so none outlives the credentials that its maker has dropped.

    :param client_for: makes a client, by service and region, and keeps it.
    """

    _SERVICES = ("ec2", "emr")

    def __init__(self, client_for: Callable[[Any, str | None], Any]) -> None:
        self._client_for = client_for

    def __getitem__(self, service: str) -> Any:
        """Return the client of a service."""
        if service not in self._SERVICES:
            raise KeyError(service)
        return self._client_for(service, None)

    def __iter__(self) -> Iterator[str]:
        """Return the names of the services."""
        return iter(self._SERVICES)

    def __len__(self) -> int:
        """Return how many services there are."""
        return len(self._SERVICES)


class LeaseQueue(ABC):
    """
    How an attempt comes to a lease: of one address (:class:`LeaseClient`), or of any one of a pool.

    :ivar uri: of the lock store; ``None`` without one.
    """

    uri: str | None = None

    @property
    @abstractmethod
    def chosen(self) -> LeaseClient | None:
        """The client of the address that the attempt has, or waits for; ``None`` while it may be any one of a pool."""

    @property
    @abstractmethod
    def allocation_ids(self) -> tuple[str, ...]:
        """The addresses of which any will do."""

    @abstractmethod
    def check(self) -> None:
        """
        Check the lock store, before anything depends on it.

        :raises LockStoreError: naming what is wrong with it.
        """

    @abstractmethod
    def check_prewarm(self, prewarm: int) -> None:
        """
        Check that a cluster may be started before it is the owner's turn.

        :param prewarm: from how many first places of the queue; 0 is never.
        :raises InvalidInputError: when there is no queue.
        """

    @abstractmethod
    def note_address(self, address: Address) -> None:
        """
        Pass on where an address is, for the first :meth:`enter` of the same phase.

        :param address: as it was read just now, after :meth:`check`.
        """

    @abstractmethod
    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Return a cluster that an earlier attempt launched and no lease leads to: it is this attempt's now."""

    @abstractmethod
    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: Any = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired | Queued | AddressInUse | QueuedForAll | AllInUse:
        """
        Acquire a lease, or join the queue.

        :param due_seconds: for how long the wait in the queue has observed that the lease has to be ended; of a pool,
            by allocation ID.
        :raises SupersededError: when a newer attempt of the owner is at work.
        """

    @abstractmethod
    def was_handed_over(self, undo: Undo) -> bool:
        """Whether the resource of an attempt carries the address for the tasks that follow."""

    @abstractmethod
    def undo(self, undo: Undo) -> None:
        """End an attempt's part in the lease or the queue, also after a kill."""


class LeaseClient(LeaseQueue):
    """
    The lease of one Elastic IP, for one task or command. What is not abstract holds where no record is kept.

    :ivar events: is told what others may want to know.
    :ivar patience_seconds: for how long one operation pauses, in all, because others change the record.
    """

    allocation_id: str
    clients: Clients
    events: LeaseEvents = NotTold()
    patience_seconds: float = 300.0
    _noted: tuple[Address, float] | None = None

    @property
    def chosen(self) -> LeaseClient:
        """This client: there is one address."""
        return self

    @property
    def allocation_ids(self) -> tuple[str, ...]:
        """The address."""
        return (self.allocation_id,)

    def check(self) -> None:
        """
        Check the lock store, before anything depends on it.

        :raises LockStoreError: naming what is wrong with it.
        """

    def check_prewarm(self, prewarm: int) -> None:
        """
        Check that a cluster may be started before it is the owner's turn.

        :param prewarm: from how many first places of the queue; 0 is never.
        :raises InvalidInputError: when there is no queue.
        """

    def read(self) -> Snapshot:
        """Return the record as it is now."""
        return NO_RECORD

    def note_address(self, address: Address) -> None:
        """
        Pass on where the address is, for the first :meth:`enter` of the same phase.

        :param address: as it was read just now, after :meth:`check`.
        """
        self._noted = (address, clock.monotonic())

    def take_noted(self) -> Address | None:
        """Return what was noted, once; ``None`` when that is too long ago."""
        noted, self._noted = self._noted, None
        return noted[0] if noted and clock.monotonic() - noted[1] < FRESH_SECONDS else None

    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Return a cluster that an earlier attempt launched and no lease leads to: it is this attempt's now."""
        return None

    def disassociate(self, resource_id: str) -> bool:
        """
        Take the address off a resource, and off nothing else.

        An AssociationId names one association for ever, and so does a NAT gateway's id: if another took the address
        meanwhile, this undoes nothing of theirs. A gateway keeps the address for about a minute while it is deleted.

        :return: whether there was something to undo.
        """
        location = read_location(self.clients, self.allocation_id)
        if location.association_id is None or resource_id not in location.resource_ids:
            return False
        freed = remove_association(self.clients["ec2"], location.association_id)
        log.info("Elastic IP %s is off %s", self.allocation_id, resource_id)
        return freed

    @abstractmethod
    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: float = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired | Queued | AddressInUse:
        """
        Acquire the lease, or join the queue.

        :param due_seconds: for how long the wait in the queue has observed that the lease has to be ended.
        :raises SupersededError: when a newer attempt of the owner is at work.
        """

    @abstractmethod
    def successor(self, old: str, *, attempt: Attempt) -> Successor | None:
        """Return what a failover of a cluster that is under way, or over, has put in its place; ``None`` for none."""

    @abstractmethod
    def move(
        self, lease_request: LeaseRequest, *, moved_from: str, due_seconds: float = 0.0
    ) -> Acquired | Queued | AddressInUse | MovedByAnother:
        """
        Take the lease of a cluster that does not work over, for another cluster; no step may start on either then.

        :raises SupersededError: when a newer attempt of the owner is at work.
        """

    def check_current(self, attempt: Attempt, *, token: int | None) -> None:
        """
        Check that the lease is still this attempt's.

        :raises LeaseLostError: when it is not.
        """

    def has_address(self, resource_id: str) -> bool:
        """Whether the address is on a resource."""
        return resource_id in read_location(self.clients, self.allocation_id).resource_ids

    def end_other_successors(self, old: str, *, keep: str) -> None:
        """Terminate what other failovers of a cluster, or earlier tries, have launched in its place."""

    def agreed(self, old: str, *, job_flow_id: str) -> str:
        """
        Return the one cluster with which all failovers of a cluster go on.

        :param job_flow_id: the one that this failover has launched.
        """
        return job_flow_id

    @abstractmethod
    def launch(
        self, acquired: Acquired, lease_request: LeaseRequest, launcher: ClusterLauncher, *, replaces: bool = False
    ) -> str | NotStarted:
        """
        Return the cluster of the lease: one that an earlier attempt launched, or a new one.

        :param replaces: the caller launches another way when a cluster did not start.
        :return: or what it has to replace.
        :raises LeaseLostError: when this attempt no longer has the lease.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster shows up.
        """

    @abstractmethod
    def replace(
        self,
        attempt: Attempt,
        launcher: ClusterLauncher,
        *,
        token: int | None,
        failed: str,
        other: str | None = None,
    ) -> str | Ending:
        """
        End a cluster that did not start, and launch the next one under the same lease when it is gone.

        What was made for it is removed, too. Idempotent: called until it returns the next cluster.

        :param failed: the cluster; the attempt's own, and never handed over.
        :param other: one that the attempt launched before it went on with that of an earlier attempt.
        :raises LeaseLostError: when this attempt no longer has the lease.
        :raises SupersededError: when a newer attempt goes on with that cluster.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster shows up.
        """

    @abstractmethod
    def give_up(self, attempt: Attempt, *, token: int | None, failed: str) -> None:
        """
        Write, where a record is kept, that a cluster is ending because it did not start, and will be replaced.

        :raises LeaseLostError: when this attempt no longer has the lease.
        """

    def relocate(self, attempt: Attempt, *, token: int | None, resource_id: str) -> str:
        """
        Return the cluster to go on with when the address is not free: one of the same lease that has it, if there is.

        :param resource_id: the cluster with which the address was to be associated.
        """
        return resource_id

    def lease_tags(self, attempt: Attempt, *, token: int | None) -> dict[str, str] | None:
        """Return the tags of all clusters of the attempt's lease; ``None`` when there are none that all have."""
        return None

    @abstractmethod
    def hand_over(
        self, attempt: Attempt, *, token: int | None, resource_id: str, launcher: ClusterLauncher | None = None
    ) -> None:
        """
        Hand over to the resource that has the address: the last check whether the attempt may have it.

        :raises LeaseLostError: when it may not.
        """

    def check_step(self, resource_id: str) -> StepCheck:
        """
        Check whether a step may run on a cluster.

        :raises LockStoreUnavailableError: when the lock store gives no answer.
        """
        return NOT_KNOWN

    def start_release(self, resource_id: str) -> bool:
        """Let no further step start on a cluster; return whether the resource has a lease to release."""
        return False

    def release(self, resource_id: str, *, why: str) -> bool:
        """End the lease of a resource on which no step needs the address; return whether it had one."""
        return False

    def end_surplus(self, cluster: Cluster, *, created_after: float) -> None:
        """
        Terminate what earlier attempts launched for a cluster's owner, as far as no lease leads to it.

        :param created_after: seconds since the epoch, before which no attempt of the owner launched anything.
        """
