"""
The world of the model: the lock store, EC2's rule of association, clusters and their steps. All of it is frozen.

Time is counted in ticks. Whatever the programs must never do is checked here, where it would take effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from airflow_eip_provider.lock.model import Limits, Phase, Record
from airflow_eip_provider.lock.requests import (
    Carrier,
    Disassociate,
    FindCarriers,
    Launch,
    Place,
    ReadCarrier,
    ReadPlace,
    ReadRecord,
    ReadSteps,
    Terminate,
    TooLate,
    WriteRecord,
)
from airflow_eip_provider.lock.store import Conflict, Seen

LIMITS = Limits(grace=1, send=1, surface=2, history=1)
HANDOVER_TICKS = 3


class ViolationError(Exception):
    """An invariant is broken."""


@dataclass(frozen=True, slots=True)
class Associate:
    """The operators' own request: bind the address to this cluster, unless something else has it."""

    carrier: str


@dataclass(frozen=True, slots=True)
class AddStep:
    """The operators' own request: submit a guarded step."""

    carrier: str


@dataclass(frozen=True, slots=True)
class CancelStep:
    """The operators' own request: cancel the guarded step of this cluster."""

    carrier: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: one process of one try of one owner's task."""

    owner: str
    try_number: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    :param visible: ListClusters shows it.
    :param visible_by: the tick at which it does at the latest.
    :param step: "none", "running" (with the address, when it started) or "late" (submitted after a closing).
    :param handed_over: its creating task has returned it.
    """

    carrier: str
    token: int
    owner: str
    state: str = "live"
    visible: bool = True
    visible_by: int = 0
    step: str = "none"
    handed_over: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """
    :param at: the cluster that carries the address.
    :param association: the number of the last association made.
    """

    now: int = 0
    record: Record = Record()
    version: int = 0
    at: str | None = None
    association: int = 0
    clusters: tuple[Cluster, ...] = ()

    def cluster(self, carrier: str) -> Cluster | None:
        return next((c for c in self.clusters if c.carrier == carrier), None)

    def with_cluster(self, cluster: Cluster) -> World:
        return replace(self, clusters=tuple(cluster if c.carrier == cluster.carrier else c for c in self.clusters))

    @property
    def seen(self) -> Seen:
        return Seen(self.record, str(self.version) if self.version else None, float(self.now))

    def carrier(self, carrier: str) -> Carrier:
        cluster = self.cluster(carrier)
        return Carrier(carrier, cluster.state, cluster.token) if cluster else Carrier(carrier, "ended")


def answer(world: World, actor: Actor, request: Any) -> tuple[World, Any]:
    """Let one request take effect, and answer it."""
    match request:
        case ReadRecord():
            return world, world.seen
        case ReadPlace():
            return world, _place(world)
        case ReadCarrier(carrier):
            return world, world.carrier(carrier)
        case FindCarriers(token, _):
            found = [c for c in world.clusters if c.token == token and c.visible and c.state != "ended"]
            return world, tuple(world.carrier(c.carrier) for c in found)
        case ReadSteps(carrier, _):
            cluster = world.cluster(carrier)
            return world, ("s-1",) if cluster and cluster.step != "none" else ()
        case WriteRecord(record, version):
            return _write(world, actor, record, version)
        case Launch(token, announced_at):
            return _launch(world, actor, token, announced_at)
        case Terminate(carrier):
            return _terminate(world, actor, carrier), None
        case Disassociate(association_id):
            return _disassociate(world, actor, association_id), None
        case Associate(carrier):
            return _associate(world, carrier)
        case AddStep(carrier):
            return _add_step(world, carrier)
        case CancelStep(carrier):
            cluster = world.cluster(carrier)
            return (world.with_cluster(replace(cluster, step="none")) if cluster else world), None
    raise TypeError(request)


def _place(world: World) -> Place:
    if world.at is None:
        return Place()
    cluster = world.cluster(world.at)
    return Place(str(world.association), (world.at,), live=cluster is not None and cluster.state != "ended")


def _write(world: World, actor: Actor, record: Record, version: str | None) -> tuple[World, Any]:
    if world.seen.version != version:
        return world, Conflict(world.seen)
    _check_write(world, actor, record)
    world = replace(world, record=replace(record, history=()), version=world.version + 1)
    return world, world.seen


def _check_write(world: World, actor: Actor, after: Record) -> None:
    before, lease = world.record.lease, after.lease
    if lease is not None and before is not None and lease.token != before.token:
        raise ViolationError("I1: a lease replaced another without its end")
    if lease is not None and before is None and lease.token <= _last_token(world.record):
        raise ViolationError("I4: a token is used again")
    if before is not None and lease is None and before.speaker.owner != actor.owner:
        _check_takeover(world)


def _last_token(record: Record) -> int:
    return record.issued if not record.queue else record.queue[0].token - 1


def _check_takeover(world: World) -> None:
    lease = world.record.lease
    assert lease is not None
    for cluster in world.clusters:
        # What else an earlier try may have launched stays a suspect of the record, which the next owner sweeps.
        mine = cluster.carrier == lease.carrier or (lease.phase is Phase.TAKEN and cluster.token == lease.token)
        if mine and cluster.state != "ended" and not (lease.phase is Phase.CLOSING and world.at != cluster.carrier):
            raise ViolationError(f"I7: the lease of {lease.speaker.owner} was taken over while its cluster lives")


def _launch(world: World, actor: Actor, token: int, announced_at: float) -> tuple[World, Any]:
    if world.now - announced_at > LIMITS.send:
        return world, TooLate()
    name = f"j-{len(world.clusters) + 1}"
    by = int(announced_at + LIMITS.surface)
    cluster = Cluster(name, token, actor.owner, visible=False, visible_by=by)
    return replace(world, clusters=(*world.clusters, cluster)), name


def _terminate(world: World, actor: Actor, carrier: str) -> World:
    cluster = world.cluster(carrier)
    if cluster is None or cluster.state != "live":
        return world
    lease = world.record.lease
    if lease is not None and lease.carrier == carrier and lease.phase is Phase.HELD:
        other = lease.speaker.owner != actor.owner
        if other or lease.speaker.try_number > actor.try_number:
            raise ViolationError(f"I6: {actor} terminates {carrier}, which {lease.speaker} holds")
    return world.with_cluster(replace(cluster, state="ending"))


def end_cluster(world: World, carrier: str) -> World:
    """Let a cluster reach its terminal state; EC2 drops the association of its instance."""
    cluster = world.cluster(carrier)
    assert cluster is not None
    world = world.with_cluster(replace(cluster, state="ended", step="none", visible=True))
    return replace(world, at=None) if world.at == carrier else world


def _disassociate(world: World, actor: Actor, association_id: str) -> World:
    if world.at is None or association_id != str(world.association):
        return world
    cluster = world.cluster(world.at)
    assert cluster is not None
    if cluster.owner != actor.owner:
        raise ViolationError(f"I2: {actor} takes the address off {cluster.owner}'s cluster")
    if cluster.step == "running" and cluster.state == "live":
        raise ViolationError(f"I5: the address leaves {cluster.carrier} while its step runs")
    return replace(world, at=None)


def _associate(world: World, carrier: str) -> tuple[World, Any]:
    cluster = world.cluster(carrier)
    if cluster is None or cluster.state != "live":
        return world, "gone"
    if world.at is not None:
        return world, "bound" if world.at == carrier else "busy"
    return replace(world, at=carrier, association=world.association + 1), "bound"


def _add_step(world: World, carrier: str) -> tuple[World, Any]:
    cluster = world.cluster(carrier)
    if cluster is None or cluster.state != "live":
        return world, "refused"
    lease = world.record.lease
    ours = lease is not None and lease.carrier == carrier and lease.phase is Phase.HELD and world.at == carrier
    return world.with_cluster(replace(cluster, step="running" if ours else "late")), "accepted"


def check(world: World, *, known: frozenset[str], prewarm: int) -> None:
    """
    Check what must hold in every state.

    :param known: the clusters that a creating process still knows of.
    :raises ViolationError: for what does not.
    """
    running = [c for c in world.clusters if c.step == "running"]
    if len(running) > 1:
        raise ViolationError(f"I1: guarded steps run on {running[0].carrier} and {running[1].carrier}")
    record = world.record
    tokens = {suspect.token for suspect in record.suspects} | {entry.token for entry in record.queue}
    early = 0
    for cluster in world.clusters:
        if cluster.state != "live":
            continue
        current = record.lease is not None and record.lease.token == cluster.token
        early += not current and any(entry.token == cluster.token for entry in record.queue)
        if not (current or cluster.token in tokens or cluster.handed_over or cluster.carrier in known):
            raise ViolationError(f"I6: nothing in the record leads to {cluster.carrier}")
    if early > prewarm:
        raise ViolationError(f"{early} clusters were started early")
