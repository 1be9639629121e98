"""Worlds side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, Self

from tests.verification.chaos.faults import Point, points, sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.verification.chaos.plans import Plan
    from tests.verification.chaos.world import Outcome, World

_KILLS = frozenset({"killed before", "killed after"})
_COARSE = 30  # points of which a sample takes one

_world: World | None = None


class Fleet:
    """
    Processes that run lease periods.

    :param workers: how many.
    """

    def __init__(self, workers: int) -> None:
        os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="chaos-airflow-"))
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def live(self, plans: Sequence[Plan], *, kinds: Sequence[str], every: int = 1) -> Iterator[Outcome]:
        """Yield the clean run of each plan, and then a run for every fault at each of its calls."""
        clean = list(self._pool.map(_live, plans))
        yield from clean
        planned = [
            (outcome.plan, point)
            for number, outcome in enumerate(clean)
            if not outcome.problems or outcome.plan.operators == "stock"
            for point in sample(
                list(points(outcome.boundaries, _kinds(outcome.plan, kinds, every))), every, begin=number
            )
        ]
        for future in as_completed([self._pool.submit(_live, plan, point) for plan, point in planned]):
            yield future.result()

    def one(self, plan: Plan, point: Point) -> Outcome:
        """Run one lease period that meets a fault."""
        return self._pool.submit(_live, plan, point).result()


def _kinds(plan: Plan, kinds: Sequence[str], every: int) -> Sequence[str]:
    """Return the faults of a plan: in a coarse sample those of a pool are kills, between its several records."""
    return [kind for kind in kinds if kind in _KILLS] if plan.pool and every >= _COARSE else kinds


def _live(plan: Plan, point: Point | None = None) -> Outcome:
    global _world  # noqa: PLW0603 - one a process
    if _world is None:
        from tests.verification.chaos.world import World  # noqa: PLC0415 - moto is for the worlds alone

        _world = World()
    return _world.live(plan, point)
