"""The model world's answers to the requests of the protocol and of the operators."""

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
from tests.verification.model.world import LIMITS, Cluster, ViolationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.record import Record
    from tests.verification.model.replay import Request
    from tests.verification.model.world import Actor, World


class Glance:
    """The :class:`~airflow_eip_provider.lease.world.ReadOnlyWorld` of one moment."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **named: _READS[method](self._world, *arguments, **named)


_READS: dict[str, Callable[..., Any]] = {
    "read_record": lambda world: world.snapshot,
    "read_location": lambda world: world.location,
    "settled_location": lambda world, expected: world.location,
    "read_resource": lambda world, resource_id: world.resource(resource_id),
    "find_clusters": lambda world, lease_tags, since: world.clusters_with(lease_tags, since),
    "active_steps": lambda world, resource_id, guarded: world.steps_of(resource_id, guarded=guarded),
}


def answer(world: World, actor: Actor, request: Request) -> tuple[World, Any]:
    """Let one request take effect; return the world after it, and the answer."""
    view = world.seen_from(request.address)
    read = _READS.get(request.method)
    if read is not None:
        return world, read(view, *request.arguments)
    after, response = _CHANGES[request.method](view, actor, *request.arguments)
    if view.at is not None and after.at not in {None, view.at}:
        raise ViolationError(f"I2: {actor} takes the address from {view.at}")
    return after.seen_from(world.address), response


def _write(
    world: World,
    actor: Actor,
    record: Record,
    version: str | None,
    joins: bool = False,  # noqa: FBT001, FBT002
) -> tuple[World, Any]:
    if world.snapshot.version != version and world.store_keeps_its_word:
        return world, Conflict(world.snapshot)
    return written(world, actor, record)


def written(world: World, actor: Actor, record: Record) -> tuple[World, Any]:
    """Let a write take effect; a correct store has compared the version before."""
    clusters = world.clusters
    if world.store_keeps_its_word:
        check_write(world, actor, record)
        changed = changed_attempts(world.record, record)
        clusters = tuple(
            replace(c, adoptable=True)
            if c.token in changed and c.address == world.address and c.state == "live" and _is_found(world, c)
            else c
            for c in clusters
        )
        clusters = tuple(replace(c, given_up=True) if is_given_up(record, c) else c for c in clusters)
    world = replace(world, record=replace(record, history=()), version=world.version + 1, clusters=clusters)
    return world, world.snapshot


def _is_found(world: World, cluster: Cluster) -> bool:
    """Whether a try that searches for a cluster finds it."""
    return cluster.visible or world.at == cluster.resource_id


def _launch(world: World, actor: Actor, token: int, announced_at: float) -> tuple[World, Any]:
    if world.now - announced_at > LIMITS.send:
        return world, TooLate()
    if world.store_keeps_its_word:
        check_launch(world, actor, token)
    by = int(announced_at + LIMITS.surface)
    resource_id = f"j-{len(world.clusters) + 1}"
    cluster = Cluster(
        resource_id,
        token,
        actor.owner,
        visible=False,
        visible_by=by,
        known=not world.unknown_at_first,
        born=world.now,
        by=actor.try_number,
        address=world.address,
    )
    return replace(world, clusters=(*world.clusters, cluster)), cluster.resource_id


def _terminate(world: World, actor: Actor, resource_id: str) -> tuple[World, Any]:
    cluster = world.cluster(resource_id)
    if cluster is None or cluster.state != "live":
        return world, cluster is not None
    check_terminate(world, actor, resource_id)
    swept = bool(world.rest) and cluster.owner != actor.owner
    return world.with_cluster(replace(cluster, state="ending", swept=swept)), True


def _give_lease_tags(world: World, actor: Actor, resource_id: str, token: int) -> tuple[World, Any]:
    cluster = world.cluster(resource_id)
    if cluster is None or cluster.state == "ended":
        return world, None
    return world.with_cluster(replace(cluster, address=world.address, token=token)), None


def _disassociate(world: World, actor: Actor, association_id: str) -> tuple[World, Any]:
    if world.at is None or association_id != str(world.association):
        return world, None
    cluster = world.cluster(world.at)
    assert cluster is not None
    check_disassociate(world, actor, cluster)
    return replace(world, at=None), None


def _associate(world: World, actor: Actor, resource_id: str) -> tuple[World, Any]:
    cluster = world.cluster(resource_id)
    if cluster is None or cluster.state != "live":
        return world, "gone"
    if world.has_gateway:
        return world, "bound"
    if world.at is not None:
        return world, "bound" if world.at == cluster.resource_id else "busy"
    return replace(world, at=cluster.resource_id, association=world.association + 1), "bound"


def _put_on(world: World, actor: Actor, resource_id: str) -> tuple[World, Any]:
    """Associate the address, and say by which association, if this request has made one."""
    after, _ = _associate(world, actor, resource_id)
    return after, None if after == world else str(after.association)


def _add_step(world: World, actor: Actor, resource_id: str) -> tuple[World, Any]:
    cluster = world.cluster(resource_id)
    if cluster is None or cluster.state != "live":
        return world, "refused"
    return world.with_cluster(replace(cluster, step="pending")), "accepted"


def started(world: World, resource_id: str) -> World:
    """
    Let a step start that its submitter did not cancel.

    The submitter's second check takes less time than EMR takes to start a step.
    """
    cluster = world.cluster(resource_id)
    if cluster is None or cluster.step != "pending":
        return world
    if world.store_keeps_its_word:
        check_step(world, cluster)
    has_address = world.has_gateway or world.at == resource_id
    return world.with_cluster(replace(cluster, step="running" if has_address else "late"))


def _cancel_step(world: World, actor: Actor, resource_id: str) -> tuple[World, Any]:
    cluster = world.cluster(resource_id)
    return (world.with_cluster(replace(cluster, step="none")) if cluster else world), None


# The last three are requests of the operators, not of the protocol.
_CHANGES: dict[str, Callable[..., tuple[World, Any]]] = {
    # Looked up in each call, because mutations replace them.
    "write_record": lambda *asked: _write(*asked),  # noqa: PLW0108
    "launch": _launch,
    "give_lease_tags": _give_lease_tags,
    "terminate": _terminate,
    "disassociate": _disassociate,
    "put_on": _put_on,
    "associate": lambda *asked: _associate(*asked),  # noqa: PLW0108
    "add_step": _add_step,
    "cancel_step": _cancel_step,
}
