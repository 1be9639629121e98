"""
Owners that are alike: states that differ in their names only are one state.

Sound, because nothing depends on a name but whether two are the same: protocol and checks compare owners for equality
and never order them, clusters are named in the order of their launch, and what happens next to the renamed state is
what happens next to the other, renamed. So of all the renamings of a state one is explored, and a violation in any of
them is found as a violation in that one.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.verification.model.processes import Node, Process, Roots

_TRIES = range(1, 10)


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


def without(numbers: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return a state's processes without one of them."""
    at = numbers.index(number)
    return (*numbers[:at], *numbers[at + 1 :])


def with_(numbers: tuple[int, ...], *more: int) -> tuple[int, ...]:
    """Return a state's processes and some more; their order means nothing."""
    return tuple(sorted((*numbers, *more)))


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


class Renaming:
    """One way to give the owners each other's names."""

    def __init__(self, order: tuple[int, ...], names: tuple[str, ...], numbers: tuple[Numbers, Numbers, Roots]) -> None:
        self.order = order
        self._names: dict[str, str] = {}
        for at, old in enumerate(names):
            new = names[order.index(at)]
            self._names |= {old: new} | {f"{old}{number}": f"{new}{number}" for number in _TRIES}
        self._worlds, self._processes, self._roots = numbers
        self._world_of: dict[int, int] = {}
        self._process_of: dict[int, int] = {}
        self._node_of: dict[Node, Node] = {}

    def world(self, number: int) -> int:
        if number not in self._world_of:
            self._world_of[number] = self._worlds.of(renamed(self._worlds.things[number], self._names))
        return self._world_of[number]

    def process(self, number: int) -> int:
        if number not in self._process_of:
            self._process_of[number] = self._processes.of(self._renamed_process(self._processes.things[number]))
        return self._process_of[number]

    def _renamed_process(self, process: Process) -> Process:
        values = {
            field.name: renamed(getattr(process, field.name), self._names)
            for field in fields(process)
            if field.name != "node"
        }
        return type(process)(**values, node=None if process.node is None else self._node(process.node))

    def _node(self, node: Node) -> Node:
        """Return the same function of the other owner, told the same of the others."""
        if node not in self._node_of:
            twin = self._roots.of(renamed(node.key, self._names))
            for response in node.told:
                twin = twin.tell(renamed(response, self._names))
            self._node_of[node] = twin
        return self._node_of[node]


def renamed(thing: Any, names: Mapping[str, str]) -> Any:
    """Return a thing with other owners' names in it, however deep."""
    if isinstance(thing, str):
        return names.get(thing, thing)
    if isinstance(thing, tuple):
        return tuple(renamed(part, names) for part in thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        stored = [field.name for field in fields(thing) if field.init]
        return type(thing)(**{name: renamed(getattr(thing, name), names) for name in stored})
    return thing


class Symmetry:
    """The renamings of the owners that have the same plan."""

    def __init__(self, plans: Mapping[str, Any], numbers: tuple[Numbers, Numbers, Roots]) -> None:
        names = tuple(plans)
        self._renamings = [Renaming(order, names, numbers) for order in _orders([plans[name] for name in names])]

    def canonical(self, state: State) -> State:
        """Return the one of a state's renamings that stands for them all."""
        least = state
        for renaming in self._renamings:
            world = renaming.world(state.world)
            if world > least.world:
                continue
            processes = tuple(sorted([renaming.process(number) for number in state.processes]))
            tries = tuple([state.tries[at] for at in renaming.order])
            least = min(least, State(world, processes, tries, state.faults))
        return least


def _orders(plans: list[Any]) -> Iterator[tuple[int, ...]]:
    """Yield every order but the first in which each owner has the plan of the one whose place it takes."""
    for order in permutations(range(len(plans))):
        if order != tuple(range(len(plans))) and all(plans[at] == plan for at, plan in zip(order, plans, strict=True)):
            yield order
