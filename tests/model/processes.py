"""
The tasks of the model: what each operator does, as stages; every stage is one of the lock's programs or one request.

A process is one try at work. Its local state is a node in a tree of what its program was told: programs are
generators, which cannot be copied, so a node keeps what its program asks next, found by telling it everything again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lock import programs
from airflow_eip_provider.lock.model import Speaker
from airflow_eip_provider.lock.requests import Mark, Terminate, Unclear
from airflow_eip_provider.lock.sight import Arrival
from airflow_eip_provider.lock.store import Seen
from tests.model.world import HANDOVER_TICKS, LIMITS, AddStep, Associate, CancelStep

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Node:
    """
    :param asks: the next request; ``None`` when the program has ended.
    :param result: what it returned.
    """

    make: Callable[[], Any]
    told: tuple[Any, ...]
    asks: Any = None
    result: Any = None
    children: dict[Any, Node] = field(default_factory=dict)

    def tell(self, response: Any) -> Node:
        child = self.children.get(response)
        if child is None:
            child = _node(self.make, (*self.told, response))
            self.children[response] = child
        return child


def _node(make: Callable[[], Any], told: tuple[Any, ...]) -> Node:
    node = Node(make, told)
    program = make()
    try:
        request = next(program)
        for response in told:
            request = program.send(response)
        node.asks = request
    except StopIteration as stop:
        node.result = stop.value
    return node


class Roots:
    """The programs' first nodes, one for each program and parameters; processes share them."""

    def __init__(self) -> None:
        self._roots: dict[Any, Node] = {}

    def of(self, key: Any, make: Callable[[], Any]) -> Node:
        if key not in self._roots:
            self._roots[key] = _node(make, ())
        return self._roots[key]


@dataclass(frozen=True, slots=True)
class Process:
    """
    :param task: "create", "steps", "release" or "terminate".
    :param stage: where in its task; see :class:`Tasks`.
    :param node: what its program has been told; ``None`` in a stage without program.
    :param carrier: the cluster that it knows.
    :param seen: the record as it knows it.
    """

    owner: str
    try_number: int
    task: str
    stage: str
    node: Node | None = None
    carrier: str | None = None
    seen: Seen | None = None
    token: int = 0

    def __hash__(self) -> int:
        return hash((self.owner, self.try_number, self.stage, id(self.node), self.carrier, self.token))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Process) and self._key == other._key

    @property
    def _key(self) -> tuple[Any, ...]:
        return (self.owner, self.try_number, self.task, self.stage, id(self.node), self.carrier, self.seen, self.token)

    @property
    def speaker(self) -> Speaker:
        return Speaker(self.owner, self.owner, self.try_number, f"{self.owner}{self.try_number}")


class Tasks:
    """
    Which stage follows which.

    create: enter → (wait → enter)* → launch → bind → (relocate → wait_free → bind)* → hand_over → returned;
        any failure → undo → failed
    steps: guard → add → watch → (cancel →) done
    release: close → idle → release → done
    terminate: end → idle → release → done
    """

    def __init__(self, *, prewarm: int) -> None:
        self.prewarm = prewarm
        self.roots = Roots()

    def arrival(self, process: Process) -> Arrival:
        return Arrival(process.speaker, "cluster", HANDOVER_TICKS, self.prewarm)

    def start(self, process: Process, stage: str) -> Process:
        """Enter a stage."""
        node: Node | None = None
        speaker, carrier = process.speaker, process.carrier
        match stage:
            case "enter":
                arrival = self.arrival(process)
                make = lambda: programs.enter(arrival, dead_seconds=1e9, limits=LIMITS)  # noqa: E731
                node = self.roots.of(("enter", arrival), make)
            case "launch":
                seen = process.seen
                assert seen is not None
                make = lambda: programs.launch(seen, speaker, LIMITS)  # noqa: E731
                node = self.roots.of(("launch", seen, speaker), make)
            case "hand_over":
                seen, token = process.seen, process.token
                assert seen is not None
                assert carrier is not None
                make = lambda: programs.hand_over(seen, speaker, token=token, carrier=carrier, limits=LIMITS)  # noqa: E731
                node = self.roots.of(("hand_over", seen, speaker, carrier), make)
            case "undo":
                token = process.token
                make = lambda: programs.undo(speaker, launched=carrier, token=token, limits=LIMITS)  # noqa: E731
                node = self.roots.of(("undo", speaker, carrier, token), make)
            case "relocate":
                mark = Mark(process.token, process.owner)
                make = lambda: programs.relocate(mark, carrier=str(carrier))  # noqa: E731
                node = self.roots.of(("relocate", mark, carrier), make)
            case "guard":
                node = self.roots.of(("guard", carrier), lambda: programs.guard(str(carrier)))
            case "close":
                node = self.roots.of(("close", carrier), lambda: programs.close(str(carrier), LIMITS))
            case "release":
                make = lambda: programs.release(str(carrier), why="released", limits=LIMITS)  # noqa: E731
                node = self.roots.of(("release", carrier), make)
        process = replace(process, stage=stage, node=node)
        return process if node is None or node.asks is not None else self._ended(process, node.result)

    def request(self, process: Process) -> Any:
        """Return what the process asks next; ``None`` when it waits or has ended."""
        if process.node is not None:
            return process.node.asks
        match process.stage:
            case "bind":
                return Associate(str(process.carrier))
            case "add":
                return AddStep(str(process.carrier))
            case "cancel":
                return CancelStep(str(process.carrier))
            case "end":
                return Terminate(str(process.carrier))
        return None

    def tell(self, process: Process, response: Any) -> Process:
        """Return the process after an answer, in its next stage if its program has ended."""
        if process.node is None:
            return self._answered(process, response)
        node = process.node.tell(response)
        process = replace(process, node=node)
        return process if node.asks is not None else self._ended(process, node.result)

    def _answered(self, process: Process, response: Any) -> Process:
        return self.start(process, _AFTER_REQUEST[process.stage, response])

    def _ended(self, process: Process, result: Any) -> Process:
        stage = _AFTER_PROGRAM[process.stage, type(result)]
        if isinstance(result, programs.Held):
            lease = result.seen.record.lease
            assert lease is not None
            process = replace(process, seen=result.seen, token=lease.token)
        elif isinstance(result, Seen):
            process = replace(process, seen=result)
        elif process.stage == "launch" and isinstance(result, str):
            process = replace(process, carrier=result)
        elif process.stage == "relocate" and result != process.carrier:
            process, stage = replace(process, carrier=result), "bind"
        return self.start(process, stage)


_AFTER_REQUEST = {
    ("bind", "bound"): "hand_over",
    ("bind", "busy"): "relocate",
    ("bind", "gone"): "undo",
    ("add", "accepted"): "watch",
    ("add", "refused"): "done",
    ("cancel", None): "done",
    ("end", None): "idle",
}
_AFTER_PROGRAM = {
    ("enter", programs.Held): "launch",
    ("enter", programs.Waiting): "wait",
    ("enter", programs.Yielded): "gone",
    ("launch", str): "bind",
    ("launch", programs.Lost): "undo",
    ("launch", Unclear): "undo",
    ("relocate", str): "wait_free",
    ("hand_over", Seen): "returned",
    ("hand_over", programs.Lost): "undo",
    ("undo", type(None)): "failed",
    ("guard", type(None)): "add",
    ("guard", str): "done",
    ("close", bool): "idle",
    ("release", bool): "done",
}
