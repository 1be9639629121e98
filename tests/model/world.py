"""
The world of the model: the lock store, EC2's rule of association, clusters and their steps. All of it is frozen.

Time is counted in ticks. Whatever the programs must never do is checked here, where it would take effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lock.model import Limits, Phase, Record
from airflow_eip_provider.lock.requests import (
    Carrier,
    Disassociate,
    FindCarriers,
    Launch,
    Mark,
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

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Limits(grace=1, send=1, surface=2, history=1)
HANDOVER_TICKS = 3
NO_RECORD = Record()


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
    task: str = "create"


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

    @property
    def mark(self) -> Mark:
        return Mark(self.token, self.owner)


@dataclass(frozen=True, slots=True)
class World:
    """
    :param at: the cluster that carries the address.
    :param association: the number of the last association made.
    :param store_keeps_its_word: otherwise every write takes effect, and nothing is promised of the lease: what EC2
        alone decides must hold all the same.
    :param reassociates: EC2 takes the address from its holder (``AllowReassociation=True``).
    """

    now: int = 0
    record: Record = NO_RECORD
    version: int = 0
    at: str | None = None
    association: int = 0
    clusters: tuple[Cluster, ...] = ()
    store_keeps_its_word: bool = True
    reassociates: bool = False

    def cluster(self, carrier: str) -> Cluster | None:
        return next((c for c in self.clusters if c.carrier == carrier), None)

    def with_cluster(self, cluster: Cluster) -> World:
        return replace(self, clusters=tuple(cluster if c.carrier == cluster.carrier else c for c in self.clusters))

    @property
    def seen(self) -> Seen:
        return Seen(self.record, str(self.version) if self.version else None, float(self.now))

    def carrier(self, carrier: str) -> Carrier:
        cluster = self.cluster(carrier)
        return Carrier(carrier, cluster.state, cluster.mark) if cluster else Carrier(carrier, "ended")


def answer(world: World, actor: Actor, request: Any) -> tuple[World, Any]:
    """Let one request take effect, and answer it."""
    after, response = _ANSWERS[type(request)](world, actor, request)
    if world.at is not None and after.at not in {None, world.at}:
        raise ViolationError(f"I2: {actor} takes the address from {world.at}")
    return after, response


def _read_carrier(world: World, actor: Actor, request: ReadCarrier) -> tuple[World, Any]:
    return world, world.carrier(request.carrier)


def _find_carriers(world: World, actor: Actor, request: FindCarriers) -> tuple[World, Any]:
    found = [c for c in world.clusters if c.mark == request.mark and c.visible and c.state != "ended"]
    return world, tuple(world.carrier(c.carrier) for c in found)


def _read_steps(world: World, actor: Actor, request: ReadSteps) -> tuple[World, Any]:
    cluster = world.cluster(request.carrier)
    return world, ("s-1",) if cluster and cluster.step != "none" else ()


def _cancel_step(world: World, actor: Actor, request: CancelStep) -> tuple[World, Any]:
    cluster = world.cluster(request.carrier)
    return (world.with_cluster(replace(cluster, step="none")) if cluster else world), None


def _read_place(world: World, actor: Actor, request: ReadPlace) -> tuple[World, Any]:
    return world, _place(world)


def _read_record(world: World, actor: Actor, request: ReadRecord) -> tuple[World, Any]:
    return world, world.seen


def _place(world: World) -> Place:
    if world.at is None:
        return Place()
    cluster = world.cluster(world.at)
    if cluster is None:
        raise ValueError(world.at)
    return Place(str(world.association), (world.at,), cluster.state != "ended", cluster.mark)


def _write(world: World, actor: Actor, request: WriteRecord) -> tuple[World, Any]:
    record, version = request.record, request.version
    if world.seen.version != version and world.store_keeps_its_word:
        return world, Conflict(world.seen)
    return written(world, actor, record)


def written(world: World, actor: Actor, record: Record) -> tuple[World, Any]:
    """Let a write take effect; an honest store has looked at its version before."""
    if world.store_keeps_its_word:
        _check_write(world, actor, record)
    world = replace(world, record=replace(record, history=()), version=world.version + 1)
    return world, world.seen


def _check_write(world: World, actor: Actor, after: Record) -> None:
    before, lease = world.record.lease, after.lease
    own = before is not None and before.speaker.owner == actor.owner and actor.task == "create" and lease != before
    if own and before is not None and before.speaker.try_number > actor.try_number:
        raise ViolationError(f"rule 1: {actor} writes the lease of try {before.speaker.try_number}")
    if lease is not None and before is not None and lease.token != before.token:
        raise ViolationError("I1: a lease replaced another without its end")
    if lease is not None and before is None and lease.token <= _last_token(world.record):
        raise ViolationError("I4: a token is used again")
    closed = before is not None and lease is not None and before.phase is Phase.HELD and lease.phase is Phase.CLOSING
    if closed and before is not None and before.speaker.owner != actor.owner:
        raise ViolationError(f"I7: {actor} closes a lease of {before.speaker.owner} that was handed over")
    if lease is not None and before is None:
        _check_order(world, lease.speaker.owner)
    if before is not None and lease is None and before.speaker.owner != actor.owner:
        _check_takeover(world)


def _check_order(world: World, owner: str) -> None:
    place = world.record.place(owner)
    if place is None and world.record.queue:
        raise ViolationError(f"order: {owner} takes the lease past the queue")
    if place and world.now < world.record.free_since + place * LIMITS.grace:
        raise ViolationError(f"order: {owner} takes the lease before its turn")


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


def _launch(world: World, actor: Actor, request: Launch) -> tuple[World, Any]:
    token, announced_at = request.token, request.announced_at
    if world.now - announced_at > LIMITS.send:
        return world, TooLate()
    name = f"j-{len(world.clusters) + 1}"
    by = int(announced_at + LIMITS.surface)
    cluster = Cluster(name, token, actor.owner, visible=False, visible_by=by)
    return replace(world, clusters=(*world.clusters, cluster)), name


def _terminate(world: World, actor: Actor, request: Terminate) -> tuple[World, Any]:
    carrier = request.carrier
    cluster = world.cluster(carrier)
    if cluster is None or cluster.state != "live":
        return world, None
    lease = world.record.lease
    if lease is not None and world.store_keeps_its_word and lease.carrier == carrier and lease.phase is Phase.HELD:
        other = lease.speaker.owner != actor.owner
        if other or lease.speaker.try_number > actor.try_number:
            raise ViolationError(f"I6: {actor} terminates {carrier}, which {lease.speaker} holds")
    return world.with_cluster(replace(cluster, state="ending")), None


def end_cluster(world: World, carrier: str) -> World:
    """Let a cluster reach its terminal state; EC2 drops the association of its instance."""
    cluster = world.cluster(carrier)
    assert cluster is not None
    world = world.with_cluster(replace(cluster, state="ended", step="none", visible=True))
    return replace(world, at=None) if world.at == carrier else world


def _disassociate(world: World, actor: Actor, request: Disassociate) -> tuple[World, Any]:
    if world.at is None or request.association_id != str(world.association):
        return world, None
    cluster = world.cluster(world.at)
    assert cluster is not None
    if cluster.owner != actor.owner:
        raise ViolationError(f"I2: {actor} takes the address off {cluster.owner}'s cluster")
    if cluster.step == "running" and cluster.state == "live":
        raise ViolationError(f"I5: the address leaves {cluster.carrier} while its step runs")
    return replace(world, at=None), None


def _associate(world: World, actor: Actor, request: Associate) -> tuple[World, Any]:
    carrier = request.carrier
    cluster = world.cluster(carrier)
    if cluster is None or cluster.state != "live":
        return world, "gone"
    if world.at is not None and (world.at == carrier or not world.reassociates):
        return world, "bound" if world.at == carrier else "busy"
    return replace(world, at=carrier, association=world.association + 1), "bound"


def _add_step(world: World, actor: Actor, request: AddStep) -> tuple[World, Any]:
    carrier = request.carrier
    cluster = world.cluster(carrier)
    if cluster is None or cluster.state != "live":
        return world, "refused"
    lease = world.record.lease
    ours = lease is not None and lease.carrier == carrier and lease.phase is Phase.HELD and world.at == carrier
    ours = ours or (world.at == carrier and not world.store_keeps_its_word)
    return world.with_cluster(replace(cluster, step="running" if ours else "late")), "accepted"


_ANSWERS: dict[type, Callable[[World, Actor, Any], tuple[World, Any]]] = {
    ReadRecord: _read_record,
    ReadPlace: _read_place,
    ReadCarrier: _read_carrier,
    FindCarriers: _find_carriers,
    ReadSteps: _read_steps,
    WriteRecord: lambda *asked: _write(*asked),  # noqa: PLW0108 - mutations replace it
    Launch: _launch,
    Terminate: _terminate,
    Disassociate: _disassociate,
    Associate: _associate,
    AddStep: _add_step,
    CancelStep: _cancel_step,
}


def check_returned(world: World, seen: Seen | None, owner: str, carrier: str) -> None:
    """
    Check what must hold when a creating task returns.

    :param seen: the record of its last write or look.
    :raises ViolationError: when it does not.
    """
    lease = seen.record.lease if seen else None
    handed = lease is not None and lease.phase is Phase.HELD and lease.carrier == carrier
    if world.store_keeps_its_word and (lease is None or not handed or lease.speaker.owner != owner):
        raise ViolationError(f"I4: {owner} returns {carrier} without the lease")


def check(world: World, *, known: frozenset[str], prewarm: int) -> None:
    """
    Check what must hold in every state.

    :param known: the clusters that a creating process still knows of.
    :raises ViolationError: for what does not.
    """
    running = [c for c in world.clusters if c.step == "running"]
    if len(running) > 1:
        raise ViolationError(f"I1: guarded steps run on {running[0].carrier} and {running[1].carrier}")
    if not world.store_keeps_its_word:
        return
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
