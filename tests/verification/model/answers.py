"""How the model's world answers what the protocol and the operators ask."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.store import Conflict
from airflow_eip_provider.lease.world import TooLate
from tests.verification.model.checks import (
    changed_attempts,
    check_disassociate,
    check_launch,
    check_step,
    check_terminate,
    check_write,
    is_given_up,
)
from tests.verification.model.requests import (
    At,
    Disassociate,
    FindClusters,
    GiveLeaseTags,
    Launch,
    ReadLocation,
    ReadRecord,
    ReadResource,
    ReadSteps,
    Terminate,
    WriteRecord,
)
from tests.verification.model.world import LIMITS, Actor, AddStep, Associate, CancelStep, Cluster, ViolationError, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.lease.world import AddressLocation, LeaseTags, Resource


class Glance:
    """A world that is only looked at, at one moment; a :class:`~airflow_eip_provider.lease.world.ReadOnlyWorld`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read_record(self) -> Snapshot:
        return self._world.snapshot

    def read_location(self) -> AddressLocation:
        return self._world.location

    def read_resource(self, resource_id: str) -> Resource:
        return self._world.resource_id(resource_id)

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        return self._world.clusters_with(lease_tags, since)

    def active_steps(self, resource_id: str, *, guarded: bool) -> tuple[str, ...]:
        return self._world.steps_of(resource_id, guarded=guarded)


def answer(world: World, actor: Actor, request: Any) -> tuple[World, Any]:
    """Let one request take effect, and answer it."""
    if isinstance(request, At):
        after, response = answer(world.seen_from(request.address), actor, request.request)
        return after.seen_from(world.address), response
    after, response = _ANSWERS[type(request)](world, actor, request)
    if world.at is not None and after.at not in {None, world.at}:
        raise ViolationError(f"I2: {actor} takes the address from {world.at}")
    return after, response


def _read_record(world: World, actor: Actor, request: ReadRecord) -> tuple[World, Any]:
    return world, world.snapshot


def _read_location(world: World, actor: Actor, request: ReadLocation) -> tuple[World, Any]:
    return world, world.location


def _read_carrier(world: World, actor: Actor, request: ReadResource) -> tuple[World, Any]:
    return world, world.resource_id(request.resource_id)


def _find_clusters(world: World, actor: Actor, request: FindClusters) -> tuple[World, Any]:
    return world, world.clusters_with(request.lease_tags, request.since)


def _read_steps(world: World, actor: Actor, request: ReadSteps) -> tuple[World, Any]:
    return world, world.steps_of(request.resource_id, guarded=request.guarded)


def _write(world: World, actor: Actor, request: WriteRecord) -> tuple[World, Any]:
    if world.snapshot.version != request.version and world.store_keeps_its_word:
        return world, Conflict(world.snapshot)
    return written(world, actor, request.record)


def written(world: World, actor: Actor, record: Record) -> tuple[World, Any]:
    """Let a write take effect; an honest store has looked at its version before."""
    clusters = world.clusters
    if world.store_keeps_its_word:
        check_write(world, actor, record)
        changed = changed_attempts(world.record, record)
        clusters = tuple(
            replace(c, adoptable=True)
            if c.token in changed and c.address == world.address and c.visible and c.state == "live"
            else c
            for c in clusters
        )
        clusters = tuple(replace(c, given_up=True) if is_given_up(record, c) else c for c in clusters)
    world = replace(world, record=replace(record, history=()), version=world.version + 1, clusters=clusters)
    return world, world.snapshot


def _launch(world: World, actor: Actor, request: Launch) -> tuple[World, Any]:
    if world.now - request.announced_at > LIMITS.send:
        return world, TooLate()
    if world.store_keeps_its_word:
        check_launch(world, actor, request)
    by = int(request.announced_at + LIMITS.surface)
    resource_id = f"j-{len(world.clusters) + 1}"
    cluster = Cluster(
        resource_id,
        request.token,
        actor.owner,
        visible=False,
        visible_by=by,
        born=world.now,
        by=actor.try_number,
        address=world.address,
    )
    return replace(world, clusters=(*world.clusters, cluster)), cluster.resource_id


def _terminate(world: World, actor: Actor, request: Terminate) -> tuple[World, Any]:
    cluster = world.cluster(request.resource_id)
    if cluster is None or cluster.state != "live":
        return world, cluster is not None
    check_terminate(world, actor, request.resource_id)
    swept = bool(world.rest) and cluster.owner != actor.owner
    return world.with_cluster(replace(cluster, state="ending", swept=swept)), True


def _give_lease_tags(world: World, actor: Actor, request: GiveLeaseTags) -> tuple[World, Any]:
    cluster = world.cluster(request.resource_id)
    if cluster is None or cluster.state == "ended":
        return world, None
    return world.with_cluster(replace(cluster, address=world.address, token=request.token)), None


def _disassociate(world: World, actor: Actor, request: Disassociate) -> tuple[World, Any]:
    if world.at is None or request.association_id != str(world.association):
        return world, None
    cluster = world.cluster(world.at)
    assert cluster is not None
    check_disassociate(world, actor, cluster)
    return replace(world, at=None), None


def _associate(world: World, actor: Actor, request: Associate) -> tuple[World, Any]:
    cluster = world.cluster(request.resource_id)
    if cluster is None or cluster.state != "live":
        return world, "gone"
    if world.at is not None:
        return world, "bound" if world.at == cluster.resource_id else "busy"
    return replace(world, at=cluster.resource_id, association=world.association + 1), "bound"


def _add_step(world: World, actor: Actor, request: AddStep) -> tuple[World, Any]:
    resource_id = request.resource_id
    cluster = world.cluster(resource_id)
    if cluster is None or cluster.state != "live":
        return world, "refused"
    return world.with_cluster(replace(cluster, step="pending")), "accepted"


def started(world: World, resource_id: str) -> World:
    """
    Let a step start that its submitter lets be.

    Between the submission and the submitter's second look is less time than EMR takes to start a step.
    """
    cluster = world.cluster(resource_id)
    if cluster is None or cluster.step != "pending":
        return world
    if world.store_keeps_its_word:
        check_step(world, cluster)
    has_address = world.at == resource_id
    return world.with_cluster(replace(cluster, step="running" if has_address else "late"))


def _cancel_step(world: World, actor: Actor, request: CancelStep) -> tuple[World, Any]:
    cluster = world.cluster(request.resource_id)
    return (world.with_cluster(replace(cluster, step="none")) if cluster else world), None


_ANSWERS: dict[type, Callable[[World, Actor, Any], tuple[World, Any]]] = {
    ReadRecord: _read_record,
    ReadLocation: _read_location,
    ReadResource: _read_carrier,
    FindClusters: _find_clusters,
    ReadSteps: _read_steps,
    # Looked up when they are asked: mutations replace them.
    WriteRecord: lambda *asked: _write(*asked),  # noqa: PLW0108
    Launch: _launch,
    GiveLeaseTags: _give_lease_tags,
    Terminate: _terminate,
    Disassociate: _disassociate,
    Associate: lambda *asked: _associate(*asked),  # noqa: PLW0108
    AddStep: _add_step,
    CancelStep: _cancel_step,
}
