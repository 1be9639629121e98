"""Explores every interleaving of processes, faults and time, breadth first, or follows random ones to the end."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.verification.model.moves import Moves
from tests.verification.model.symmetry import Symmetry
from tests.verification.model.world import ViolationError

if TYPE_CHECKING:
    from random import Random

    from tests.verification.model.moves import Scenario
    from tests.verification.model.symmetry import State


@dataclass(slots=True)
class Report:
    """
    The result of an exploration.

    :param states: the number of states, without those that differ only in the names of interchangeable owners.
    :param depth: the largest distance of a state from the start; if truncated, the depth that was explored completely.
    :param ends: the number of states in which every task has ended.
    """

    states: int = 0
    depth: int = 0
    ends: int = 0
    truncated: bool = False
    violation: str | None = None
    trace: tuple[str, ...] = ()


class Graph:
    """
    The explored states, by number.

    :param origins: for each state, the one from which it was reached first.
    :param calm: the states to which the moves of each state lead that are not faults, in one array; ``shares`` has the
        end of each state's part.
    """

    def __init__(self, first: State) -> None:
        self.states = [first]
        self.origins = array("q", [-1])
        self.calm, self.shares = array("q"), array("q")

    def way_to(self, number: int) -> list[State]:
        """Return the states from the first to a given one."""
        way = []
        while number >= 0:
            way.append(self.states[number])
            number = self.origins[number]
        return way[::-1]

    def without_end(self, ends: list[int]) -> int | None:
        """Return the last state from which no end can be reached without a fault; ``None`` if there is none."""
        before: list[list[int]] = [[] for _ in self.states]
        start = 0
        for number, stop in enumerate(self.shares):
            for target in self.calm[start:stop]:
                before[target].append(number)
            start = stop
        good = bytearray(len(self.states))
        pending = list(ends)
        for number in ends:
            good[number] = 1
        while pending:
            for origin in before[pending.pop()]:
                if not good[origin]:
                    good[origin] = 1
                    pending.append(origin)
        stuck = good.rfind(0)
        return None if stuck < 0 else stuck


class Explorer:
    """One scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._moves = Moves(scenario)
        self._symmetry = Symmetry(
            self._moves.kinds, (self._moves.worlds, self._moves.processes, self._moves.tasks.roots)
        )

    def explore(self, *, most_states: int) -> Report:
        """Explore until every state was visited, an invariant broke, or there are too many states."""
        report = Report()
        canonical, moves = self._symmetry.canonical, self._moves
        first = canonical(moves.start())
        index = {first: 0}
        graph, ends = Graph(first), list[int]()
        states, origins, calm = graph.states, graph.origins, graph.calm
        number, level_ends = 0, 1
        try:
            while number < len(states) < most_states:
                if number == level_ends:
                    report.depth += 1
                    level_ends = len(states)
                state = states[number]
                for _, after in moves.successors(state):
                    after = canonical(after)  # noqa: PLW2901 - its canonical renaming
                    target = index.setdefault(after, len(states))
                    if target == len(states):
                        states.append(after)
                        origins.append(number)
                        moves.check(after)
                    if after.faults == state.faults:
                        calm.append(target)
                graph.shares.append(len(calm))
                if moves.is_end(state):
                    ends.append(number)
                number += 1
        except ViolationError as error:
            report.violation, report.trace = self._explain(graph.way_to(number), error)
        report.states, report.ends = len(states), len(ends)
        report.truncated = report.violation is None and number < len(states)
        if report.violation is None and not report.truncated and self._scenario.start.store_keeps_its_word:
            stuck = graph.without_end(ends)
            if stuck is not None:
                report.violation, report.trace = self._explain(
                    graph.way_to(stuck), ViolationError("does not reach an end")
                )
        return report

    def walk(self, random: Random, *, most_steps: int = 5000) -> Report:
        """Follow one random interleaving to its end."""
        state, report, labels = self._moves.start(), Report(), []
        try:
            for _ in range(most_steps):
                ways = list(self._moves.successors(state))
                if not ways:
                    report.ends = 1
                    if not self._moves.is_end(state):
                        report.violation = "stops before its end"
                    break
                label, state = random.choice(ways)
                labels.append(label)
                self._moves.check(state)
                report.depth += 1
            else:
                report.violation = "does not reach an end"
        except ViolationError as error:
            report.violation = str(error)
            labels += [error.label] * bool(error.label)
        report.trace = tuple(labels)
        return report

    def _explain(self, way: list[State], error: ViolationError) -> tuple[str, tuple[str, ...]]:
        """Return a violation with the labels of the way to it, with consistent names of owners."""
        state, labels = self._moves.start(), []
        for target in way[1:]:
            label, state = next(
                (label, after)
                for label, after in self._moves.successors(state)
                if self._symmetry.canonical(after) == target
            )
            labels.append(label)
        try:
            for label, after in self._moves.successors(state):  # noqa: B007 - used when the check fails
                self._moves.check(after)
        except ViolationError as again:
            return str(again), (*labels, again.label or label)
        return str(error), tuple(labels)
