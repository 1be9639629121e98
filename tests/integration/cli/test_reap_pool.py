"""``airflow-eip reap`` and a cluster that was started early for one address of a pool, and gets another one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.aws.tags import ALLOCATION_TAG, OWNER_DIGEST_TAG
from airflow_eip_provider.reaper import Reaper
from airflow_eip_provider.stores.uri import open_store
from harness.leases import Queue, vanish
from harness.life import Task
from tests.integration.cli.test_reap import state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.record import Record

# Both kinds of store give the same answers; tests/integration/stores shows that.
pytestmark = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)


@pytest.fixture
def pool(ec2: Any) -> list[str]:
    """Two addresses, sorted as the operators sort them."""
    return sorted(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(2))


@pytest.fixture
def read(lock_store: str, boto: Any) -> Callable[[str], Record]:
    """Read the record of an address."""

    def record(allocation_id: str) -> Record:
        return open_store(lock_store, lambda *_: boto("dynamodb")).read(allocation_id).record

    return record


@pytest.fixture
def moving(
    clocked: Any,
    create_operator: Any,
    terminate_operator: Any,
    lock_store: str,
    pool: list[str],
    queue: Queue,
    read: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Task:
    """
    Let a task of an environment "waits" wait for any one address, with a cluster that was started for the first.

    Then the second becomes free; the task has not gone on yet.
    """
    monkeypatch.setenv("AIRFLOW__EIP__LOCK_STORE", lock_store)
    given = {"lock_store": lock_store, "deferrable": True, "idle_timeout": timedelta(days=7)}
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "holds")
    holders = {name: Task(create_operator(allocation_id=name, **given), dag_id=f"at-{name}") for name in pool}
    for task in holders.values():
        task.start()
        queue.until(lambda task=task: task.ended, task)
        assert task.error is None
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "waits")
    waiting = Task(create_operator(allocation_id=pool, prewarm=True, **given), dag_id="waiting")
    waiting.start()
    queue.until(lambda: bool(read(pool[0]).queue and read(pool[0]).queue[0].resource_id), waiting)
    clocked.clock.advance(7200)
    ending = terminate_operator(holders[pool[1]].result, allocation_id=pool[1], lock_store=lock_store)
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "holds")
    Task(ending, dag_id="teardown").run()
    assert read(pool[1]).lease is None
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    return waiting


def address_in_tags(emr: Any, job_flow_id: str) -> str:
    tags = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Tags"]
    return next(str(tag["Value"]) for tag in tags if tag["Key"] == ALLOCATION_TAG)


@pytest.mark.parametrize(
    ("method", "nth", "after", "leased", "tagged", "queued", "named"),
    [
        ("write_record", 1, False, False, 0, True, False),
        ("write_record", 1, True, True, 0, True, False),  # leased
        ("write_record", 2, True, True, 0, False, False),  # it has left the first queue, and keeps the cluster
        ("write_record", 3, True, True, 0, False, True),  # the record of the second names it, its tags say the first
        ("give_lease_tags", 1, False, True, 0, False, True),
        ("give_lease_tags", 1, True, True, 1, False, True),
    ],
)
def test_between_any_two_writes_it_is_left_alone(
    moving, reap, read, emr, pool, monkeypatch, method, nth, after, leased, tagged, queued, named
):
    early = read(pool[0]).queue[0].resource_id
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "waits")
        vanish(monkeypatch, moving, method, after=after, nth=nth)
    lease = read(pool[1]).lease
    assert (lease is not None) is leased
    assert (lease is not None and lease.resource_id == early) is named
    assert address_in_tags(emr, early) == pool[tagged]
    assert bool(read(pool[0]).queue) is queued
    said = reap("--yes")
    assert said.status == 0
    # Between the two no record of the address in its tags names it: then its owner's task decides, where that is known.
    assert said.decisions[early] == ("keep" if queued or tagged else "unknown")
    if queued or tagged:
        assert "'waits/waiting/" in said.reasons[early]
    assert state_of(emr, early) == "WAITING"


def test_one_that_moves_while_the_reaper_looks_is_kept(
    moving, reap, read, emr, pool, queue, clocked, overrides, monkeypatch
):
    early = read(pool[0]).queue[0].resource_id
    # For another cluster, the reaper reads the record of the second address first.
    tags = [{"Key": ALLOCATION_TAG, "Value": pool[1]}, {"Key": OWNER_DIGEST_TAG, "Value": "another"}]
    emr.run_job_flow(**{**overrides, "Tags": tags})
    clocked.clock.advance(7200)
    real, asked, read_first = Reaper._record, [], []

    def record(self: Reaper, allocation_id: str) -> Record:
        asked.append(allocation_id)
        if allocation_id == pool[0] and not read_first:
            # The clusters were listed with their tags; now the task goes on, and then the record is read.
            read_first.append(allocation_id)
            with monkeypatch.context() as patch:
                patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "waits")
                queue.until(lambda: moving.ended, moving)
        return real(self, allocation_id)

    monkeypatch.setattr(Reaper, "_record", record)
    said = reap("--yes")
    assert asked == [pool[1], pool[0], pool[1]]
    assert moving.error is None
    assert said.decisions[early] == "keep"
    assert "it has the address by the lease of 'waits/waiting/" in said.reasons[early]
    (found,) = [one for one in said.result["clusters"] if one["job_flow_id"] == early]
    assert found["allocation_id"] == pool[1]
    assert state_of(emr, early) == "WAITING"


def test_after_the_move_it_is_known_by_its_new_address(moving, reap, read, emr, pool, queue, monkeypatch):
    early = read(pool[0]).queue[0].resource_id
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "waits")
        queue.until(lambda: moving.ended, moving)
    assert moving.result == early
    assert reap().decisions[early] == "keep"
    said = reap("--environment", "waits", "--yes")
    assert said.decisions[early] == "reap"
    assert read(pool[1]).lease is None
    assert read(pool[1]).history[-1].resource_id == early
    assert read(pool[0]).lease is not None, "another's"


def test_of_a_gone_environment_it_is_ended_between_the_writes_and_the_next_owner_gets_the_address(
    moving, reap, read, emr, pool, queue, create_operator, lock_store, monkeypatch
):
    early = read(pool[0]).queue[0].resource_id
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "waits")
        vanish(monkeypatch, moving, "give_lease_tags", after=False)
    said = reap("--environment", "waits", "--yes")
    assert said.decisions[early] == "reap"
    assert state_of(emr, early) in {"TERMINATING", "TERMINATED"}
    assert read(pool[0]).queue == ()
    following = Task(
        create_operator(allocation_id=pool, lock_store=lock_store, deferrable=True, prewarm=False), dag_id="following"
    )
    following.start()
    queue.until(lambda: following.ended, following)
    assert following.error is None
    assert following.ti.xcoms["static_ip"]["allocation_id"] == pool[1]
