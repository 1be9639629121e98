"""Waits in a queue: they share a poller, and each has its own verdict."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import CredentialsExpiredError, LockStoreUnavailableError
from airflow_eip_provider.lease.observation import ESTIMATED, Observation
from airflow_eip_provider.lease.record import LIMITS, Attempt, EndedLease, Entry, Lease, Phase, Record
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.world import AddressLocation, Resource
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.triggers import poller, watch
from airflow_eip_provider.triggers.connection import AwsConnection
from airflow_eip_provider.triggers.lock import EipLeaseTrigger
from airflow_eip_provider.triggers.observed import Observed
from airflow_eip_provider.triggers.poller import Poller
from harness.life import events_of, first_event
from harness.polling import passing
from harness.simulated_clock import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITERS = 200
NOW = 1_800_000_000.0
GENEROUS_SECONDS = 60


def attempt(number: int) -> Attempt:
    return Attempt(f"owner-{number}", f"test/dag-{number}/run/create/-1", 1, f"nonce-{number}")


def trigger(number: int, **parameters: Any) -> EipLeaseTrigger:
    return EipLeaseTrigger(
        **{
            "allocation_id": "eipalloc-1",
            "lock_store": "dynamodb://leases",
            "speaker": asdict(attempt(number)),
            "cluster_name": "daily",
            "handover_seconds": 3600,
            "waiter_delay": 15,
            "deadline": NOW + 3600,
            "aws_conn_id": None,
            **parameters,
        }
    )


def lease(**fields: Any) -> Lease:
    given = {
        "token": 1,
        "attempt": attempt(999),
        "phase": Phase.ACTIVE,
        "acquired_at": NOW - 60,
        "written_at": NOW - 60,
        "handover_by": NOW + 3600,
        "cluster_name": "daily",
        "resource_id": "j-1",
        **fields,
    }
    return Lease(**given)


def observation(
    *, holder: Lease | None, waiting: int, now: float = NOW, state: str = "live", free_since: float = 0
) -> Observation:
    queue = tuple(Entry(number + 2, attempt(number), NOW, "daily", 3600) for number in range(waiting))
    record = Record(issued=waiting + 1, lease=holder, queue=queue, free_since=free_since)
    resources = (Resource("j-1", state),) if holder else ()
    return Observation(Snapshot(record, "v", now), location=AddressLocation(), resources=resources)


def test_a_trigger_is_serialized_and_rebuilt(monkeypatch):
    path, kwargs = trigger(1).serialize()
    again = EipLeaseTrigger(**json.loads(json.dumps(kwargs)))
    assert path == "airflow_eip_provider.triggers.lock.EipLeaseTrigger"
    assert again.serialize() == (path, kwargs)


def test_the_poll_interval_is_never_below_fifteen_seconds():
    assert trigger(1, waiter_delay=1).waiter_delay == 15
    assert trigger(1, waiter_delay=40).waiter_delay == 40


def test_while_the_lease_is_active_all_wait_and_see_their_place_and_the_holder():
    verdict = trigger(3).judge_observation(observation(holder=lease(), waiting=5))
    assert verdict.status == "pending"
    assert (
        "place 4 of 5 in the queue; held by 'test/dag-999/run/create/-1' on j-1 since 2027-01-15 07:59:00Z"
        in verdict.message
    )


@pytest.mark.parametrize(
    ("age", "state", "action"),
    [(LIMITS.surface - 1, None, "wait"), (LIMITS.surface, None, "evict"), (0, "ended", "evict")],
)
def test_a_cluster_that_emr_does_not_know_has_ended_only_when_it_can_no_longer_be_new(age, state, action):
    holder = lease(written_at=NOW - age)
    observed = observation(holder=holder, waiting=1, state="ended")
    observed = replace(observed, resources=(Resource("j-1", "ended", is_known=state is not None),))
    assert trigger(0).judge_observation(observed).data.get("action") == action


def test_the_estimate_asks_again_for_the_cluster_of_a_lease_that_emr_did_not_know():
    snapshot = observation(holder=lease(), waiting=1).snapshot
    past = EndedLease(0, attempt(0).name, "j-0", NOW - 900, NOW - 600, "released")
    snapshot = replace(snapshot, record=replace(snapshot.record, history=(past,)))
    asked: list[str] = []
    waiting = trigger(0, prewarm=ESTIMATED)
    for _ in range(2):
        waiting.places(SimpleNamespace(cluster=asked.append), [snapshot])
    assert sorted(asked) == ["j-0", "j-1", "j-1"]


def test_a_finished_lease_is_ended_by_the_first_waiter_and_one_grace_later_by_each_next():
    grace = 60
    first, third = trigger(0), trigger(2)
    dead = observation(holder=lease(), waiting=3, state="ended")
    assert first.judge_observation(dead).data["action"] == "evict"
    assert third.judge_observation(dead).status == "pending"
    later = observation(holder=lease(), waiting=3, state="ended", now=NOW + 2 * grace - 1)
    assert third.judge_observation(later).status == "pending"
    due = third.judge_observation(observation(holder=lease(), waiting=3, state="ended", now=NOW + 2 * grace))
    assert (due.data["action"], due.data["dead_seconds"]) == ("evict", 2 * grace)


def test_a_new_lease_restarts_the_grace():
    third = trigger(2)
    third.judge_observation(observation(holder=lease(), waiting=3, state="ended"))
    third.judge_observation(observation(holder=lease(token=9), waiting=3, state="ended", now=NOW + 500))
    assert (
        third.judge_observation(observation(holder=lease(token=9), waiting=3, state="ended", now=NOW + 510)).status
        == "pending"
    )


def test_a_free_address_is_acquired_in_the_order_of_the_queue():
    waits = [trigger(number) for number in range(3)]
    free = observation(holder=None, waiting=3, free_since=NOW)
    assert [wait.judge_observation(free).status for wait in waits] == ["done", "pending", "pending"]
    later = observation(holder=None, waiting=3, free_since=NOW - 60)
    assert [wait.judge_observation(later).status for wait in waits] == ["done", "done", "pending"]


def test_an_owner_that_is_no_longer_in_the_queue_is_woken():
    assert trigger(7).judge_observation(observation(holder=lease(), waiting=3)).data["action"] == "queue"


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A clock that the poller's pauses advance, and reads with planned results."""
    made = SimpleNamespace(
        now=NOW,
        looks=0,
        connections=0,
        open=0,
        unconnected=[],
        found=[],
        seen=lambda: observation(holder=lease(), waiting=WAITERS),
    )

    def read_observation(observed: Observed, *_: Any) -> Observation:
        for service in ("ec2", "emr", "dynamodb"):
            observed.client(service)
        made.looks += 1
        found = made.found.pop(0) if made.found else made.seen()
        if isinstance(found, Exception):
            raise found
        return found

    def close() -> None:
        made.open -= 1

    def client(_: Any, service: str, _region: str | None) -> Any:
        if service == "dynamodb" and made.unconnected:
            raise made.unconnected.pop(0)
        made.connections += 1
        made.open += 1
        return SimpleNamespace(close=close)

    def pass_on(seconds: float) -> None:
        made.now += seconds

    monkeypatch.setattr(Poller, "_pause", passing(pass_on))
    monkeypatch.setattr(Observed, "_read_observation", read_observation)
    monkeypatch.setattr(AwsConnection, "client", client)
    with clock.used(SimulatedClock(lambda: made.now, pass_on)):
        yield made


async def looked(ticks: Any, times: int) -> None:
    while ticks.looks < times:  # noqa: ASYNC110 - what is waited for is what other tasks do
        await asyncio.sleep(0.001)


def expired() -> ClientError:
    return ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "is expired"}}, "GetItem")


def test_expired_credentials_are_read_again_once_for_all_waits(ticks):
    ticks.found = [expired(), observation(holder=None, waiting=2, free_since=NOW - 600)]

    assert {event["status"] for event in events_of(trigger(0), trigger(1))} == {"done"}
    assert ticks.connections == 6, "EC2, EMR and the store, twice"


def test_credentials_that_stay_expired_end_every_wait(ticks):
    ticks.found = [expired(), expired()]
    errors = events_of(trigger(0), trigger(1), return_exceptions=True)
    assert [type(error) for error in errors] == [CredentialsExpiredError] * 2


def test_two_hundred_waits_read_the_lease_once_a_tick(ticks):
    async def story() -> list[dict[str, Any]]:
        waits = [asyncio.ensure_future(first_event(trigger(number))) for number in range(WAITERS)]
        await looked(ticks, 10)
        ticks.seen = lambda: observation(holder=None, waiting=WAITERS, free_since=NOW - 60 * WAITERS)
        return await asyncio.gather(*waits)

    events = asyncio.run(story())
    assert {event["data"]["action"] for event in events} == {"take"}
    assert ticks.looks <= 12
    assert (ticks.now - NOW) / 15 == ticks.looks, "one look a tick, whoever waits"
    assert ticks.connections == 3, "EC2, EMR and the store, once for all"


def test_cancelling_a_wait_affects_no_other_and_the_poller_ends_with_the_last(ticks):
    async def story() -> None:
        waits = [asyncio.ensure_future(first_event(trigger(number))) for number in range(3)]
        await looked(ticks, 3)
        waits[0].cancel()
        await looked(ticks, ticks.looks + 3)
        assert not waits[1].done()
        for wait in waits[1:]:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        assert poller._pollers == {}
        await asyncio.sleep(0.05)
        before = ticks.looks
        await asyncio.sleep(0.05)
        assert ticks.looks == before
        assert ticks.open == 0

    asyncio.run(story())


def test_a_store_that_does_not_answer_delays_every_wait_by_one_poll(ticks):
    ticks.found = [LockStoreUnavailableError("dynamodb://leases", problem="503")]
    ticks.seen = lambda: observation(holder=None, waiting=2, free_since=NOW - 600)
    assert [event["status"] for event in events_of(trigger(0), trigger(1))] == ["done", "done"]
    assert ticks.looks == 2


def test_a_broken_record_fails_every_wait(ticks):
    ticks.found = [ValueError("no record")] * 3
    errors = events_of(trigger(0), trigger(1), return_exceptions=True)
    assert [str(error) for error in errors] == ["no record", "no record"]


NO_DNS = EndpointConnectionError(endpoint_url="https://sts.amazonaws.com")


def test_a_connection_that_fails_once_delays_every_wait_by_one_poll(ticks):
    ticks.unconnected = [NO_DNS, NO_DNS]
    ticks.seen = lambda: observation(holder=None, waiting=2, free_since=NOW - 600)
    waits = [trigger(number) for number in range(2)]

    async def story() -> Any:
        events = await asyncio.wait_for(asyncio.gather(*map(first_event, waits)), GENEROUS_SECONDS)
        await asyncio.sleep(0.05)
        return events

    assert [event["status"] for event in asyncio.run(story())] == ["done", "done"]
    assert ticks.looks == 1
    assert 15 + 15 + 15 <= ticks.now - NOW <= 15 + 30 + 60, "as for looks without an answer"
    assert (ticks.connections, ticks.open) == (3, 0), "each once, and closed at the end"


def test_a_connection_that_always_fails_ends_with_a_timeout(ticks):
    ticks.unconnected = [NO_DNS] * 100
    (event,) = events_of(trigger(1, deadline=NOW + 600))
    assert event["status"] == "timeout"
    assert "sts.amazonaws.com" in event["message"]


def test_a_permanent_connection_error_fails_every_wait_and_ends_the_poller(ticks):
    ticks.unconnected = [NO_DNS] + [ValueError("no such connection")] * 3

    async def story() -> Any:
        waits = asyncio.gather(*(first_event(trigger(number)) for number in range(3)), return_exceptions=True)
        errors = await asyncio.wait_for(waits, GENEROUS_SECONDS)
        assert poller._pollers == {}
        await asyncio.sleep(0.05)
        return errors

    assert [str(error) for error in asyncio.run(story())] == ["no such connection"] * 3
    assert ticks.open == 0


def test_a_call_that_hangs_delays_no_wait_beyond_its_deadline(ticks, monkeypatch):
    answer = threading.Event()
    client = AwsConnection.client

    def hang(connection: AwsConnection, service: str, region_name: str | None) -> Any:
        answer.wait()
        return client(connection, service, region_name)

    async def pause(self: Poller, seconds: float | None) -> None:
        await asyncio.sleep(0.01)
        ticks.now += seconds or 0

    monkeypatch.setattr(AwsConnection, "client", hang)
    monkeypatch.setattr(Poller, "_pause", pause)
    monkeypatch.setattr(watch, "_LAST_ANSWER_SECONDS", 0.2)

    async def story() -> None:
        patient = asyncio.ensure_future(first_event(trigger(0, deadline=NOW + 36_000)))
        event = await asyncio.wait_for(first_event(trigger(1, deadline=NOW + 0.1)), GENEROUS_SECONDS)
        assert event["status"] == "timeout"
        assert not patient.done()
        ticks.seen = lambda: observation(holder=None, waiting=2, free_since=NOW - 600)
        answer.set()
        assert (await asyncio.wait_for(patient, GENEROUS_SECONDS))["data"]["action"] == "take"

    asyncio.run(story())


def test_waits_on_different_connections_have_separate_pollers(ticks):
    async def story() -> None:
        waits = [asyncio.ensure_future(first_event(trigger(1, region_name=region))) for region in ("eu-west-1", None)]
        await looked(ticks, 4)
        assert len(poller._pollers) == 2
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    asyncio.run(story())


def test_a_timeout_has_the_place_and_the_holder(ticks):
    (event,) = events_of(trigger(1, deadline=NOW + 100))
    assert event["status"] == "timeout"
    assert event["data"]["queue"]["place"] == 2


def test_the_poller_reads_the_real_store_with_its_own_connection(clocked, boto, monkeypatch, ec2):
    client = boto("dynamodb")
    store = open_store("dynamodb://leases?create=true", lambda *_: client)
    store.check()
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    store.write(allocation_id, Record(issued=1), expected_version=None)
    now = clocked.clock.now().timestamp()
    waits = [trigger(n, allocation_id=allocation_id, deadline=now + 600) for n in range(20)]
    events = events_of(*waits)
    assert {event["data"]["action"] for event in events} == {"take"}
    assert len(clocked.events.calls("GetItem")) == 1
    assert store.read(allocation_id).record.issued == 1
