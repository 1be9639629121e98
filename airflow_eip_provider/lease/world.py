"""
The interface between the lease protocol and its environment: a typed method for each read and each change.

The protocol (:mod:`airflow_eip_provider.lease.protocol`, :mod:`airflow_eip_provider.lease.observation`) consists of
plain functions that call these methods. Tasks use an implementation on AWS (``lease_client.client``), the triggerer one
that can only read (``lease_client.reads``), and the model checker one that answers from memory and may stop a process
between any two calls.

Every call is one moment. Between two calls anything may happen: another attempt writes the record, a cluster ends, this
process dies. So no function of the protocol relies on an answer beyond its next call. If something must not change in
between, the environment checks it: the store refuses a write of an outdated version, and EC2 refuses to associate an
address that is in use.

:class:`ReadOnlyWorld` is a separate type, so that mypy rejects a trigger that changes something (invariant I10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import Outcome, Snapshot


@dataclass(frozen=True, slots=True)
class LeaseTags:
    """
    The lease of a cluster, by its tags. The token alone is not enough: a store that was created again reissues tokens.

    :param owner: the owner's digest.
    """

    token: int
    owner: str


@dataclass(frozen=True, slots=True)
class AddressLocation:
    """
    Where the address is.

    :param association_id: ``None`` when it is not associated.
    :param resource_ids: the instance with which it is associated, and as the last one the cluster of the instance.
    :param live: whether that instance is pending or running.
    :param lease_tags: the lease tags of the cluster.
    :param left: the address is on a NAT gateway that is being deleted or whose cluster has ended; the next holder
        removes it.
    """

    association_id: str | None = None
    resource_ids: tuple[str, ...] = ()
    live: bool = False
    lease_tags: LeaseTags | None = None
    left: bool = False

    @property
    def is_free(self) -> bool:
        """Whether the address is not associated."""
        return self.association_id is None


@dataclass(frozen=True, slots=True)
class Resource:
    """
    The cluster or instance with which the address is or will be associated.

    :param state: "live", "ending" (on its way to a terminal state) or "ended" (in a terminal state, or unknown: see
        ``is_known``).
    :param is_known: whether EMR or EC2 knows it; a new one may be unknown for a moment.
    :param lease_tags: ``None`` when it was not launched under a lease of this address.
    """

    resource_id: str
    state: str
    lease_tags: LeaseTags | None = None
    is_known: bool = True

    @property
    def is_live(self) -> bool:
        """Whether it is neither ending nor ended."""
        return self.state == "live"


@dataclass(frozen=True, slots=True)
class TooLate:
    """Nothing was launched, because the write that announced the launch was too long ago: write it again."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """The launch was sent, but no answer arrived and EMR shows no cluster."""


class ReadOnlyWorld(Protocol):
    """The methods for observing a lease; none changes AWS or the store."""

    def read_record(self) -> Snapshot:
        """Return the current record."""

    def read_location(self) -> AddressLocation:
        """Return where the address is."""

    def read_resource(self, resource_id: str) -> Resource:
        """Return the state of a cluster or an instance."""

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        """
        Return the clusters that have these tags and have not ended.

        :param since: no cluster with these tags is older, by the store's clock; 0 when that is not known.
        """

    def active_steps(self, resource_id: str, *, guarded: bool) -> tuple[str, ...]:
        """
        Return the IDs of the steps that are pending or running.

        :param guarded: only those that need the address.
        """


class World(ReadOnlyWorld, Protocol):
    """
    The methods that the attempts of a task need, which also change AWS and the store.

    A change may take effect although its answer is lost or the process dies at that moment. So each one is safe to
    repeat after another observation.
    """

    def write_record(self, record: Record, version: str | None, *, joins: bool = False) -> Outcome:
        """
        Replace the record of this version.

        :param joins: the write adds an entry to the queue, so it may be refused if the record has become too large.
        """

    def pause(self) -> None:
        """
        Pause before the next read, because a write conflicted or its answer was lost.

        The pauses are random and grow; after some minutes in all, this raises an error.
        """

    def settled_location(self, expected: str) -> AddressLocation:
        """
        Return where the address is, after waiting until EC2 must show an association that was made a moment ago.

        :param expected: the resource of that association; the wait ends as soon as EC2 shows the address there.
        """

    def launch(self, token: int, announced_at: float) -> str | TooLate | Unclear:
        """
        Launch a cluster with this token in its tags, and return its ID.

        :param announced_at: the store's time of the write that announced the launch; ``Limits.send`` counts from it.
        """

    def give_lease_tags(self, resource_id: str, token: int) -> None:
        """
        Replace the lease tags of a cluster that was launched for another address of a pool.

        :param token: the token of the lease of this address.
        """

    def terminate(self, resource_id: str) -> bool:
        """
        Terminate a cluster in any state; an instance is not changed, as it was not launched for the lease.

        :return: ``False`` when EMR does not know the cluster (yet).
        """

    def disassociate(self, association_id: str) -> None:
        """Undo one association, if it still exists."""

    def put_on(self, resource_id: str) -> str | None:
        """
        Associate the address with the primary node of a cluster, unless anything has it.

        :return: the association ID; ``None`` if something has the address, no such node runs, or EC2 refuses.
        """
