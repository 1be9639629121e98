"""
The world of the model: the lock store, EC2's rule of association, clusters and their steps. All of it is frozen.

Time is counted in ticks. A world with several addresses is always seen from one of them: ``record``, ``version`` and
``association`` are those of this address, and ``rest`` has the others. So code for one address need not know how many
there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from airflow_eip_provider.lease.record import Limits, Record
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.world import AddressLocation, LeaseTags, Resource

LIMITS = Limits(grace=1, turns=1, send=1, surface=2, history=1)
HANDOVER_TICKS = 3
NO_RECORD = Record(grace=1)


class ViolationError(Exception):
    """
    An invariant is violated.

    :param label: the event that violates it, if known.
    """

    def __init__(self, what: str, label: str = "") -> None:
        super().__init__(what)
        self.label = label


@dataclass(frozen=True, slots=True)
class Actor:
    """The process that makes a request: of one try of one owner's task."""

    owner: str
    try_number: int
    task: str = "create"

    def __str__(self) -> str:
        return f"{self.owner}{self.try_number}'s {self.task}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    :param state: "live", "ending" or "ended".
    :param visible: ListClusters shows it.
    :param visible_by: the tick at which it does at the latest.
    :param known: DescribeCluster knows it, at the latest when ListClusters shows it.
    :param step: "none", "pending" (submitted, and not checked again), "running" (started with the address), "late"
        (started without it, with a broken store) or "early" (the user's own, not fenced, started before the hand-over
        deadline of a lease that is not handed over).
    :param handed_over: its creating task has returned it.
    :param adoptable: EMR showed it, or EC2 the address on it, when a newer try took over its lease.
    :param born: the tick at which it was launched.
    :param by: the try that launched it; 0 when the answer was lost, so that it does not know it.
    :param given_up: the record has given it up.
    :param address: the one that its tags name.
    :param swept: an owner other than its own has terminated it.
    """

    resource_id: str
    token: int
    owner: str
    state: str = "live"
    visible: bool = True
    visible_by: int = 0
    known: bool = True
    step: str = "none"
    handed_over: bool = False
    adoptable: bool = False
    born: int = 0
    by: int = 0
    given_up: bool = False
    address: str = ""
    swept: bool = False

    @property
    def lease_tags(self) -> LeaseTags:
        return LeaseTags(self.token, self.owner)

    def unanswered(self) -> Cluster:
        """Return it after the answer to its launch was lost."""
        return replace(self, by=0)

    def shown(self) -> Cluster:
        """Return it after ListClusters shows it."""
        return replace(self, visible=True, visible_by=0, known=True)

    def ended(self) -> Cluster:
        """Return it in its terminal state, without what matters only for live clusters."""
        return replace(self.shown(), state="ended", step="none", handed_over=False, adoptable=False, born=0, by=0)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An address other than the one from which a world is seen; its parameters are those of :class:`World`."""

    address: str
    record: Record = NO_RECORD
    version: int = 0
    at: str | None = None
    association: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """
    :param address: the one from which it is seen.
    :param rest: the other addresses, in the order of their names.
    :param abandoned: owners of which an attempt crashed and no retry followed it.
    :param at: the cluster that carries the address.
    :param association: the number of the last association made.
    :param store_keeps_its_word: otherwise every write takes effect, so only the guarantees of EC2 must hold.
    :param service: the cluster whose service failovers move; empty for none.
    :param lingers: an instance runs for a while, with the address, after its cluster has ended.
    :param unknown_at_first: DescribeCluster may not know a new cluster yet; TerminateJobFlows and AddTags are repeated
        until EMR knows it.
    :param has_gateway: the address is permanently on a NAT gateway, so EC2 refuses nothing, and shows on no cluster.
    """

    now: int = 0
    record: Record = NO_RECORD
    version: int = 0
    at: str | None = None
    association: int = 0
    clusters: tuple[Cluster, ...] = ()
    store_keeps_its_word: bool = True
    lingers: bool = False
    unknown_at_first: bool = False
    has_gateway: bool = False
    service: str = ""
    address: str = ""
    rest: tuple[Elsewhere, ...] = ()
    abandoned: tuple[str, ...] = ()

    def seen_from(self, address: str) -> World:
        """Return the same world, seen from another address."""
        if address in {"", self.address}:
            return self
        there = next(other for other in self.rest if other.address == address)
        here = Elsewhere(self.address, self.record, self.version, self.at, self.association)
        rest = sorted((here, *(other for other in self.rest if other is not there)), key=lambda other: other.address)
        return replace(
            self,
            address=there.address,
            record=there.record,
            version=there.version,
            at=there.at,
            association=there.association,
            rest=tuple(rest),
        )

    def seen_from_all(self) -> tuple[World, ...]:
        """Return the world as it is seen from each address."""
        return (self, *(self.seen_from(other.address) for other in self.rest))

    def tags_of(self, cluster: Cluster) -> LeaseTags | None:
        """Return a cluster's lease tags, if they are of this address."""
        return cluster.lease_tags if cluster.address == self.address else None

    def with_token(self, token: int) -> tuple[Cluster, ...]:
        """Return the clusters that have this token of this address in their tags."""
        return tuple([c for c in self.clusters if c.token == token and c.address == self.address])

    def cluster(self, resource_id: str) -> Cluster | None:
        return next((c for c in self.clusters if c.resource_id == resource_id), None)

    def with_cluster(self, cluster: Cluster) -> World:
        return replace(
            self, clusters=tuple(cluster if c.resource_id == cluster.resource_id else c for c in self.clusters)
        )

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self.record, str(self.version) if self.version else None, float(self.now))

    @property
    def location(self) -> AddressLocation:
        if self.at is None:
            return AddressLocation()
        cluster = self.cluster(self.at)
        assert cluster is not None
        # In the model an association ends with its instance, so an instance that has the address is live.
        return AddressLocation(str(self.association), (self.at,), live=True, lease_tags=self.tags_of(cluster))

    def clusters_with(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        """Return the clusters with these tags that ListClusters shows."""
        return tuple(
            [
                self.resource(c.resource_id)
                for c in self.with_token(lease_tags.token)
                if c.owner == lease_tags.owner and c.visible and c.state != "ended" and c.born >= since
            ]
        )

    def steps_of(self, resource_id: str, *, guarded: bool) -> tuple[str, ...]:
        """Return the step of a cluster that runs or still may; ``guarded``: if it needs the address."""
        cluster = self.cluster(resource_id)
        none = {"none", "early"} if guarded else {"none"}
        return ("s-1",) if cluster and cluster.step not in none else ()

    def resource(self, resource_id: str) -> Resource:
        cluster = self.cluster(resource_id)
        if cluster is None or not cluster.known:
            return Resource(resource_id, "ended", is_known=False)
        return Resource(resource_id, cluster.state, self.tags_of(cluster))


def moves_of(world: World) -> tuple[tuple[str, World], ...]:
    """Return the events that AWS may cause."""
    moves: list[tuple[str, Any]] = []
    for cluster in world.clusters:
        if not cluster.visible:
            moves.append((f"{cluster.resource_id} shows", world.with_cluster(cluster.shown())))
        if not cluster.known:
            moves.append((f"{cluster.resource_id} is known", world.with_cluster(replace(cluster, known=True))))
        if cluster.state == "ending":
            moves.append((f"{cluster.resource_id} ends", end_cluster(world, cluster.resource_id)))
        if cluster.step not in {"none", "pending"} and cluster.state != "ended":
            moves.append((f"{cluster.resource_id}'s step ends", world.with_cluster(replace(cluster, step="none"))))
        if cluster.state == "ended" and world.at == cluster.resource_id:  # for one address only
            moves.append((f"{cluster.resource_id}'s instance ends", replace(world, at=None)))
    return tuple(moves)


def end_cluster(world: World, resource_id: str) -> World:
    """Let a cluster reach its terminal state; EC2 drops the association when its instance ends."""
    cluster = world.cluster(resource_id)
    assert cluster is not None
    world = world.with_cluster(cluster.ended())
    if world.lingers:
        return world
    if any(other.at == resource_id for other in world.rest):
        rest = (replace(other, at=None) if other.at == resource_id else other for other in world.rest)
        world = replace(world, rest=tuple(rest))
    return replace(world, at=None) if world.at == resource_id else world


def tick(world: World) -> World | None:
    """Let time pass; ``None`` when a cluster must become visible first."""
    if any(not cluster.visible and world.now + 1 >= cluster.visible_by for cluster in world.clusters):
        return None
    return replace(world, now=world.now + 1)
