"""Owners queue for one address while Airflow takes minutes to resume each task; counts how often one is overtaken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.observation import Action, LeaseRequest, Observation, decide
from airflow_eip_provider.lease.protocol import Acquired, enter, hand_over, release, start_release
from airflow_eip_provider.lease.world import AddressLocation, Resource
from tests.verification.stress.simulation import NEW_LIMITS, OLD_LIMITS, Simulation, attempt

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Limits
    from tests.verification.stress.simulation import Process

POLL_SECONDS = 15.0
_WORK_SECONDS = 1200.0
_ARRIVAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ServingResult:
    """
    Result of one run.

    :param order: the owners in the order in which they had the address; they are numbered in the order of arrival.
    :param passed: how often each owner was passed over, which means that a later arrival had the address first.
    """

    order: tuple[int, ...]
    passed: tuple[int, ...]

    @property
    def latest(self) -> int:
        """The greatest number of places by which an owner was served later than it arrived."""
        return max(place - number for place, number in enumerate(self.order))


def simulate(owners: int, *, seed: int, limits: Limits, slowest_seconds: float = 300.0) -> ServingResult:
    """
    Simulate owners in a queue, each a deferred task whose trigger polls every 15 s.

    :param slowest_seconds: the longest time after which a task is resumed when its trigger has fired.
    """
    simulation = Simulation(seed, limits=limits)
    order: list[int] = []
    passed = [0] * owners

    def work(number: int) -> Process:
        name = f"owner-{number}"
        request = LeaseRequest(attempt(name), "daily", 3600.0)
        while True:
            entered = yield from simulation.call(name, enter, request, limits=limits)
            if isinstance(entered, Acquired):
                break
            while _trigger_waits(simulation, request):
                yield POLL_SECONDS
            yield simulation.random.uniform(0, slowest_seconds)
        for other in range(number):
            passed[other] += other not in order
        order.append(number)
        lease = simulation.record.lease
        assert lease is not None
        yield from simulation.call(name, hand_over, request.attempt, token=lease.token, resource_id=f"j-{number}")
        yield _WORK_SECONDS
        yield from simulation.call(name, start_release, f"j-{number}")
        yield from simulation.call(name, release, f"j-{number}", why="released")

    for number in range(owners):
        simulation.start(work(number), after=number * _ARRIVAL_SECONDS)
    simulation.run()
    return ServingResult(tuple(order), tuple(passed))


def _trigger_waits(simulation: Simulation, lease_request: LeaseRequest) -> bool:
    """Whether a trigger that polls now continues to wait."""
    seen = simulation.seen()
    lease = seen.record.lease
    resources = (Resource(lease.resource_id, "live"),) if lease and lease.resource_id else ()
    observation = Observation(seen, location=AddressLocation(), resources=resources)
    return decide(observation, lease_request, limits=simulation.limits) is Action.WAIT


def rows(*, owners: int = 20, runs: int = 20) -> list[tuple[str, ...]]:
    """Return a row for the rule of version 0.1.0 and one for the current rule."""
    rules: dict[str, Any] = {"0.1.0: 60 s, one turn": OLD_LIMITS, "today: 120 s, keeps its place": NEW_LIMITS}
    table_rows = []
    for rule, limits in rules.items():
        results = [simulate(owners, seed=seed, limits=limits) for seed in range(runs)]
        in_order = sum(run.order == tuple(range(owners)) for run in results)
        once = sum(sum(count > 0 for count in run.passed) for run in results) / runs
        most = max(max(run.passed) for run in results)
        latest = max(run.latest for run in results)
        table_rows.append((rule, f"{in_order} of {runs}", f"{once:.1f} of {owners}", str(most), str(latest)))
    return table_rows


def is_good(row: tuple[str, ...]) -> bool:
    """Whether no owner was passed over more often than the windows allow."""
    return int(row[3]) <= _MOST_PASSES


# A trigger polls at most 15 s after the turn begins, and the task is resumed at most 300 s later. That is within the
# third window, which is 120 s x 2^2 = 480 s.
_MOST_PASSES = 2
HEADER = ("rule", "all in order", "passed over at all", "most often", "most places late")
