"""Owners queue for one address while Airflow takes minutes to resume each of them: who is passed over, how often."""

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
class Served:
    """
    What came of one run.

    :param order: the owners, by number in the order of arrival, as they had the address.
    :param passed: how often each of them was passed over: somebody that arrived later had the address first.
    """

    order: tuple[int, ...]
    passed: tuple[int, ...]

    @property
    def latest(self) -> int:
        """By how many places the one that was served latest was behind its order of arrival."""
        return max(place - number for place, number in enumerate(self.order))


def served(owners: int, *, seed: int, limits: Limits, slowest_seconds: float = 300.0) -> Served:
    """
    Let owners queue, each a deferred task whose trigger looks every 15 s.

    :param slowest_seconds: a task goes on at a random moment up to this after its trigger has fired.
    """
    simulation = Simulation(seed, limits=limits)
    order: list[int] = []
    passed = [0] * owners

    def work(number: int) -> Process:
        name = f"owner-{number}"
        me = LeaseRequest(attempt(name), "daily", 3600.0)
        while True:
            entered = yield from simulation.perform(name, enter, me, limits=limits)
            if isinstance(entered, Acquired):
                break
            while _waits(simulation, me):
                yield POLL_SECONDS
            yield simulation.random.uniform(0, slowest_seconds)
        for other in range(number):
            passed[other] += other not in order
        order.append(number)
        lease = simulation.record.lease
        assert lease is not None
        yield from simulation.perform(name, hand_over, me.attempt, token=lease.token, resource_id=f"j-{number}")
        yield _WORK_SECONDS
        yield from simulation.perform(name, start_release, f"j-{number}")
        yield from simulation.perform(name, release, f"j-{number}", why="released")

    for number in range(owners):
        simulation.start(work(number), after=number * _ARRIVAL_SECONDS)
    simulation.run()
    return Served(tuple(order), tuple(passed))


def _waits(simulation: Simulation, lease_request: LeaseRequest) -> bool:
    """Whether a trigger that looks now goes on waiting."""
    seen = simulation.seen()
    lease = seen.record.lease
    resources = (Resource(lease.resource_id, "live"),) if lease and lease.resource_id else ()
    return (
        decide(
            Observation(seen, location=AddressLocation(), resources=resources), lease_request, limits=simulation.limits
        )
        is Action.WAIT
    )


def rows(*, owners: int = 20, runs: int = 20) -> list[tuple[str, ...]]:
    """Return a row for the old rule and for today's."""
    rules: dict[str, Any] = {"0.1.0: 60 s, one turn": OLD_LIMITS, "today: 120 s, keeps its place": NEW_LIMITS}
    found = []
    for rule, limits in rules.items():
        every = [served(owners, seed=seed, limits=limits) for seed in range(runs)]
        in_order = sum(run.order == tuple(range(owners)) for run in every)
        once = sum(sum(count > 0 for count in run.passed) for run in every) / runs
        most = max(max(run.passed) for run in every)
        latest = max(run.latest for run in every)
        found.append((rule, f"{in_order} of {runs}", f"{once:.1f} of {owners}", str(most), str(latest)))
    return found


def is_well(row: tuple[str, ...]) -> bool:
    """Whether nobody was passed over more often than a window of 480 s, the third, allows."""
    return int(row[3]) <= _MOST_PASSES


# A task is resumed at most 300 s after a look at most 15 s after its turn: within 120 s x 2^2.
_MOST_PASSES = 2
HEADER = ("rule", "all in order", "passed over at all", "most often", "most places late")
