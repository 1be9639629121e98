"""
Every interleaving of processes, faults and time, breadth first.

What one process can do next depends on itself and the world alone, so it is worked out once for each pair of the two;
a state is a handful of numbers that stand for them.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_eip_provider.lock.requests import Launch, Mark, Unclear, WriteRecord
from airflow_eip_provider.lock.sight import Action, judge, look
from airflow_eip_provider.lock.store import Unknown
from tests.model.processes import Process, Tasks
from tests.model.world import LIMITS, Actor, ViolationError, World, answer, check, check_returned, end_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.model.world import Cluster

_FIRST_STAGE = {"create": "enter", "steps": "guard", "release": "close", "terminate": "end"}
_ENDED = frozenset({"returned", "done", "failed", "gone"})
_LAST_TICK = 60


NO_WORLD = World()


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    :param owners: name → the tasks of its DAG run, in order; those joined by a plus sign run beside each other.
    :param faults: fault → how often at most. "slow" is a tick at any moment; otherwise a tick comes only when nothing
        else can happen.
    :param retries: how many further tries a creating task has.
    :param prewarm: among how many first places of the queue owners start their clusters early.
    :param start: the world at the beginning.
    """

    name: str
    owners: tuple[tuple[str, tuple[str, ...]], ...]
    faults: tuple[tuple[str, int], ...] = ()
    retries: int = 1
    prewarm: int = 0
    start: World = NO_WORLD


class State(NamedTuple):
    """The world and the processes by number, which try of each owner is the newest, and the faults left."""

    world: int
    processes: tuple[int, ...]
    tries: tuple[int, ...]
    faults: tuple[int, ...]


class Move(NamedTuple):
    """What may happen: to the world, and to the process that does it."""

    label: str
    world: int
    process: int


@dataclass(slots=True)
class Report:
    """
    What was explored.

    :param depth: the longest way, or how far every way was followed if there were too many states.
    :param ends: states in which every task has ended.
    """

    states: int = 0
    depth: int = 0
    ends: int = 0
    truncated: bool = False
    violation: str | None = None
    trace: tuple[str, ...] = ()


class Numbers:
    """A number for each different thing."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self.things: list[Any] = []

    def of(self, thing: Any) -> int:
        number = self._numbers.setdefault(thing, len(self.things))
        if number == len(self.things):
            self.things.append(thing)
        return number


class Explorer:
    """One scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._tasks = Tasks(prewarm=scenario.prewarm)
        self._plans = dict(scenario.owners)
        self._names = tuple(self._plans)
        self._fault_names = tuple(name for name, _ in scenario.faults)
        self._worlds, self._processes = Numbers(), Numbers()
        self._moves: dict[tuple[int, int], tuple[Move, ...]] = {}
        self._world_moves: dict[int, tuple[Move, ...]] = {}
        self._checked: set[tuple[int, frozenset[str]]] = set()

    def explore(self, *, most_states: int) -> Report:
        """Explore until everything was seen, an invariant broke, or there are too many states."""
        first = self._start()
        report = Report()
        ends: list[int] = []
        index = {first: 0}
        origins: list[tuple[int, str, int]] = [(-1, "start", 0)]
        queue = deque([first])
        edges: list[array[int]] = []
        while queue and report.violation is None:
            state = queue.popleft()
            number = index[state]
            depth = origins[number][2]
            label = "the end"
            edges.append(array("L"))
            try:
                for label, after in self._successors(state):
                    if after in index:
                        edges[-1].append(index[after])
                    else:
                        edges[-1].append(len(origins))
                        index[after] = len(origins)
                        origins.append((number, label, depth + 1))
                        self._check(after)
                        queue.append(after)
            except ViolationError as error:
                report.violation = str(error)
                report.trace = (*_trace(origins, number), label)
            if self._is_end(state):
                report.ends += 1
                ends.append(number)
            report.depth = depth
            if len(index) >= most_states:
                report.truncated = True
                report.depth = depth - 1
                break
        report.states = len(index)
        if report.violation is None and not report.truncated and self._scenario.start.store_keeps_its_word:
            stuck = _without_end(edges, ends)
            if stuck is not None:
                report.violation, report.trace = "goes round for ever", _trace(origins, stuck)
        return report

    def walk(self, random: Random, *, most_steps: int = 5000) -> Report:
        """Follow one way at random to its end."""
        state, report, labels = self._start(), Report(), []
        try:
            for _ in range(most_steps):
                ways = list(self._successors(state))
                if not ways:
                    report.ends = int(self._is_end(state))
                    return report
                label, state = random.choice(ways)
                labels.append(label)
                self._check(state)
                report.depth += 1
            report.violation = "goes round for ever"
        except ViolationError as error:
            report.violation = str(error)
        report.trace = tuple(labels)
        return report

    def _start(self) -> State:
        return State(
            self._worlds.of(self._scenario.start),
            tuple(sorted(self._first(name, 1, "create", None) for name in self._names)),
            tuple(1 for _ in self._names),
            tuple(count for _, count in self._scenario.faults),
        )

    def _world(self, state: State) -> World:
        return self._worlds.things[state.world]  # type: ignore[no-any-return]

    def _first(self, owner: str, try_number: int, task: str, carrier: str | None) -> int:
        return self._processes.of(
            self._tasks.start(Process(owner, try_number, task, "", carrier=carrier), _FIRST_STAGE[task])
        )

    def _check(self, state: State) -> None:
        known = set()
        for number in state.processes:
            process = self._processes.things[number]
            if process.task == "create" and process.carrier:
                known.add(process.carrier)
        key = (state.world, frozenset(known))
        if key not in self._checked:
            check(self._world(state), known=key[1], prewarm=self._scenario.prewarm)
            self._checked.add(key)

    def _is_end(self, state: State) -> bool:
        world = self._world(state)
        return not state.processes and all(c.state == "ended" for c in world.clusters)

    def _successors(self, state: State) -> Iterator[tuple[str, State]]:
        busy = False
        for number in state.processes:
            for move in self._moves_of(state.world, number):
                busy = True
                yield move.label, self._after(state, number, move)
        for move in self._moves_of_world(state.world):
            busy = True
            yield move.label, state._replace(world=move.world)
        yield from self._failures(state)
        if not busy:
            yield from self._idle(state)

    def _moves_of(self, world_number: int, number: int) -> tuple[Move, ...]:
        """Return what a process may do in a world: at most one thing, as programs do one after the other."""
        key = (world_number, number)
        if key not in self._moves:
            self._moves[key] = tuple(self._work_out(self._worlds.things[world_number], self._processes.things[number]))
        return self._moves[key]

    def _work_out(self, world: World, process: Process) -> Iterator[Move]:
        who = f"{process.owner}{process.try_number}"
        request = self._tasks.request(process)
        if request is not None:
            after, response = answer(world, Actor(process.owner, process.try_number, process.task), request)
            yield self._move(f"{who} {process.stage}: {request}", after, self._tasks.tell(process, response))
        elif (stage := self._wakes(world, process)) is not None:
            yield self._move(f"{who}: {stage}", world, self._tasks.start(process, stage))

    def _move(self, label: str, world: World, process: Process) -> Move:
        if process.stage == "returned":
            cluster = world.cluster(str(process.carrier))
            assert cluster is not None
            check_returned(world, process.seen, process.owner, cluster.carrier)
            world = world.with_cluster(replace(cluster, handed_over=True))
        return Move(label, self._worlds.of(world), self._processes.of(process))

    def _wakes(self, world: World, process: Process) -> str | None:
        """Return the stage that a waiting process enters now, as its trigger would find; ``None`` to wait on."""
        carrier = world.cluster(process.carrier) if process.carrier else None
        match process.stage:
            case "wait":
                action = judge(_look(world), self._tasks.arrival(process), dead_seconds=1e9, limits=LIMITS)
                return None if action is Action.WAIT else "enter"
            case "wait_free":
                lives = carrier is not None and carrier.state == "live"
                holder = world.cluster(world.at) if world.at else None
                ours = holder is not None and holder.mark == Mark(process.token, process.owner)
                return "bind" if holder is None or ours or not lives else None
            case "idle":
                return "release" if self._is_idle(carrier) else None
            case "watch":
                if carrier is None or carrier.step == "none":
                    return "done"
                return "cancel" if world.at != process.carrier and carrier.state == "live" else None
        return None

    @staticmethod
    def _is_idle(cluster: Cluster | None) -> bool:
        return cluster is None or cluster.step == "none"

    def _after(self, state: State, number: int, move: Move) -> State:
        """Replace a process; one that has ended makes room for what Airflow starts next."""
        process: Process = self._processes.things[move.process]
        left = _without(state.processes, number)
        after = state._replace(world=move.world)
        if process.stage not in _ENDED:
            return after._replace(processes=tuple(sorted((*left, move.process))))
        after = after._replace(processes=left)
        if not self._is_newest(state, process):
            return after
        if process.stage == "failed":
            return self._again(after, process.owner)
        if process.stage in {"returned", "done"}:
            return after._replace(processes=tuple(sorted((*left, *self._following(process, left)))))
        return after

    def _following(self, process: Process, left: tuple[int, ...]) -> Iterator[int]:
        """Return what follows a task, when all that ran beside it have ended, too."""
        plan = self._plans[process.owner]
        at = next(number for number, tasks in enumerate(plan) if process.task in tasks.split("+"))
        beside = any(self._processes.things[number].owner == process.owner for number in left)
        if not beside and at + 1 < len(plan):
            for task in plan[at + 1].split("+"):
                yield self._first(process.owner, process.try_number, task, process.carrier)

    def _is_newest(self, state: State, process: Process) -> bool:
        return state.tries[self._names.index(process.owner)] == process.try_number

    def _again(self, state: State, owner: str) -> State:
        """Let Airflow start the next try of a creating task, if there is one left."""
        at = self._names.index(owner)
        if state.tries[at] > self._scenario.retries:
            return state
        tries = (*state.tries[:at], state.tries[at] + 1, *state.tries[at + 1 :])
        retry = self._first(owner, tries[at], "create", None)
        return state._replace(processes=tuple(sorted((*state.processes, retry))), tries=tries)

    def _moves_of_world(self, number: int) -> tuple[Move, ...]:
        if number not in self._world_moves:
            moves = _world_moves(self._worlds.things[number])
            self._world_moves[number] = tuple(Move(label, self._worlds.of(after), -1) for label, after in moves)
        return self._world_moves[number]

    def _failures(self, state: State) -> Iterator[tuple[str, State]]:
        for at, name in enumerate(self._fault_names):
            if state.faults[at] == 0:
                continue
            spent = state._replace(faults=(*state.faults[:at], state.faults[at] - 1, *state.faults[at + 1 :]))
            for number in state.processes:
                process = self._processes.things[number]
                for label, after in getattr(self, f"_{name}")(spent, number, process):
                    yield f"{name} {process.owner}{process.try_number}{label}", after

    def _crash(self, state: State, number: int, process: Process) -> Iterator[tuple[str, State]]:
        left = state._replace(processes=_without(state.processes, number))
        if process.task != "create":
            again = self._first(process.owner, process.try_number, process.task, process.carrier)
            yield "", left._replace(processes=tuple(sorted((*left.processes, again))))
            return
        if self._is_newest(state, process) and (retried := self._again(left, process.owner)) != left:
            yield ", retried", retried
        yield ", never retried", left

    def _clear(self, state: State, number: int, process: Process) -> Iterator[tuple[str, State]]:
        """A newer try starts while the older one goes on."""
        if process.task == "create" and self._is_newest(state, process):
            after = self._again(state, process.owner)
            if after != state:
                yield "", after

    def _kill(self, state: State, number: int, process: Process) -> Iterator[tuple[str, State]]:
        if process.task == "create" and process.stage != "undo":
            undoing = self._processes.of(self._tasks.start(process, "undo"))
            yield "", self._after(state, number, Move("", state.world, undoing))

    def _lost(self, state: State, number: int, process: Process) -> Iterator[tuple[str, State]]:
        request = self._tasks.request(process)
        if not isinstance(request, (WriteRecord, Launch)):
            return
        world = self._world(state)
        effect, _ = answer(world, Actor(process.owner, process.try_number, process.task), request)
        told = self._tasks.tell(process, Unknown("lost") if isinstance(request, WriteRecord) else Unclear())
        yield f" after {request}", self._after(state, number, self._move("", effect, told))
        yield f" before {request}", self._after(state, number, self._move("", world, told))

    def _die(self, state: State, number: int, process: Process) -> Iterator[tuple[str, State]]:
        """The cluster that a process knows ends by itself."""
        world = self._world(state)
        cluster = world.cluster(process.carrier) if process.carrier else None
        if cluster is not None and cluster.state == "live":
            after = self._worlds.of(end_cluster(world, cluster.carrier))
            yield f" {cluster.carrier}", state._replace(world=after)

    def _slow(self, state: State, number: int, process: Process) -> Iterator[tuple[str, State]]:
        """Time passes although this process could go on."""
        if number == state.processes[0]:
            for _, after in self._tick(state):
                yield "", after

    def _idle(self, state: State) -> Iterator[tuple[str, State]]:
        """Nothing else can happen: EMR ends what idles and no task will end any more, or time passes."""
        world = self._world(state)
        known = {self._processes.things[number].carrier for number in state.processes}
        for cluster in world.clusters:
            forgotten = cluster.handed_over or not state.processes
            if cluster.state == "live" and forgotten and cluster.carrier not in known:
                after = self._worlds.of(end_cluster(world, cluster.carrier))
                yield f"{cluster.carrier} idles out", state._replace(world=after)
                return
        if not state.processes or not world.store_keeps_its_word:
            return  # without a store that keeps its word, nothing overlaps, but who waits may wait for ever
        if world.now >= _LAST_TICK:
            waits = [self._processes.things[number] for number in state.processes]
            raise ViolationError(f"waits for ever: {', '.join(f'{p.owner}{p.try_number} {p.stage}' for p in waits)}")
        yield from self._tick(state)

    def _tick(self, state: State) -> Iterator[tuple[str, State]]:
        world = self._world(state)
        if not any(not c.visible and world.now + 1 >= c.visible_by for c in world.clusters):
            yield "tick", state._replace(world=self._worlds.of(replace(world, now=world.now + 1)))


def _world_moves(world: World) -> Iterator[tuple[str, World]]:
    for cluster in world.clusters:
        if not cluster.visible:
            yield f"{cluster.carrier} shows", world.with_cluster(replace(cluster, visible=True))
        if cluster.state == "ending":
            yield f"{cluster.carrier} ends", end_cluster(world, cluster.carrier)
        if cluster.step != "none" and cluster.state != "ended":
            yield f"{cluster.carrier}'s step ends", world.with_cluster(replace(cluster, step="none"))


def _without(numbers: tuple[int, ...], number: int) -> tuple[int, ...]:
    at = numbers.index(number)
    return (*numbers[:at], *numbers[at + 1 :])


def _look(world: World) -> Any:
    program = look(LIMITS)
    request = next(program)
    while True:
        _, response = answer(world, Actor("", 0), request)
        try:
            request = program.send(response)
        except StopIteration as stop:
            return stop.value


def _without_end(edges: list[array[int]], ends: list[int]) -> int | None:
    """Return a state from which no end can be reached; ``None`` when there is none."""
    origins: list[list[int]] = [[] for _ in edges]
    for number, targets in enumerate(edges):
        for target in targets:
            origins[target].append(number)
    good = bytearray(len(edges))
    queue = deque(ends)
    for number in ends:
        good[number] = 1
    while queue:
        for origin in origins[queue.popleft()]:
            if not good[origin]:
                good[origin] = 1
                queue.append(origin)
    stuck = good.find(0)
    return None if stuck < 0 else stuck


def _trace(origins: list[tuple[int, str, int]], number: int) -> tuple[str, ...]:
    labels: list[str] = []
    while number > 0:
        number, label, _ = origins[number]
        labels.append(label)
    return tuple(reversed(labels))
