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
            for point in sample(list(points(outcome.boundaries, kinds)), every, begin=number)
        ]
        for future in as_completed([self._pool.submit(_live, plan, point) for plan, point in planned]):
            yield future.result()

    def one(self, plan: Plan, point: Point) -> Outcome:
        """Run one lease period that meets a fault."""
        return self._pool.submit(_live, plan, point).result()


def _live(plan: Plan, point: Point | None = None) -> Outcome:
    global _world  # noqa: PLW0603 - one a process
    if _world is None:
        from tests.verification.chaos.world import World  # noqa: PLC0415 - moto is for the worlds alone

        _world = World()
    return _world.live(plan, point)
