"""The faults: each yields its effects with the states that follow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.lease.store import Unknown
from airflow_eip_provider.lease.world import Unclear
from tests.verification.model.answers import answer
from tests.verification.model.symmetry import Move, with_, without
from tests.verification.model.world import Actor, World, end_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.verification.model.moves import Moves
    from tests.verification.model.processes import Process
    from tests.verification.model.symmetry import State

_After: TypeAlias = "Iterator[tuple[str, State]]"


def _crash(moves: Moves, state: State, number: int) -> _After:
    """A process dies between two calls; Airflow starts it again, or never does."""
    process: Process = moves.processes.things[number]
    left = state._replace(processes=without(state.processes, number))
    if process.task != "create":
        again = moves.first(process.owner, process.try_number, process.task, process.resource_id, process.address)
        yield "", left._replace(processes=with_(left.processes, again))
        return
    if moves.is_newest(state, process) and (retried := moves.again(left, process.owner)) != left:
        yield ", retried", retried
    world = moves.world(state)
    if world.rest and process.owner not in world.abandoned:
        left = left._replace(world=moves.worlds.of(replace(world, abandoned=(*world.abandoned, process.owner))))
    yield ", never retried", left


def _clear(moves: Moves, state: State, number: int) -> _After:
    """A newer try starts while the older one is running."""
    process: Process = moves.processes.things[number]
    if process.task == "create" and moves.is_newest(state, process):
        after = moves.again(state, process.owner)
        if after != state:
            yield "", after


def _kill(moves: Moves, world: int, number: int) -> Iterator[Move]:
    """A task is told to stop, and undoes what it did."""
    process: Process = moves.processes.things[number]
    if process.task == "create" and process.stage not in {"undo", "retire"}:
        yield Move("", world, moves.processes.of(moves.tasks.start(process, "undo")))


def _lost(moves: Moves, world_number: int, number: int) -> Iterator[Move]:
    """A change takes effect and its answer is lost, or the request is lost."""
    process: Process = moves.processes.things[number]
    request = moves.tasks.request(process)
    if request is None or request.method not in {"write_record", "launch"}:
        return
    world: World = moves.worlds.things[world_number]
    effect, _ = answer(world, Actor(process.owner, process.try_number, process.task), request)
    launched = [cluster for cluster in effect.clusters if world.cluster(cluster.resource_id) is None]
    for cluster in launched:
        effect = effect.with_cluster(cluster.unanswered())
    told = moves.tasks.tell(process, Unknown("lost") if request.method == "write_record" else Unclear())
    yield moves.move(": the answer", effect, process, told)
    yield moves.move(": the request", world, process, told)


def _die(moves: Moves, world_number: int, number: int) -> Iterator[Move]:
    """The cluster that a process knows fails."""
    process: Process = moves.processes.things[number]
    world: World = moves.worlds.things[world_number]
    cluster = world.cluster(process.resource_id) if process.resource_id else None
    if cluster is not None and cluster.state == "live":
        yield Move(f": {cluster.resource_id} ends", moves.worlds.of(end_cluster(world, cluster.resource_id)), number)


def _fail(moves: Moves, world: int, number: int) -> Iterator[Move]:
    """A process decides that its cluster does not start, though other tries may decide otherwise; or it fails."""
    process: Process = moves.processes.things[number]
    if process.stage != "start":
        return
    replacing = moves.processes.of(moves.tasks.start(process, "replace"))
    yield Move(f": {process.resource_id} does not start", world, replacing)
    yield from _die(moves, world, number)


def _early(moves: Moves, world_number: int, number: int) -> Iterator[Move]:
    """A step that the user submitted without an operator begins before its cluster is handed over."""
    process: Process = moves.processes.things[number]
    world: World = moves.worlds.things[world_number]
    cluster, lease = world.cluster(process.resource_id or ""), world.record.lease
    if cluster is None or lease is None or cluster.state != "live" or cluster.step != "none":
        return
    if lease.token == cluster.token and lease.phase is Phase.ACQUIRED and world.now < lease.handover_by:
        after = moves.worlds.of(world.with_cluster(replace(cluster, step="early")))
        yield Move(f": {cluster.resource_id} runs a step", after, number)


# The effects of RESTARTS depend on the other processes; those of CHANGES only on one process and the world. "slow", a
# tick although something else can happen, concerns no process and is in Moves.
RESTARTS: Mapping[str, Callable[[Moves, State, int], _After]] = {"crash": _crash, "clear": _clear}
CHANGES: Mapping[str, Callable[[Moves, int, int], Iterator[Move]]] = {
    "kill": _kill,
    "lost": _lost,
    "die": _die,
    "early": _early,
    "fail": _fail,
}
