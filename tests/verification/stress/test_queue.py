"""Small runs of what `make stress ARGS=--queue` measures: many owners at once, a slow Airflow, and long queues."""

from __future__ import annotations

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import RecordContendedError
from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.protocol import enter
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Conflict
from airflow_eip_provider.lease_client import client
from airflow_eip_provider.stores.memory import MemoryStore
from airflow_eip_provider.stores.uri import open_store
from harness.simulated_clock import SimulatedClock
from tests.verification.stress import arrivals, fairness, queue_size
from tests.verification.stress.simulation import NEW_LIMITS, OLD_LIMITS


@pytest.mark.parametrize(("owners", "at_a_time"), [(50, 16), (50, 50), (200, 50)])
def test_when_many_arrive_at_once_none_gives_up_or_stays_without_a_place(owners, at_a_time):
    runs = [arrivals.simulated(owners, at_a_time=at_a_time, seed=seed) for seed in range(3)]
    assert not any(run.lost for run in runs)
    assert [run.outside for run in runs] == [0, 0, 0]
    assert max(sum(run.writes) / owners for run in runs) <= 6


def test_without_pauses_the_holder_gives_up_and_many_get_no_place():
    runs = [arrivals.simulated(200, at_a_time=50, seed=seed, pauses=False) for seed in range(6)]
    assert any(run.lost for run in runs)
    assert max(run.outside for run in runs) > 20


def test_at_a_real_store_every_arrival_gets_a_place(local_aws, boto):
    client = boto("dynamodb")
    open_store("dynamodb://leases?create=true", lambda *_: client).check()
    run = arrivals.real("dynamodb://leases?create=true", client, "eipalloc-1", owners=16, at_a_time=8)
    assert (run.lost, run.outside) == (False, 0)


def test_on_a_slow_airflow_nobody_is_passed_over_more_often_than_its_windows_allow():
    runs = [fairness.simulate(20, seed=seed, limits=NEW_LIMITS) for seed in range(5)]
    assert max(max(run.passed) for run in runs) <= 2
    assert max(run.latest for run in runs) <= 2


def test_under_the_old_rule_a_task_was_passed_over_many_times():
    runs = [fairness.simulate(20, seed=seed, limits=OLD_LIMITS) for seed in range(5)]
    assert max(max(run.passed) for run in runs) > 5


def test_a_task_that_is_resumed_within_its_window_is_never_passed_over():
    runs = [fairness.simulate(20, seed=seed, limits=NEW_LIMITS, slowest_seconds=100) for seed in range(5)]
    assert {run.order for run in runs} == {tuple(range(20))}


def test_judging_all_waits_is_not_quadratic():
    few = min(queue_size.judging_seconds(200) for _ in range(5))
    many = min(queue_size.judging_seconds(3200) for _ in range(3))
    assert many < 16 * 4 * few


class Busy(MemoryStore):
    """A store in which every write conflicts with another one."""

    def write(self, key, record, *, expected_version):
        return Conflict(None)


def test_conflicts_for_minutes_end_in_an_error_and_each_is_followed_by_a_pause():
    slept: list[float] = []
    lease_client = client.StoreLeaseClient(
        "dynamodb://leases", allocation_id="eipalloc-1", client_for=lambda *_: arrivals.StubAws()
    )
    lease_client.store = Busy(lambda: 0.0)
    with (
        clock.used(SimulatedClock(lambda: sum(slept), slept.append)),
        pytest.raises(RecordContendedError, match="other tasks changed the record"),
    ):
        enter(lease_client.world(), LeaseRequest(queue_size.attempt_of(1), "daily", 3600.0))
    assert 300 <= sum(slept) < 320
    assert max(slept) <= 20
    assert lease_client.store.texts == {}
    assert Record() == lease_client.read().record
