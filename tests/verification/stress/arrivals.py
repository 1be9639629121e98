"""Many owners arrive at once while the holder hands over, closes and releases: who gives up, who stays outside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
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
class Arrived:
    """
    What came of one run.

    :param lost: the holder's hand-over, close or release gave up.
    :param outside: owners that were told to wait and have no place in the queue.
    :param writes: of each owner that arrived, until it had its place.
    """

    lost: bool
    outside: int
    writes: tuple[int, ...]


def simulated(owners: int, *, at_a_time: int, seed: int, pauses: bool = True) -> Arrived:
    """
    Let owners arrive at a store in memory whose calls take as long as DynamoDB's.

    :param at_a_time: so many arrive at once; each that has its place makes room for the next.
    :param pauses: False is the rule of version 0.1.0.
    """
    simulation = Simulation(seed, pauses=pauses)
    outcome = {"lost": False, "outside": 0}
    left = iter(range(owners))

    def hold() -> Process:
        me = attempt(HOLDER)
        held = yield from simulation.perform(HOLDER, enter, LeaseRequest(me, "daily", 3600.0))
        assert isinstance(held, Acquired)
        for _ in range(at_a_time):
            simulation.start(arrive(), after=simulation.random.uniform(0, 0.02))
        yield 0.2  # in the middle of it
        try:
            yield from simulation.perform(HOLDER, hand_over, me, token=1, resource_id="j-1")
            yield from simulation.perform(HOLDER, start_release, "j-1")
            yield from simulation.perform(HOLDER, release, "j-1", why="released")
        except GaveUpError:
            outcome["lost"] = True

    def arrive() -> Process:
        for number in left:
            name = f"owner-{number}"
            try:
                lease_request = LeaseRequest(attempt(name), "daily", 3600.0)
                entered = yield from simulation.perform(name, enter, lease_request, limits=simulation.limits)
                outcome["outside"] += not _has_its_place(entered, name)
            except GaveUpError:
                outcome["outside"] += 1

    simulation.start(hold())
    simulation.run()
    writes = tuple(simulation.writes[f"owner-{number}"] for number in range(owners))
    return Arrived(outcome["lost"], outcome["outside"], writes)


def _has_its_place(entered: Any, name: str) -> bool:
    if isinstance(entered, Acquired):
        return True
    assert isinstance(entered, Queued), entered
    return entered.observation.seen.record.place(name) is not None


class _Counting:
    """A store whose writes are counted."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, *given: Any, **options: Any) -> Outcome:
        self.writes += 1
        outcome: Outcome = self._store.write(*given, **options)
        return outcome


def real(uri: str, client: Any, key: str, *, owners: int, at_a_time: int) -> Arrived:
    """
    Let owners arrive at a real store, each in a thread, with the pauses of a task.

    :param key: the address's record, which nobody has written yet.
    """

    def opened() -> tuple[StoreLeaseClient, _Counting]:
        known: dict[str, Any] = {"ec2": NoAws(), "emr": NoAws()}
        lease_client = StoreLeaseClient(
            uri, allocation_id=key, client_for=lambda service, _: known.get(service, client)
        )
        counting = _Counting(lease_client.store)
        lease_client.store = counting  # type: ignore[assignment]
        return lease_client, counting

    me = attempt(HOLDER)
    holder, _ = opened()
    enter(holder.world(), LeaseRequest(me, "daily", 3600.0))
    begun, many = Lock(), Event()
    started: list[int] = []

    def arrive(number: int) -> tuple[bool, int]:
        with begun:
            started.append(number)
            if len(started) >= min(owners, at_a_time):
                many.set()
        lease_client, counting = opened()
        entered = enter(lease_client.world(), LeaseRequest(attempt(f"owner-{number}"), "daily", 3600.0))
        return _has_its_place(entered, f"owner-{number}"), counting.writes

    with ThreadPoolExecutor(at_a_time) as threads:
        arrivals = [threads.submit(arrive, number) for number in range(owners)]
        many.wait()
        lost = not _given_back(holder, me)
        found = [lease_request.result() for lease_request in arrivals]
    return Arrived(lost, sum(not placed for placed, _ in found), tuple(writes for _, writes in found))


def _given_back(holder: StoreLeaseClient, me: Any) -> bool:
    """Hand over, close and release in the middle of it; return whether all three were written."""
    handed = hand_over(holder.world(), me, token=1, resource_id="i-1")
    closed = start_release(holder.world(), "i-1")
    released = release(holder.world(), "i-1", why="released")
    return bool(getattr(handed, "record", None)) and closed and released


class NoAws:
    """EC2 and EMR that have one running instance and an address that nothing carries."""

    def describe_addresses(self, **_: Any) -> dict[str, Any]:
        return {"Addresses": [{"AllocationId": "eipalloc-1", "PublicIp": "203.0.113.1"}]}

    def describe_instances(self, **_: Any) -> dict[str, Any]:
        running = {"InstanceId": "i-1", "State": {"Name": "running"}, "NetworkInterfaces": [], "Tags": []}
        return {"Reservations": [{"Instances": [running]}]}


def rows(runs: Callable[[int, int], Iterator[Arrived]], *, who: str) -> list[tuple[str, ...]]:
    """
    Return a row for each number of owners, and of those that arrive at a time.

    :param runs: lives the runs of one such size.
    :param who: the store and the rule, for people.
    """
    return [
        _row(who, owners, at_a_time, list(runs(owners, at_a_time))) for owners in (50, 200) for at_a_time in (16, 50)
    ]


def _row(who: str, owners: int, at_a_time: int, found: Sequence[Arrived]) -> tuple[str, ...]:
    writes = [count for run in found for count in run.writes]
    return (
        who,
        f"{owners}, {at_a_time} at a time",
        f"{sum(run.lost for run in found)} of {len(found)}",
        str(max(run.outside for run in found)),
        f"{sum(writes) / len(writes):.1f}",
        str(max(writes)),
    )


def are_well(found: Sequence[tuple[str, ...]]) -> bool:
    """Whether no hand-over was lost, nobody was left outside, and an owner wrote six times at most, on average."""
    return all(row[2].startswith("0 of") and row[3] == "0" and float(row[4]) <= _MOST_WRITES for row in found)


_MOST_WRITES = 6
HEADER = ("store, rule", "owners", "hand-over lost", "left outside", "writes an owner", "most")
