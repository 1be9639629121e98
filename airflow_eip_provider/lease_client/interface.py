"""
The interface to the lease of an Elastic IP, with and without a lock store.

With a lock store, the lease protocol on that store implements it
(:class:`~airflow_eip_provider.lease_client.client.StoreLeaseClient`). Without one, EC2's refusal to re-associate and
the tags of clusters do (:class:`~airflow_eip_provider.lease_client.physical.PhysicalLeaseClient`). Operators, commands
and the triggerer use the interface. Only ``next_free``, of a pool without a lock store, is not part of it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_eip_provider import clock
from airflow_eip_provider.aws.nat_gateway_changes import remove_association, remove_gateways
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease_client.reads import read_location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.pool import QueuedForAll
    from airflow_eip_provider.lease.protocol import Acquired, Ending, MovedByAnother, NotStarted, Queued
    from airflow_eip_provider.lease.record import Attempt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AddressInUse:
    """The address is not free, and there is no queue to join: wait until it is free."""


@dataclass(frozen=True, slots=True)
class AllInUse:
    """No address of a pool is free, and there is no queue to join: wait until one is free."""


@dataclass(frozen=True, slots=True)
class Successor:
    """
    The cluster to which a failover moves, or has moved, the service of another cluster.

    :param job_flow_id: ``None`` while there is none yet.
    :param in_charge: the failover has made this cluster serve.
    :param has_address: the address is on it; without an address the same as ``in_charge``.
    :param token: the token of the lease that was moved; ``None`` without a record.
    :param moved_at: when the failover began, in seconds since the epoch; ``None`` when that is not known.
    :param is_own: the failover is by an attempt of the same owner. Without a record all failovers of one cluster
        continue with the same successor, so each counts as the owner's own.
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
    Whether the lease of the address allows a step on a cluster.

    :param refusal: why not, as a continuation of "Elastic IP … is"; ``None`` when the lease does not forbid it.
    :param is_certain: the lease is active, so no other owner may have the address. Otherwise only the location of the
        address decides.
    :param token: the fencing token of the active lease; ``None`` without one.
    """

    refusal: str | None = None
    is_certain: bool = False
    token: int | None = None


class LeaseEvents(Protocol):
    """
    Receives what a lease client reports besides its results.

    :ivar dag_id: the DAG of the task that works with the lease, if a task does.
    """

    dag_id: str | None

    def written(self, before: Record | None, after: Record) -> None:
        """
        Receive a record that was replaced.

        :param before: ``None`` when the client has not read it.
        """

    def orphan_terminated(self, job_flow_id: str) -> None:
        """Receive an orphaned cluster that was terminated; possibly more than once."""


class IgnoredEvents:
    """Ignores all reports."""

    dag_id: str | None = None

    def written(self, before: Record | None, after: Record) -> None:
        """Do nothing."""

    def orphan_terminated(self, job_flow_id: str) -> None:
        """Do nothing."""


# How long an answer that was read in the same phase of a task counts as current.
FRESH_SECONDS = 10.0

# The results without a record, or when it cannot be read.
NO_RECORD = Snapshot(Record(), None, 0.0)
NOT_KNOWN = StepCheck()


@dataclass(frozen=True, slots=True)
class Undo:
    """
    What an attempt did and has to undo when it fails or is killed; what a newer attempt did is not touched.

    :param resource_id: the cluster or instance with which it associated, or may have associated, the address.
    :param token: the token of the lease under which it did so, if it knows.
    :param launched: it launched or adopted that resource, a cluster; otherwise the resource existed before.
    :param terminate: terminate that cluster, too.
    :param association_id: the association that it made, if it knows.
    :param may_lag: it may have made an association a moment ago: search until EC2 must show it.
    :param may_be_adopted: a newer attempt may already be running.
    :param is_unclear: RunJobFlow was sent, and its cluster is not known.
    :param created_after: no attempt of the owner launched anything before; seconds since the epoch.
    :param succeeded: its task has succeeded, perhaps long ago, so it may have handed over the resource: undo only what
        it has certainly not handed over.
    :param moved_from: the cluster from which it moves a service; it gets the address back if it can have it.
    :param was_freed: the address was disassociated from that cluster; ``None`` when that is not known.
    :param keeps_lease: a retry follows, and continues with what that cluster cannot have back.
    :param may_have_gateway: a NAT gateway may have been created for that cluster.
    :param step_ids: the steps that it submitted to that cluster; if set, they are all that has to be undone.
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
    succeeded: bool = False
    moved_from: str | None = None
    was_freed: bool | None = False
    keeps_lease: bool = False
    may_have_gateway: bool = True
    step_ids: tuple[str, ...] | None = None


class ClusterLauncher(Protocol):
    """
    Launches one owner's cluster.

    :ivar created_after: no attempt of the owner launched anything before; seconds since the epoch.
    """

    created_after: float

    def launch(self, *, try_number: int, allocation_id: str | None, token: int | None = None) -> str:
        """
        Launch the cluster and return its ID.

        :param allocation_id: the address for its tags; ``None`` for none.
        :param token: the token of its lease, for its tags.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster appears.
        """


class Clients(Mapping[str, "Any"]):
    """
    The boto3 clients for EC2 and EMR, by service.

    Each access asks for the client again, so none outlives credentials that were dropped.

    :param client_for: returns the client of a service in a region, and caches it.
    """

    _SERVICES = ("ec2", "emr")

    def __init__(self, client_for: Callable[[Any, str | None], Any]) -> None:
        self._client_for = client_for

    def __getitem__(self, service: str) -> Any:
        if service not in self._SERVICES:
            raise KeyError(service)
        return self._client_for(service, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._SERVICES)

    def __len__(self) -> int:
        return len(self._SERVICES)


class LeaseQueue(ABC):
    """
    Acquires the lease of one address (:class:`LeaseClient`), or of any one address of a pool.

    :ivar uri: the URI of the lock store; ``None`` without one.
    """

    uri: str | None = None

    @property
    @abstractmethod
    def chosen(self) -> LeaseClient | None:
        """The client of the address that the attempt has or waits for; ``None`` while that may be any one of a pool."""

    @property
    @abstractmethod
    def allocation_ids(self) -> tuple[str, ...]:
        """The addresses, any one of which can be used."""

    @abstractmethod
    def check(self) -> None:
        """
        Check the lock store, before anything depends on it.

        :raises LockStoreError: with the problem and the remedy.
        """

    @abstractmethod
    def check_prewarm(self, prewarm: int) -> None:
        """
        Check that a cluster may be started before it is the owner's turn.

        :param prewarm: the number of places at the front of the queue from which it may; 0 is never.
        :raises InvalidInputError: when there is no queue.
        """

    @abstractmethod
    def note_address(self, address: Address) -> None:
        """
        Keep the state of an address for the first :meth:`enter` of the same phase.

        :param address: as it was read just now, after :meth:`check`.
        """

    @abstractmethod
    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Adopt and return a cluster that an earlier attempt launched and to which no lease leads."""

    @abstractmethod
    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: Any = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired | Queued | AddressInUse | QueuedForAll | AllInUse:
        """
        Acquire a lease, or join the queue.

        :param due_seconds: for how long the wait in the queue has observed that the lease has to be ended; of a pool,
            by allocation ID.
        :raises SupersededError: when a newer attempt of the owner is running.
        :raises AddressNotFoundError: when none of the addresses exists.
        """

    @abstractmethod
    def undo(self, undo: Undo) -> None:
        """Undo what an attempt did, also after a kill."""


class LeaseClient(LeaseQueue):
    """
    The lease of one Elastic IP, for one task or command. The methods that are not abstract work without a lock store.

    :ivar events: receives reports.
    :ivar kill: the kill flag of the task, if a task does it.
    :ivar patience_seconds: the longest time for which one operation pauses in all, because others change the record.
    """

    allocation_id: str
    clients: Clients
    events: LeaseEvents = IgnoredEvents()
    kill: KillFlag | None = None
    patience_seconds: float = 300.0
    _noted: tuple[Address, float] | None = None

    @property
    def chosen(self) -> LeaseClient:
        """This client."""
        return self

    @property
    def allocation_ids(self) -> tuple[str, ...]:
        """The address."""
        return (self.allocation_id,)

    def check(self) -> None:
        """Do nothing."""

    def check_prewarm(self, prewarm: int) -> None:
        """Do nothing."""

    def read(self) -> Snapshot:
        """Return the current record."""
        return NO_RECORD

    def note_address(self, address: Address) -> None:
        """Keep the state of the address for the first :meth:`enter`."""
        self._noted = (address, clock.monotonic())

    def take_noted(self) -> Address | None:
        """Return the kept state of the address once; ``None`` when it is too old."""
        noted, self._noted = self._noted, None
        return noted[0] if noted and clock.monotonic() - noted[1] < FRESH_SECONDS else None

    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Return ``None``."""
        return None

    @property
    def patient(self) -> bool:
        """Whether there is time to wait until reads show a changed route; a killed task has only seconds."""
        return self.kill is None or not self.kill.is_set

    def disassociate(self, resource_id: str) -> bool:
        """
        Disassociate the address from this resource, and from no other.

        An association ID names one association forever, and so does the ID of a NAT gateway. So this undoes nothing if
        another owner takes the address meanwhile. A gateway keeps the address for about a minute while it is deleted.

        :return: whether there was an association.
        """
        location = read_location(self.clients, self.allocation_id)
        if location.association_id is None or resource_id not in location.resource_ids:
            return False
        freed = remove_association(self.clients["ec2"], location.association_id, patient=self.patient)
        log.info("Removed the association of Elastic IP %s with %s", self.allocation_id, resource_id)
        return freed

    def remove_gateways(self, job_flow_id: str) -> bool:
        """Remove the NAT gateways that were created for a cluster; return whether EC2 shows any."""
        ec2, allocation_id = self.clients["ec2"], self.allocation_id
        return remove_gateways(ec2, job_flow_id, allocation_id=allocation_id, patient=self.patient)

    @abstractmethod
    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: float = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired | Queued | AddressInUse:
        """Acquire the lease, or join the queue."""

    @abstractmethod
    def successor(self, old: str, *, attempt: Attempt) -> Successor | None:
        """Return the cluster that a running or finished failover has put in place of a cluster; ``None`` for none."""

    @abstractmethod
    def move(
        self, lease_request: LeaseRequest, *, moved_from: str, due_seconds: float = 0.0
    ) -> Acquired | Queued | AddressInUse | MovedByAnother:
        """
        Move the lease of a failed cluster to another cluster; afterwards no step may start on either.

        :raises SupersededError: when a newer attempt of the owner is running.
        """

    def take_off(self, attempt: Attempt, *, token: int | None, moved_from: str) -> None:
        """
        Disassociate the address from the cluster whose service a failover moves.

        :raises LeaseLostError: when this attempt no longer has the lease.
        """
        self.disassociate(moved_from)

    def has_address(self, resource_id: str) -> bool:
        """Whether the address is on a resource."""
        return resource_id in read_location(self.clients, self.allocation_id).resource_ids

    def end_other_successors(self, old: str, *, keep: str) -> None:
        """Terminate the clusters that other failovers of a cluster, or earlier tries, have launched in its place."""

    def agreed(self, old: str, *, job_flow_id: str) -> str:
        """
        Return the one cluster with which all failovers of a cluster continue.

        :param job_flow_id: the cluster that this failover has launched.
        """
        return job_flow_id

    @abstractmethod
    def launch(
        self, acquired: Acquired, lease_request: LeaseRequest, launcher: ClusterLauncher, *, replaces: bool = False
    ) -> str | NotStarted:
        """
        Return the cluster of the lease (launched by an earlier attempt, or new), or the one that has to be replaced.

        :param replaces: the caller replaces a cluster that did not start with one that has other parameters.
        :raises LeaseLostError: when this attempt no longer has the lease.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster appears.
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
        End a cluster that did not start, with everything that was made for it, and launch the next one after that.

        Idempotent: call it until it returns the next cluster.

        :param failed: that cluster; it is the attempt's own, and was never handed over.
        :param other: a cluster that the attempt launched before it continued with that of an earlier attempt.
        :raises LeaseLostError: when this attempt no longer has the lease.
        :raises SupersededError: when a newer attempt has adopted that cluster.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster appears.
        """

    @abstractmethod
    def give_up(self, attempt: Attempt, *, token: int | None, failed: str) -> None:
        """
        Record, if there is a record, that a cluster did not start and will be replaced.

        :raises LeaseLostError: when this attempt no longer has the lease.
        """

    def relocate(self, attempt: Attempt, *, token: int | None, resource_id: str) -> str:
        """
        Return the cluster to continue with when the address is not free: the one of the same lease that has it, if any.

        :param resource_id: the cluster with which the address was to be associated.
        """
        return resource_id

    def lease_tags(self, attempt: Attempt, *, token: int | None) -> dict[str, str] | None:
        """Return the tags that all clusters of the attempt's lease have; ``None`` for none."""
        return None

    @abstractmethod
    def hand_over(
        self, attempt: Attempt, *, token: int | None, resource_id: str, launcher: ClusterLauncher | None = None
    ) -> None:
        """
        Hand over to the resource that has the address; the last check that the attempt may have it.

        :raises LeaseLostError: when it may not.
        """

    def check_step(self, resource_id: str) -> StepCheck:
        """
        Check whether a step may run on a cluster.

        :raises LockStoreUnavailableError: when the lock store gives no answer.
        """
        return NOT_KNOWN

    def start_release(self, resource_id: str) -> bool:
        """Prevent further steps from starting on a resource; return whether it has a lease."""
        return False

    def release(self, resource_id: str, *, why: str) -> bool:
        """End the lease of a resource on which no step needs the address; return whether it had one."""
        return False

    def end_surplus(self, cluster: Cluster, *, created_after: float) -> None:
        """
        Terminate the other clusters that earlier attempts launched for a cluster's owner and to which no lease leads.

        :param created_after: no attempt of the owner launched anything before; seconds since the epoch.
        """
