"""
The possible next events: of a process, of AWS, of a fault, of time.

The next event of a process depends only on the process and the world, so it is computed once for each pair of them. A
state consists of a few numbers that stand for processes and the world.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.observation import ESTIMATED, Action, decide, is_for_others, observe
from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.lease.world import LeaseTags
from tests.verification.model.answers import Glance, answer, started
from tests.verification.model.checks import check_at_rest, check_gave_up, check_returned, check_state
from tests.verification.model.faults import CHANGES, RESTARTS
from tests.verification.model.processes import ESTIMATES, Process, Tasks
from tests.verification.model.symmetry import Move, Numbers, State, with_, without
from tests.verification.model.world import LIMITS, Actor, ViolationError, World, end_cluster, moves_of, tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.verification.model.replay import Request
    from tests.verification.model.world import Cluster

_FIRST_STAGE = {"steps": "guard", "release": "close", "terminate": "end"}
_ENDED = frozenset({"returned", "done", "failed", "gone"})
_LAST_TICK = 60


NO_WORLD = World()


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    :param owners: by name, the tasks of the owner's DAG run in order; tasks joined by a plus sign run in parallel.
    :param faults: by name, the most times that a fault occurs. "slow" is a tick at any moment; otherwise a tick occurs
        only when nothing else can happen.
    :param retries: the number of further tries of a creating task.
    :param prewarm: the number of first places of the queue whose owners start their clusters early; ``ESTIMATED``: by
        an estimate, which may say so at any moment, or never.
    :param start: the world at the beginning.
    :param moves_from: the cluster whose service each creating task moves to one of its own; empty for no failover.
    :param fallbacks: a cluster that does not start (fault "fail") is replaced.
    :param pools: for each owner the addresses, any one of which can be used; empty if there is only one address.
    """

    name: str
    owners: tuple[tuple[str, tuple[str, ...]], ...]
    faults: tuple[tuple[str, int], ...] = ()
    retries: int = 1
    prewarm: int = 0
    start: World = NO_WORLD
    fallbacks: bool = False
    moves_from: str = ""
    pools: tuple[tuple[str, ...], ...] = ()


class Moves:
    """All possible events of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.plans = dict(scenario.owners)
        self.worlds, self.processes = Numbers(), Numbers()
        self._scenario = scenario
        self._names = tuple(self.plans)
        self._pools = dict(zip(self._names, scenario.pools, strict=False))
        self.tasks = Tasks(
            prewarm=scenario.prewarm,
            fallbacks=scenario.fallbacks,
            moves_from=scenario.moves_from,
            pools={name: pool for name, pool in self._pools.items() if len(pool) > 1},
        )
        self._fault_names = tuple(name for name, _ in scenario.faults)
        self._moves: dict[tuple[int, int], tuple[Move, ...]] = {}
        self._world_moves: dict[int, tuple[Move, ...]] = {}
        self._changes: dict[tuple[str, int, int], tuple[Move, ...]] = {}
        self._firsts: dict[tuple[str, int, str, str | None, str], int] = {}
        self._checked: set[tuple[int, frozenset[str], tuple[str, ...]]] = set()

    @property
    def kinds(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The plan and the addresses of each owner; owners with the same ones are alike."""
        return {name: (plan, self._pools.get(name, ())) for name, plan in self.plans.items()}

    def start(self) -> State:
        return State(
            self.worlds.of(self._scenario.start),
            tuple(sorted(self._creating(name, 1) for name in self._names)),
            tuple(1 for _ in self._names),
            tuple(count for _, count in self._scenario.faults),
        )

    def check(self, state: State) -> None:
        """Check what must hold in every state."""
        known, creating = set(), set()
        for number in state.processes:
            process = self.processes.things[number]
            if process.task == "create":
                creating.add(process.owner)
                known |= {process.resource_id} - {None}
        at_rest = tuple(name for name in self._pools if name not in creating)
        key = (state.world, frozenset(known), at_rest)
        if key not in self._checked:
            estimated = self._scenario.prewarm == ESTIMATED
            check_state(
                self.world(state),
                known=key[1],
                prewarm=max(ESTIMATES) if estimated else self._scenario.prewarm,
                at_rest=frozenset(at_rest),
            )
            for owner in at_rest:
                if owner not in self.world(state).abandoned:
                    check_at_rest(self.world(state), owner)
            self._checked.add(key)

    def is_end(self, state: State) -> bool:
        """Whether every task has ended, every cluster has ended, and every address is free."""
        world = self.world(state)
        is_free = all(view.at is None for view in world.seen_from_all())
        return not state.processes and is_free and all(c.state == "ended" for c in world.clusters)

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield the possible next events, each with the state that follows."""
        busy = False
        for number in state.processes:
            for move in self._moves_of(state.world, number):
                busy = True
                yield move.label, self.after(state, number, move)
        for move in self._moves_of_world(state.world):
            busy = True
            yield move.label, State(move.world, state.processes, state.tries, state.faults)
        if any(state.faults):
            yield from self._failures(state)
        if self._scenario.prewarm == ESTIMATED:
            yield from self._estimates(state)
        if not busy:
            yield from self._idle(state)

    def world(self, state: State) -> World:
        return self.worlds.things[state.world]  # type: ignore[no-any-return]

    def _creating(self, owner: str, try_number: int) -> int:
        """Return the first process of a creating task; it knows its address if there is only one."""
        pool = self._pools.get(owner, ())
        return self.first(owner, try_number, "create", None, pool[0] if len(pool) == 1 else "")

    def first(self, owner: str, try_number: int, task: str, resource_id: str | None, address: str) -> int:
        key = (owner, try_number, task, resource_id, address)
        number = self._firsts.get(key)
        if number is None:
            stage = _FIRST_STAGE.get(task, self.tasks.enters)
            process = Process(owner, try_number, task, "", resource_id=resource_id, address=address)
            number = self._firsts[key] = self.processes.of(self.tasks.start(process, stage))
        return number

    def _moves_of(self, world_number: int, number: int) -> tuple[Move, ...]:
        """Return the next event of a process in a world: at most one, as functions make one call after the other."""
        key = (world_number, number)
        moves = self._moves.get(key)
        if moves is None:
            moves = tuple(self._compute_moves(self.worlds.things[world_number], self.processes.things[number]))
            self._moves[key] = moves
        return moves

    def _compute_moves(self, world: World, process: Process) -> Iterator[Move]:
        who = f"{process.owner}{process.try_number}"
        request = self.tasks.request(process)
        if request is not None:
            label = f"{who} {process.task}, {process.stage}: {_label(request)}"
            try:
                after, response = answer(world, Actor(process.owner, process.try_number, process.task), request)
                move = self.move(label, after, process, self.tasks.tell(process, response))
            except ViolationError as error:
                error.label = label
                raise
            yield move
        elif (stage := self._wakes(world, process)) is not None:
            yield self.move(f"{who} {process.task}: {stage}", world, process, self.tasks.start(process, stage))

    def move(self, label: str, world: World, before: Process, process: Process) -> Move:
        view = world.seen_from(process.address)
        if process.stage == "returned":
            cluster = view.cluster(str(process.resource_id))
            assert cluster is not None
            check_returned(view, process.snapshot, process.owner, cluster.resource_id)
            view = view.with_cluster(replace(cluster, handed_over=True))
        elif process.stage == "watch" and before.stage != "watch":
            view = started(view, str(process.resource_id))
        elif (before.stage, process.stage) == ("hand_over", "undo"):
            check_gave_up(view, process.attempt, process.token)
        elif process.stage in {"failed", "gone"} and self._pools and not self._scenario.faults:
            raise ViolationError(f"{process.owner} ends without an address, although nothing fails")
        return Move(label, self.worlds.of(view.seen_from(world.address)), self.processes.of(process))

    def _wakes(self, world: World, process: Process) -> str | None:  # noqa: PLR0911 - one case a stage
        """Return the stage that a waiting process enters now, as its trigger would decide; ``None`` to keep waiting."""
        world = world.seen_from(process.address)
        resource_id = world.cluster(process.resource_id) if process.resource_id else None
        match process.stage:
            case "wait":
                return None if self._waits_on(world, process) else self.tasks.enters
            case "other":
                return self._after_another(world)
            case "quiet":
                return "launch" if self._is_idle(world.cluster(self.tasks.moves_from)) else None
            case "wait_free":
                lives = resource_id is not None and resource_id.state == "live"
                holder = world.cluster(world.at) if world.at else None
                ours = holder is not None and world.tags_of(holder) == LeaseTags(process.token, process.owner)
                return "bind" if holder is None or ours or not lives else None
            case "start":
                return "hand_over" if resource_id is not None and resource_id.state == "live" else "replace"
            case "ending":
                gone = resource_id is None or resource_id.state == "ended"
                return "replace" if gone and world.at != process.resource_id else None
            case "idle":
                return "release" if self._is_idle(resource_id) else None
            case "watch":
                if resource_id is None or resource_id.step == "none":
                    return "done"
                has_address = world.has_gateway or world.at == process.resource_id
                return "cancel" if not has_address and resource_id.state == "live" else None
        return None

    def _waits_on(self, world: World, process: Process) -> bool:
        """Whether a process has to wait for each of its addresses."""
        request = self.tasks.lease_request(process)
        views = [world]
        if process.owner in self.tasks.pools and not process.address:
            views = [world.seen_from(address) for address in self.tasks.pools[process.owner]]
            entries = [entry for view in views for entry in view.record.queue if entry.attempt.owner == process.owner]
            if any(entry.prewarmed_at is not None for entry in entries):
                request = replace(request, prewarm=0)  # once for each owner
        return all(
            decide(observe(Glance(view), LIMITS), request, due_seconds=1e9, limits=LIMITS) is Action.WAIT
            for view in views
        )

    @staticmethod
    def _after_another(world: World) -> str | None:
        """Return the next stage of a failover that was slower than another one; ``None`` to wait for that."""
        observation = observe(Glance(world), LIMITS)
        lease = observation.snapshot.record.lease
        if lease is None or is_for_others(observation, LIMITS):
            return "move"
        if lease.phase is not Phase.ACTIVE:
            return None
        return "move" if lease.resource_id == world.service else "gone"  # the other one failed, and moved it back

    def _estimates(self, state: State) -> Iterator[tuple[str, State]]:
        """Let a waiting process estimate that its cluster has to be started early; it need not do so."""
        world = self.world(state)
        for number in state.processes:
            process = self.processes.things[number]
            if process.stage != "wait":
                continue
            observed, lease_request = observe(Glance(world), LIMITS), self.tasks.lease_request(process)
            for places in ESTIMATES:
                action = decide(observed, replace(lease_request, prewarm=places), due_seconds=1e9, limits=LIMITS)
                if action is Action.PREWARM:
                    after = self.processes.of(self.tasks.start(process, "enter", prewarm=places))
                    label = f"{process.owner}{process.try_number} create: enter, one of {places} to start early"
                    yield label, self.after(state, number, Move(label, state.world, after))

    @staticmethod
    def _is_idle(cluster: Cluster | None) -> bool:
        return cluster is None or cluster.step == "none"

    def after(self, state: State, number: int, move: Move) -> State:
        """Replace a process; after one that has ended, Airflow starts the next ones."""
        process: Process = self.processes.things[move.process]
        left = without(state.processes, number)
        if process.stage not in _ENDED:
            return State(move.world, with_(left, move.process), state.tries, state.faults)
        after = State(move.world, left, state.tries, state.faults)
        if not self.is_newest(state, process):
            return after
        if process.stage == "failed":
            return self.again(after, process.owner)
        if process.stage in {"returned", "done"}:
            return after._replace(processes=with_(left, *self._following(process, left)))
        return after

    def _following(self, process: Process, left: tuple[int, ...]) -> Iterator[int]:
        """Return the tasks that follow a task, if all tasks in parallel with it have ended."""
        plan = self.plans[process.owner]
        at = next(number for number, tasks in enumerate(plan) if process.task in tasks.split("+"))
        is_parallel = any(self.processes.things[number].owner == process.owner for number in left)
        if not is_parallel and at + 1 < len(plan):
            for task in plan[at + 1].split("+"):
                yield self.first(process.owner, process.try_number, task, process.resource_id, process.address)

    def is_newest(self, state: State, process: Process) -> bool:
        return state.tries[self._names.index(process.owner)] == process.try_number

    def again(self, state: State, owner: str) -> State:
        """Let Airflow start the next try of a creating task, if there is one left."""
        at = self._names.index(owner)
        if state.tries[at] > self._scenario.retries:
            return state
        tries = (*state.tries[:at], state.tries[at] + 1, *state.tries[at + 1 :])
        retry = self._creating(owner, tries[at])
        return state._replace(processes=with_(state.processes, retry), tries=tries)

    def _moves_of_world(self, number: int) -> tuple[Move, ...]:
        moves = self._world_moves.get(number)
        if moves is None:
            what = moves_of(self.worlds.things[number])
            moves = self._world_moves[number] = tuple(Move(label, self.worlds.of(after), -1) for label, after in what)
        return moves

    def _failures(self, state: State) -> Iterator[tuple[str, State]]:
        for at, name in enumerate(self._fault_names):
            if state.faults[at] == 0:
                continue
            left = (*state.faults[:at], state.faults[at] - 1, *state.faults[at + 1 :])
            spent = State(state.world, state.processes, state.tries, left)
            if name == "slow":
                yield from self._tick(spent, "slow tick")
            elif name in RESTARTS:
                for number in state.processes:
                    for label, after in RESTARTS[name](self, spent, number):
                        yield self._failed(name, number, label), after
            else:
                for number in state.processes:
                    for move in self._changes_of(name, state.world, number):
                        yield move.label, self.after(spent, number, move)

    def _changes_of(self, fault: str, world: int, number: int) -> tuple[Move, ...]:
        """Return the effects of a fault on a process and the world, computed once."""
        key = (fault, world, number)
        moves = self._changes.get(key)
        if moves is None:
            moves = tuple(
                move._replace(label=self._failed(fault, number, move.label))
                for move in CHANGES[fault](self, world, number)
            )
            self._changes[key] = moves
        return moves

    def _failed(self, fault: str, number: int, label: str) -> str:
        process: Process = self.processes.things[number]
        return f"{fault} {process.owner}{process.try_number}'s {process.task}{label}"

    def _idle(self, state: State) -> Iterator[tuple[str, State]]:
        """When nothing else can happen: EMR ends an idle cluster that no task will end, or time passes."""
        world = self.world(state)
        known = {self.processes.things[number].resource_id for number in state.processes}
        for cluster in world.clusters:
            forgotten = cluster.handed_over or not state.processes or world.now >= _LAST_TICK
            if cluster.state == "live" and forgotten and cluster.resource_id not in known:
                after = self.worlds.of(end_cluster(world, cluster.resource_id))
                yield f"{cluster.resource_id} idles out", state._replace(world=after)
                return
        if not state.processes or not world.store_keeps_its_word:
            return  # with a broken store nothing overlaps, but a process may wait forever
        if world.now >= _LAST_TICK:
            waits = [self.processes.things[number] for number in state.processes]
            raise ViolationError(f"waits forever: {', '.join(f'{p.owner}{p.try_number} {p.stage}' for p in waits)}")
        yield from self._tick(state, "tick")

    def _tick(self, state: State, label: str) -> Iterator[tuple[str, State]]:
        after = tick(self.world(state))
        if after is not None:
            yield label, state._replace(world=self.worlds.of(after))


def _label(request: Request) -> str:
    """Return a request in short; of a record that is written, the lease and the queue."""
    if request.method != "write_record":
        return str(request)
    where = f" of {request.address}" if request.address else ""
    record = request.arguments[0]
    lease, queue = record.lease, [entry.attempt.nonce for entry in record.queue]
    leased = (
        f"{lease.phase.value} by {lease.attempt.nonce}, token {lease.token}, {lease.resource_id}" if lease else "free"
    )
    return f"write_record({leased}; queue: {', '.join(queue) or 'none'}){where}"
