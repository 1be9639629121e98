"""
What the lease protocol asks of the world around it: a typed method for each read and each change.

The protocol (:mod:`airflow_eip_provider.lease.protocol`, :mod:`airflow_eip_provider.lease.observation`) is plain
functions over these methods. Tasks give them an implementation on AWS (``lease_client.client``), the triggerer one that
can only read (``lease_client.reads``), and the model checker one that answers from memory and may stop a process
between any two calls.

Every method is one moment. Between two calls anything may happen: another attempt writes the record, a cluster ends,
this process dies. So no function of the protocol may rely on an answer longer than until its next call; what must not
change in between is checked by the world itself, which refuses a write of an outdated version (the store) and an
association of an address that is in use (EC2).

:class:`ReadOnlyWorld` is a type of its own, so that mypy refuses a trigger that changes something (invariant I10).
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
    The lease of a cluster, by its tags. The token alone would do if no store ever lost a record or was created anew.

    :param owner: the owner's digest.
    """

    token: int
    owner: str


@dataclass(frozen=True, slots=True)
class AddressLocation:
    """
    Where the address is.

    :param association_id: ``None`` when it is not associated.
    :param resource_ids: of the resources with which it is associated: the instance, and the instance's cluster.
    :param live: whether that instance is pending or running.
    :param lease_tags: of the cluster.
    :param left: the resource is being deleted, or no owner uses it: then the next owner of the lease disassociates it.
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
    The cluster or instance with which the address is, or may come to be, associated.

    :param state: "live", "ending" (on its way to a terminal state) or "ended" (in one, or unknown).
    :param is_known: whether EMR or EC2 knows it; a new one may be unknown for a moment.
    :param lease_tags: from its tags; ``None`` when it was not launched under a lease of this address.
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
    """Nothing was launched: the write that announced the launch is too long ago; write it again."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """The launch was sent; neither an answer arrived, nor does EMR show a cluster."""


class ReadOnlyWorld(Protocol):
    """What observing a lease needs: no method changes AWS or the store."""

    def read_record(self) -> Snapshot:
        """Return the record as the store has it now."""

    def read_location(self) -> AddressLocation:
        """Return where the address is."""

    def read_resource(self, resource_id: str) -> Resource:
        """Return the state of a cluster or an instance."""

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        """
        Return the clusters that have these tags and have not ended.

        :param since: by the store's clock; no cluster with these tags is older. 0 when that is not known.
        """

    def active_steps(self, resource_id: str, *, guarded: bool) -> tuple[str, ...]:
        """
        Return the ids of the steps that run or still may.

        :param guarded: only those that need the address.
        """


class World(ReadOnlyWorld, Protocol):
    """
    What the attempts of a task need: they also change AWS and the store.

    A change may take effect although its answer is lost, or although the process dies at that moment. Every one of
    them is therefore safe to repeat after another observation.
    """

    def write_record(self, record: Record, version: str | None, *, joins: bool = False) -> Outcome:
        """
        Replace the record of this version.

        :param joins: it adds an entry to the queue, and may be refused where the record has grown too large.
        """

    def pause(self) -> None:
        """
        Wait a little before the next read: another writer was faster, or the answer to a write was lost.

        The pauses are random and grow, and when they have come to minutes there is an error instead of another one.
        """

    def settled_location(self, expected: str) -> AddressLocation:
        """
        Return where the address is, once EC2 must show an association that was made a moment ago.

        :param expected: the resource of that association; as soon as EC2 shows it there, the answer is certain.
        """

    def launch(self, token: int, announced_at: float) -> str | TooLate | Unclear:
        """
        Launch a cluster with this token in its tags, and return its id.

        :param announced_at: the store's time of the write that this launch relies on; ``Limits.send`` counts from it.
        """

    def give_lease_tags(self, resource_id: str, token: int) -> None:
        """
        Replace a cluster's lease tags by those of this address: it was launched for another address of a pool.

        :param token: of the lease that goes on with it.
        """

    def terminate(self, resource_id: str) -> bool:
        """
        Terminate a cluster, whatever has become of it; an instance is left as it is, as it was not made for the lease.

        :return: ``False`` when EMR does not know it (yet).
        """

    def disassociate(self, association_id: str) -> None:
        """Undo one association, if it still exists."""
