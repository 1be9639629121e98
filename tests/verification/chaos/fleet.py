"""Runs lease periods in parallel, with one local EMR per process."""

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
_COARSE = 30  # a sample of one in this many points is coarse

_world: World | None = None


class Fleet:
    """
    Processes that run lease periods.

    :param workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="chaos-airflow-"))
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, plans: Sequence[Plan], *, kinds: Sequence[str], every: int = 1) -> Iterator[Outcome]:
        """Yield the clean run of each plan, and then a run for every fault at each of its calls."""
        clean = list(self._pool.map(_run, plans))
        yield from clean
        planned = [
            (outcome.plan, point)
            for number, outcome in enumerate(clean)
            if not outcome.problems or outcome.plan.operators == "stock"
            for point in sample(
                list(points(outcome.boundaries, _kinds(outcome.plan, kinds, every))), every, begin=number
            )
        ]
        for future in as_completed([self._pool.submit(_run, plan, point) for plan, point in planned]):
            yield future.result()

    def run_with_fault(self, plan: Plan, point: Point) -> Outcome:
        """Run one lease period with a fault."""
        return self._pool.submit(_run, plan, point).result()


def _kinds(plan: Plan, kinds: Sequence[str], every: int) -> Sequence[str]:
    """Return the faults of a plan: in a coarse sample, a plan with a pool gets kills only, between its records."""
    return [kind for kind in kinds if kind in _KILLS] if plan.pool and every >= _COARSE else kinds


def _run(plan: Plan, point: Point | None = None) -> Outcome:
    global _world  # noqa: PLW0603 - one per process
    if _world is None:
        from tests.verification.chaos.world import World  # noqa: PLC0415 - only these processes need moto

        _world = World()
    return _world.run(plan, point)
