"""Many owners arrive at once while the holder hands over and releases; counts those that give up or get no place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.protocol import Acquired, Queued, enter, hand_over, release, start_release
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from tests.verification.stress.simulation import GaveUpError, Simulation, attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_eip_provider.lease.store import Outcome
    from tests.verification.stress.simulation import Process

HOLDER = "holder"


@dataclass(frozen=True, slots=True)
class ArrivalResult:
    """
    Result of one run.

    :param lost: whether the holder gave up in its hand-over or its release.
    :param outside: number of owners without a place in the queue.
    :param writes: number of writes of each owner until it had its place.
    """

    lost: bool
    outside: int
    writes: tuple[int, ...]


def simulated(owners: int, *, at_a_time: int, seed: int, pauses: bool = True) -> ArrivalResult:
    """
    Simulate arrivals at an in-memory store whose calls take as long as DynamoDB's.

    :param at_a_time: number of owners that arrive at once; when one has its place, the next arrives.
    :param pauses: whether a writer pauses after a conflict; version 0.1.0 did not.
    """
    simulation = Simulation(seed, pauses=pauses)
    outcome = {"lost": False, "outside": 0}
    numbers = iter(range(owners))

    def hold() -> Process:
        holder = attempt(HOLDER)
        entered = yield from simulation.call(HOLDER, enter, LeaseRequest(holder, "daily", 3600.0))
        assert isinstance(entered, Acquired)
        for _ in range(at_a_time):
            simulation.start(arrive(), after=simulation.random.uniform(0, 0.02))
        yield 0.2  # so that the hand-over comes while the others arrive
        try:
            yield from simulation.call(HOLDER, hand_over, holder, token=1, resource_id="j-1")
            yield from simulation.call(HOLDER, start_release, "j-1")
            yield from simulation.call(HOLDER, release, "j-1", why="released")
        except GaveUpError:
            outcome["lost"] = True

    def arrive() -> Process:
        for number in numbers:
            name = f"owner-{number}"
            try:
                lease_request = LeaseRequest(attempt(name), "daily", 3600.0)
                entered = yield from simulation.call(name, enter, lease_request, limits=simulation.limits)
                outcome["outside"] += not _has_place(entered, name)
            except GaveUpError:
                outcome["outside"] += 1

    simulation.start(hold())
    simulation.run()
    writes = tuple(simulation.writes[f"owner-{number}"] for number in range(owners))
    return ArrivalResult(outcome["lost"], outcome["outside"], writes)


def _has_place(entered: Any, name: str) -> bool:
    if isinstance(entered, Acquired):
        return True
    assert isinstance(entered, Queued), entered
    return entered.observation.snapshot.record.place(name) is not None


class _WriteCounter:
    """Counts the writes of a store."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, *arguments: Any, **options: Any) -> Outcome:
        self.writes += 1
        outcome: Outcome = self._store.write(*arguments, **options)
        return outcome


def real(uri: str, client: Any, key: str, *, owners: int, at_a_time: int) -> ArrivalResult:
    """
    Let owners arrive at a real store, each in a thread, with the pauses that a task makes.

    :param key: key of the address's record, which must not exist yet.
    """

    def opened() -> tuple[StoreLeaseClient, _WriteCounter]:
        stubs: dict[str, Any] = {"ec2": StubAws(), "emr": StubAws()}
        client_for = lambda service, _: stubs.get(service, client)  # noqa: E731
        lease_client = StoreLeaseClient(uri, allocation_id=key, client_for=client_for)
        counting = _WriteCounter(lease_client.store)
        lease_client.store = counting  # type: ignore[assignment]
        return lease_client, counting

    holding = attempt(HOLDER)
    holder, _ = opened()
    enter(holder.world(), LeaseRequest(holding, "daily", 3600.0))
    all_arriving = Barrier(min(owners, at_a_time) + 1)  # the first arrivals, and this thread

    def arrive(number: int) -> tuple[bool, int]:
        if number < min(owners, at_a_time):
            all_arriving.wait()
        lease_client, counting = opened()
        entered = enter(lease_client.world(), LeaseRequest(attempt(f"owner-{number}"), "daily", 3600.0))
        return _has_place(entered, f"owner-{number}"), counting.writes

    with ThreadPoolExecutor(at_a_time) as threads:
        arrivals = [threads.submit(arrive, number) for number in range(owners)]
        all_arriving.wait()
        lost = not _hand_over_and_release(holder, holding)
        results = [arrival.result() for arrival in arrivals]
    return ArrivalResult(lost, sum(not placed for placed, _ in results), tuple(writes for _, writes in results))


def _hand_over_and_release(holder: StoreLeaseClient, holding: Any) -> bool:
    """
    Hand over and release while others arrive; return whether that succeeded.

    Once the release has begun, another owner may end the lease first.
    """
    handed = hand_over(holder.world(), holding, token=1, resource_id="i-1")
    closed = start_release(holder.world(), "i-1")
    release(holder.world(), "i-1", why="released")
    has_ended = any(ended.resource_id == "i-1" for ended in holder.read().record.history)
    return bool(getattr(handed, "record", None)) and closed and has_ended


class StubAws:
    """Stub of EC2 and EMR with one running instance, and an address that is not associated."""

    def describe_addresses(self, **_: Any) -> dict[str, Any]:
        return {"Addresses": [{"AllocationId": "eipalloc-1", "PublicIp": "203.0.113.1"}]}

    def describe_instances(self, **_: Any) -> dict[str, Any]:
        running = {"InstanceId": "i-1", "State": {"Name": "running"}, "NetworkInterfaces": [], "Tags": []}
        return {"Reservations": [{"Instances": [running]}]}


def rows(runs: Callable[[int, int], Iterator[ArrivalResult]], *, who: str) -> list[tuple[str, ...]]:
    """
    Return a row for each number of owners and each number that arrives at a time.

    :param runs: yields the results of one such size.
    :param who: the store and the rule, as shown in the table.
    """
    return [
        _row(who, owners, at_a_time, list(runs(owners, at_a_time))) for owners in (50, 200) for at_a_time in (16, 50)
    ]


def _row(who: str, owners: int, at_a_time: int, found: Sequence[ArrivalResult]) -> tuple[str, ...]:
    writes = [count for run in found for count in run.writes]
    return (
        who,
        f"{owners}, {at_a_time} at a time",
        f"{sum(run.lost for run in found)} of {len(found)}",
        str(max(run.outside for run in found)),
        f"{sum(writes) / len(writes):.1f}",
        str(max(writes)),
    )


def are_good(found: Sequence[tuple[str, ...]]) -> bool:
    """Whether no hand-over was lost, every owner got a place, and an owner wrote at most six times on average."""
    return all(row[2].startswith("0 of") and row[3] == "0" and float(row[4]) <= _MOST_WRITES for row in found)


_MOST_WRITES = 6
HEADER = ("store, rule", "owners", "hand-over lost", "without a place", "writes an owner", "most")
