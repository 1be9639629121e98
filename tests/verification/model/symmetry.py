"""
Treats states that differ only in the names of interchangeable owners as one state.

This is sound, because protocol and checks only compare owners for equality, and clusters are named in the order of
their launch. So the successors of a renamed state are the renamed successors of the state. Of all renamings of a state
one is explored, and a violation in any of them is found as a violation in that one.
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
    """The numbers of the world and the processes, the newest try of each owner, and the faults that are left."""

    world: int
    processes: tuple[int, ...]
    tries: tuple[int, ...]
    faults: tuple[int, ...]


class Move(NamedTuple):
    """An event: the numbers of the world and of the process after it."""

    label: str
    world: int
    process: int


def without(numbers: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return the processes of a state without one of them."""
    at = numbers.index(number)
    return (*numbers[:at], *numbers[at + 1 :])


def with_(numbers: tuple[int, ...], *more: int) -> tuple[int, ...]:
    """Return the processes of a state and some more, in an order without meaning."""
    return tuple(sorted((*numbers, *more)))


class Numbers:
    """Gives each different object a number."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self.things: list[Any] = []

    def of(self, thing: Any) -> int:
        number = self._numbers.setdefault(thing, len(self.things))
        if number == len(self.things):
            self.things.append(thing)
        return number


class Renaming:
    """One permutation of the owners' names."""

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
        """Return the same function of the other owner, with the renamed answers."""
        if node not in self._node_of:
            twin = self._roots.of(renamed(node.key, self._names))
            for response in node.told:
                twin = twin.tell(renamed(response, self._names))
            self._node_of[node] = twin
        return self._node_of[node]


def renamed(thing: Any, names: Mapping[str, str]) -> Any:
    """Return an object with the owners renamed everywhere in it."""
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
        """Return the renaming of a state that stands for all of them."""
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
    """Yield every permutation, except the first, that maps each owner to one with the same plan."""
    for order in permutations(range(len(plans))):
        if order != tuple(range(len(plans))) and all(plans[at] == plan for at, plan in zip(order, plans, strict=True)):
            yield order
