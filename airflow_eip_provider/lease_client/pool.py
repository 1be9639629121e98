"""
The lease of any one address of a pool, until the attempt has one.

After that :attr:`~airflow_eip_provider.lease_client.interface.LeaseQueue.chosen` is the client of that address, and
everything works as if no other address had been named.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_eip_provider.aws.addresses import read_address, read_addresses
from airflow_eip_provider.aws.endings import end
from airflow_eip_provider.aws.lag import until_shown
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, as_items
from airflow_eip_provider.exceptions import AddressNotFoundError
from airflow_eip_provider.lease import pool
from airflow_eip_provider.lease.protocol import Acquired, Superseded
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.lease_client.interface import NO_RECORD, AllInUse, LeaseClient, LeaseQueue, Undo
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
    What both kinds of pool share.

    :param members: by allocation ID, in the same order for all pools that share addresses.
    """

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.members = dict(members)
        self.uri = self._first.uri
        self._chosen: Member | None = None

    @property
    def _first(self) -> Member:
        return next(iter(self.members.values()))

    @property
    def chosen(self) -> Member | None:
        """The client of the address that the attempt has; ``None`` while it has none."""
        return self._chosen

    @property
    def allocation_ids(self) -> tuple[str, ...]:
        """The addresses that still exist."""
        return tuple(self.members)

    def check(self) -> None:
        """Check the lock store for each address."""
        for member in self.members.values():
            member.check()

    def check_prewarm(self, prewarm: int) -> None:
        """Check that a cluster may be started before it is the owner's turn."""
        self._first.check_prewarm(prewarm)

    def note_address(self, address: Address) -> None:
        """Keep the state of one of the addresses."""
        if (member := self.members.get(address.allocation_id)) is not None:
            member.note_address(address)

    def read_existing(self) -> dict[str, Address]:
        """
        Return the addresses that exist; if EC2 shows none, look again for as long as reads may lag.

        :raises AddressNotFoundError: when none exists.
        """
        ec2, kill = self._first.clients["ec2"], self._first.kill
        existing = until_shown(lambda: read_addresses(ec2, self.members), pause=None if kill is None else kill.pause)
        if not existing:
            raise AddressNotFoundError(", ".join(self.members), region=ec2.meta.region_name)
        return existing

    def undo(self, undo: Undo) -> None:
        """
        Undo what the attempt did in every record, as it did not know yet which address it had.

        An error with one record does not prevent the undo in the others.
        """
        errors: list[Exception] = []
        for member in self.members.values():
            try:
                member.undo(replace(undo, resource_id=None, token=None))
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


class StorePool(_Pool[StoreLeaseClient]):
    """A pool whose addresses have records in one lock store; see :mod:`airflow_eip_provider.lease.pool`."""

    _knows_addresses = False

    def check(self) -> None:
        """Check the lock store for each address; the addresses themselves were read just before."""
        super().check()
        self._knows_addresses = True

    def undo(self, undo: Undo) -> None:
        """Undo what the attempt did in every record; also terminate a cluster that it moves between addresses."""
        worlds = {name: member.world(undoing=True) for name, member in self.members.items()}
        pool.name_kept(worlds, undo.attempt, self._first.limits)
        super().undo(undo)

    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Return ``None``: a lease leads to every cluster."""
        return None

    def _leave_missing(self, attempt: Attempt) -> None:
        """
        Leave the queues of addresses that were released from the account during the wait.

        :raises AddressNotFoundError: when none is left.
        """
        if self._knows_addresses:
            self._knows_addresses = False
            return
        existing = self.read_existing()
        for name in [name for name in self.members if name not in existing]:
            log.warning("Elastic IP %s no longer exists; the wait for the others continues", name)
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

        :param due_seconds: by allocation ID: for how long the wait has observed that the lease has to be ended.
        :raises SupersededError: when a newer attempt of the owner is running.
        """
        self._leave_missing(lease_request.attempt)
        worlds = {name: member.entering_world(lease_request, launcher) for name, member in self.members.items()}
        entered = pool.enter_any(worlds, lease_request, due_seconds=due_seconds or None, limits=self._first.limits)
        if isinstance(entered, Superseded):
            raise self._first.superseded()
        if isinstance(entered, pool.AcquiredOne):
            self._chosen = self.members[entered.allocation_id]
            return entered.acquired
        for allocation_id, observation in entered.observations.items():
            self.members[allocation_id].note_grace(observation.snapshot.record.grace)
        return entered


class PhysicalPool(_Pool[PhysicalLeaseClient]):
    """A pool without a lock store: if EC2 refuses to associate an address, the next one is tried."""

    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """Adopt one cluster that an earlier attempt launched for one of the addresses, and terminate the others."""
        kept: str | None = None
        for member in self.members.values():
            job_flow_id = member.adopt(attempt, launcher)
            if job_flow_id is None:
                continue
            if kept is None:
                kept, self._chosen = job_flow_id, member
            else:
                end(member.clients["emr"], job_flow_id)
                member.events.orphan_terminated(job_flow_id)
        return kept

    def enter(
        self,
        lease_request: LeaseRequest,
        *,
        due_seconds: Any = None,
        launcher: ClusterLauncher | None = None,
    ) -> Acquired | AllInUse:
        """
        Choose the address that the resource already has, else the first free one; launch nothing before one is free.

        :raises AddressNotFoundError: when none of them exists.
        """
        if lease_request.wants:
            for allocation_id, member in self.members.items():
                if lease_request.wants in read_location(member.clients, allocation_id).resource_ids:
                    self._chosen = member
                    return Acquired(NO_RECORD)
        existing = self.read_existing()
        for allocation_id, member in self.members.items():
            if allocation_id in existing and existing[allocation_id].is_free:
                self._chosen = member
                return Acquired(NO_RECORD)
        return AllInUse()

    def next_free(self, job_flow_id: str) -> str | None:
        """
        Choose another address for a cluster, when EC2 has refused the one for which it was launched.

        The cluster gets the tag of that address, by which a retry, the teardown and the reaper find it.

        :return: the address; ``None`` when none is free.
        """
        for allocation_id, member in self.members.items():
            address = read_address(member.clients["ec2"], allocation_id)
            if address is not None and address.is_free:
                tags = as_items({ALLOCATION_TAG: allocation_id})
                member.clients["emr"].add_tags(ResourceId=job_flow_id, Tags=tags)
                self._chosen = member
                return allocation_id
        return None
