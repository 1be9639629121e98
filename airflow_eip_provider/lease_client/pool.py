"""
The lease of any one address of a pool, as a task uses it until it has one.

Then :attr:`~airflow_eip_provider.lease_client.interface.LeaseQueue.chosen` is the client of that address, and all that
follows is as if no other address had ever been named.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_eip_provider.aws.addresses import read_address, read_addresses
from airflow_eip_provider.aws.endings import end
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, as_items
from airflow_eip_provider.exceptions import AddressNotFoundError
from airflow_eip_provider.lease import pool
from airflow_eip_provider.lease.protocol import Acquired, Superseded
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.lease_client.interface import NO_RECORD, AddressInUse, AllInUse, LeaseClient, LeaseQueue, Undo
from airflow_eip_provider.lease_client.physical import PhysicalLeaseClient
from airflow_eip_provider.lease_client.reads import read_location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.pool import QueuedForAll
    from airflow_eip_provider.lease.record import Attempt
    from airflow_eip_provider.lease_client.interface import ClusterLauncher

log = logging.getLogger(__name__)

Member = TypeVar("Member", bound=LeaseClient)


class _Pool(LeaseQueue, Generic[Member]):
    """
    What does not depend on whether a record is kept.

    :param members: by allocation ID, in an order that is the same for all that share addresses.
    """

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.members = dict(members)
        self.uri = next(iter(self.members.values())).uri
        self._chosen: Member | None = None

    @property
    def chosen(self) -> Member | None:
        """The client of the address that the attempt has; ``None`` before it has one."""
        return self._chosen

    @property
    def allocation_ids(self) -> tuple[str, ...]:
        """The addresses that are left."""
        return tuple(self.members)

    def check(self) -> None:
        """Read each record; where that fails the store says why."""
        for member in self.members.values():
            member.check()

    def check_prewarm(self, prewarm: int) -> None:
        """Check that a cluster may be started before it is the owner's turn."""
        next(iter(self.members.values())).check_prewarm(prewarm)

    def note_address(self, address: Address) -> None:
        """Pass on where one of the addresses is."""
        if (member := self.members.get(address.allocation_id)) is not None:
            member.note_address(address)

    def was_handed_over(self, undo: Undo) -> bool:
        """Whether a lease of the attempt is active, or its resource has an address."""
        return any(member.was_handed_over(undo) for member in self.members.values())

    def undo(self, undo: Undo) -> None:
        """
        End the attempt's part in every record: it had not come so far as to know that one of them was its own.

        An error keeps none of the others from being undone.
        """
        errors: list[Exception] = []
        for member in self.members.values():
            try:
                member.undo(replace(undo, resource_id=None, token=None))
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _choose(self, allocation_id: str) -> None:
        self._chosen = self.members[allocation_id]


class StorePool(_Pool[StoreLeaseClient]):
    """A pool whose addresses have records in one lock store; see :mod:`airflow_eip_provider.lease.pool`."""

    _knows_addresses = False

    def check(self) -> None:
        """Read each record; the addresses themselves were looked at just before."""
        super().check()
        self._knows_addresses = True

    def undo(self, undo: Undo) -> None:
        """End the attempt's part in every record, and the cluster that was to go from one address to another."""
        worlds = {name: member.world(undoing=True) for name, member in self.members.items()}
        pool.name_kept(worlds, undo.attempt, next(iter(self.members.values())).limits)
        super().undo(undo)

    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Return nothing: a lease leads to every cluster."""
        return None

    def _leave_those_gone(self, attempt: Attempt) -> None:
        """
        Leave the queues of addresses that were released from the account during the wait.

        :raises AddressNotFoundError: when none is left.
        """
        if self._knows_addresses:
            self._knows_addresses = False
            return
        first = next(iter(self.members.values()))
        found = read_addresses(first.clients["ec2"], list(self.members))
        gone = [name for name in self.members if name not in found]
        if not found:
            raise AddressNotFoundError(", ".join(gone), region=first.clients["ec2"].meta.region_name)
        for name in gone:
            log.warning("Elastic IP %s does not exist any more; the wait goes on for the others", name)
            self.members[name].undo(Undo(attempt, terminate=True))
            del self.members[name]

    def enter(
        self,
        lease_request: LeaseRequest,
        *,
        due_seconds: Any = None,
        launcher: ClusterLauncher | None = None,
    ) -> Acquired | QueuedForAll:
        """
        Acquire the lease of one address, or join the queues of all.

        :param due_seconds: for how long the wait has observed that the lease of an address has to be ended.
        :raises SupersededError: when a newer attempt of the owner is at work.
        """
        self._leave_those_gone(lease_request.attempt)
        worlds = {name: member.entering_world(lease_request, launcher) for name, member in self.members.items()}
        first = next(iter(self.members.values()))
        entered = pool.enter_any(worlds, lease_request, due_seconds=due_seconds or None, limits=first.limits)
        if isinstance(entered, Superseded):
            raise first.superseded()
        if isinstance(entered, pool.AcquiredOne):
            self._choose(entered.allocation_id)
            return entered.acquired
        for allocation_id, observation in entered.observations.items():
            self.members[allocation_id].note_grace(observation.snapshot.record.grace)
        return entered


class PhysicalPool(_Pool[PhysicalLeaseClient]):
    """A pool without a lock store: EC2's refusal to associate an address decides, and then the next one is tried."""

    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Adopt the cluster that an earlier attempt launched for one of the addresses, and end any other."""
        kept: str | None = None
        for allocation_id, member in self.members.items():
            found = member.adopt(attempt, launcher)
            if found is None:
                continue
            if kept is None:
                kept = found
                self._choose(allocation_id)
            else:
                end(member.clients["emr"], found)
                member.events.orphan_terminated(found)
        return kept

    def enter(
        self,
        lease_request: LeaseRequest,
        *,
        due_seconds: Any = None,
        launcher: ClusterLauncher | None = None,
    ) -> Acquired | AllInUse:
        """
        Choose the address that the resource has already, else the first that is free; launch nothing before one is.

        :raises AddressNotFoundError: when none of them exists any more.
        """
        missing: list[AddressNotFoundError] = []
        if lease_request.wants:
            for allocation_id, member in self.members.items():
                if lease_request.wants in read_location(member.clients, allocation_id).resource_ids:
                    self._choose(allocation_id)
                    return Acquired(NO_RECORD)
        for allocation_id, member in self.members.items():
            try:
                entered = member.enter(replace(lease_request, wants=""))
            except AddressNotFoundError as error:
                missing.append(error)
                continue
            if not isinstance(entered, AddressInUse):
                self._choose(allocation_id)
                return entered
        if len(missing) == len(self.members):
            raise missing[0]
        return AllInUse()

    def next_free(self, job_flow_id: str) -> str | None:
        """
        Choose another address for a cluster, where EC2 has refused the one that it was launched for.

        The cluster gets the tag of that address, by which a retry, the teardown and the reaper know it.

        :return: the address; ``None`` when none is free.
        """
        for allocation_id, member in self.members.items():
            address = read_address(member.clients["ec2"], allocation_id)
            if address is not None and address.is_free:
                tags = as_items({ALLOCATION_TAG: allocation_id})
                member.clients["emr"].add_tags(ResourceId=job_flow_id, Tags=tags)
                self._choose(allocation_id)
                return allocation_id
        return None
