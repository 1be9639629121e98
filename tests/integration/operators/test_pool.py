"""A pool of addresses: a task takes any free one, and the following tasks use that one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import AddressBusyError
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from harness.leases import vanish
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, dynamodb_only, read_record, run_instance, run_queued

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.record import Record


@pytest.fixture
def pool(ec2: Any) -> list[str]:
    """Three addresses, sorted, as the product takes them."""
    return sorted(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(3))


@pytest.fixture
def record_of(lock_store: str, boto: Any) -> Callable[[str], Record]:
    """Read the record of an address."""
    return lambda allocation_id: read_record(boto, allocation_id, lock_store=lock_store)


@pytest.fixture
def ended(lock_store: str, terminate_operator: Any) -> Callable[..., Any]:
    """Let a lease end as its teardown does."""

    def end(job_flow_id: str, allocation_id: Any) -> None:
        operator = terminate_operator(job_flow_id, allocation_id=allocation_id, lock_store=lock_store)
        Task(operator, dag_id="teardown").run()

    return end


def carried(ec2: Any, pool: list[str]) -> dict[str, str | None]:
    """Return the instance that has each address."""
    found = ec2.describe_addresses(AllocationIds=pool)["Addresses"]
    return {address["AllocationId"]: address.get("InstanceId") for address in found}


def dags_in(record: Record) -> list[str]:
    return [entry.attempt.name.split("/")[1] for entry in record.queue]


def test_as_many_run_at_a_time_as_there_are_addresses_and_the_next_gets_the_first_that_is_free(
    clocked, leased, ended, queue, record_of, pool, ec2
):
    tasks = [leased(f"dag{number}", allocation_id=pool, prewarm=False) for number in range(5)]
    run_queued(queue, *tasks[:3])
    bound = [task.ti.xcoms["static_ip"]["allocation_id"] for task in tasks[:3]]
    assert sorted(bound) == pool
    assert [task.ti.xcoms["allocation_id"] for task in tasks[:3]] == bound
    assert None not in carried(ec2, pool).values()
    for task in tasks[3:]:
        task.start()
    assert [dags_in(record_of(address)) for address in pool] == [["dag3", "dag4"]] * 3
    assert tasks[4].ti.xcoms["queue"]["place"] == 2
    assert set(tasks[4].ti.xcoms["queue"]["addresses"]) == set(pool)
    freed = pool[1]
    ended(tasks[bound.index(freed)].result, freed)
    queue.until(lambda: tasks[3].ended, *tasks[3:])
    assert tasks[3].error is None
    assert tasks[3].ti.xcoms["static_ip"]["allocation_id"] == freed
    assert not tasks[4].ended
    assert [dags_in(record_of(address)) for address in pool] == [["dag4"]] * 3, "it has left the other queues"


def test_a_pool_and_a_task_that_wants_one_of_its_addresses_share_one_queue(
    clocked, leased, ended, queue, record_of, pool
):
    holder = leased("holder", allocation_id=pool[0], prewarm=False)
    other = leased("other", allocation_id=pool[1], prewarm=False)
    run_queued(queue, holder, other)
    either = leased("either", allocation_id=pool[:2], prewarm=False)
    single = leased("single", allocation_id=pool[0], prewarm=False)
    either.start()
    single.start()
    assert dags_in(record_of(pool[0])) == ["either", "single"]
    assert dags_in(record_of(pool[1])) == ["either"]
    ended(other.result, pool[1])
    queue.until(lambda: either.ended, either, single)
    assert either.ti.xcoms["static_ip"]["allocation_id"] == pool[1]
    ended(holder.result, pool[0])
    queue.until(lambda: single.ended, single)
    assert single.ti.xcoms["static_ip"]["allocation_id"] == pool[0]


@dynamodb_only
def test_a_pool_of_one_and_a_list_of_one_are_the_address_itself(clocked, leased, queue, record_of, pool):
    task = leased("one", allocation_id=[pool[0]])
    run_queued(queue, task)
    assert task.ti.xcoms["static_ip"]["allocation_id"] == pool[0]
    assert len(clocked.events.calls("PutItem")) == 2, "acquired and handed over"


@dynamodb_only
def test_a_tag_names_the_addresses_when_the_try_begins(clocked, leased, queue, pool, ec2):
    ec2.create_tags(Resources=pool[1:], Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    tasks = [leased(f"dag{n}", allocation_id={"tag:purpose": "azure-sql"}) for n in range(2)]
    run_queued(queue, *tasks)
    assert sorted(task.ti.xcoms["static_ip"]["allocation_id"] for task in tasks) == pool[1:]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "names no Elastic IP"),
        (["eipalloc-0123456789abcdef0", "nonsense"], "nonsense"),
        ({"purpose": "azure-sql"}, "not a tag with a value"),
        ({"tag:purpose": "nobody"}, "no address in region"),
        ("['eipalloc-0123456789abcdef0', 'eipalloc-0123456789abcdef1']", "does not exist in region"),
    ],
)
@dynamodb_only
def test_what_names_no_pool_is_refused_before_anything_changes(leased, given, said, assert_nothing_changed):
    task = leased("wrong", allocation_id=given)
    with pytest.raises(AirflowFailException, match=said):
        task.run()
    assert_nothing_changed()


@dynamodb_only
def test_an_address_that_does_not_exist_or_is_kept_by_something_else_is_left_out_with_a_warning(
    clocked, leased, queue, pool, ec2, subnet_id, logged
):
    ec2.release_address(AllocationId=pool[0])
    ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=pool[1])
    clocked.clock.advance(300)
    task = leased("daily", allocation_id=pool)
    run_queued(queue, task)
    assert task.ti.xcoms["static_ip"]["allocation_id"] == pool[2]
    said = logged()
    assert all(f"left out: Elastic IP '{name}'" in said for name in pool[:2])


@dynamodb_only
def test_the_tasks_that_follow_find_the_address_of_the_cluster_in_the_pool(
    clocked, leased, queue, pool, ec2, steps_operator, release, lock_store, ended, record_of
):
    first = leased("first", allocation_id=pool)
    second = leased("second", allocation_id=pool)
    run_queued(queue, first, second)
    address = second.ti.xcoms["static_ip"]["allocation_id"]
    steps = steps_operator(second.result, allocation_id=pool, lock_store=lock_store, deferrable=True)
    assert Task(steps, dag_id="second").run()
    sensor = EipAssociationSensor(task_id="bound", allocation_id=pool, job_flow_id=second.result, aws_conn_id=None)
    assert Task(sensor).run()["allocation_id"] == address
    assert Task(release(allocation_id=pool, job_flow_id=second.result, lock_store=lock_store)).run() is True
    assert carried(ec2, pool)[address] is None
    assert record_of(address).lease is None
    ended(first.result, pool)
    assert all(record_of(name).lease is None for name in pool)


@dynamodb_only
def test_a_cluster_that_was_started_early_goes_to_whichever_address_is_free_first(
    clocked, leased, ended, queue, record_of, pool, emr
):
    holders = [leased(f"holder{n}", allocation_id=pool[:2]) for n in range(2)]
    run_queued(queue, *holders)
    waiter = leased("waiter", allocation_id=pool[:2], prewarm=True)
    waiter.start()
    queue.until(lambda: len(active_clusters(emr)) == 3, waiter)
    [entry] = record_of(pool[0]).queue
    assert entry.prewarmed_at is not None
    assert record_of(pool[1]).queue[0].prewarmed_at is None, "one cluster"
    clocked.clock.advance(600)
    ended(next(task.result for task in holders if task.ti.xcoms["allocation_id"] == pool[1]), pool[1])
    queue.until(lambda: waiter.ended, waiter)
    assert waiter.error is None
    assert waiter.result == entry.resource_id
    assert waiter.ti.xcoms["static_ip"]["allocation_id"] == pool[1]
    assert record_of(pool[0]).queue == ()
    lease = record_of(pool[1]).lease
    tags = {tag["Key"]: tag["Value"] for tag in emr.describe_cluster(ClusterId=waiter.result)["Cluster"]["Tags"]}
    assert tags["airflow-eip:allocation-id"] == pool[1]
    assert tags["airflow-eip:token"] == str(lease.token)
    # Neither the next owner's sweep nor anything else ends it.
    nexts = leased("next", allocation_id=pool[0])
    ended(next(task.result for task in holders if task.ti.xcoms["allocation_id"] == pool[0]), pool[0])
    run_queued(queue, nexts)
    assert waiter.result in active_clusters(emr)


CUTS = [
    ("write_record", False, 1),  # before it joins the first queue
    ("write_record", True, 1),
    ("write_record", True, 2),  # in both queues
    ("read_record", True, 4),
]


@dynamodb_only
@pytest.mark.parametrize(("method", "after", "nth"), CUTS)
def test_a_retry_takes_the_places_of_a_try_that_vanished_while_it_joined_the_queues(
    clocked, leased, ended, queue, record_of, pool, monkeypatch, emr, method, after, nth
):
    holders = [leased(f"holder{n}", allocation_id=pool[:2]) for n in range(2)]
    run_queued(queue, *holders)
    gone = leased("daily", allocation_id=pool[:2], prewarm=False)
    vanish(monkeypatch, gone, method, after=after, nth=nth)
    retry = leased("daily", allocation_id=pool[:2], try_number=2, prewarm=False)
    retry.start()
    assert [dags_in(record_of(name)) for name in pool[:2]] == [["daily"]] * 2
    ended(holders[0].result, pool)
    queue.until(lambda: retry.ended, retry)
    assert retry.error is None
    assert [record_of(name).queue for name in pool[:2]] == [(), ()]


@dynamodb_only
@pytest.mark.parametrize(
    ("method", "after", "nth"),
    [
        ("write_record", False, 1),
        ("write_record", True, 1),  # it has the lease, and is in the queue of the other address
        ("write_record", True, 2),  # it has left that queue
        ("launch", False, 1),
        ("launch", True, 1),
        ("write_record", False, 3),  # before it hands over
    ],
)
def test_a_retry_continues_with_the_lease_of_a_try_that_vanished_after_its_turn(
    clocked, leased, ended, queue, record_of, pool, monkeypatch, emr, method, after, nth
):
    holders = [leased(f"holder{n}", allocation_id=pool[:2]) for n in range(2)]
    run_queued(queue, *holders)
    gone = leased("daily", allocation_id=pool[:2], prewarm=False)
    gone.start()
    ended(holders[1].result, pool)
    vanish(monkeypatch, gone, method, after=after, nth=nth)
    retry = leased("daily", allocation_id=pool[:2], try_number=2, prewarm=False)
    run_queued(queue, retry)
    assert retry.error is None
    assert sorted(active_clusters(emr)) == sorted([holders[0].result, retry.result])
    assert [record_of(name).queue for name in pool[:2]] == [(), ()]
    address = retry.ti.xcoms["static_ip"]["allocation_id"]
    assert record_of(address).lease.resource_id == retry.result
    assert holders[0].ti.xcoms["static_ip"]["allocation_id"] != address


@dynamodb_only
def test_a_task_that_gives_up_leaves_every_queue(clocked, leased, queue, record_of, pool):
    holders = [leased(f"holder{n}", allocation_id=pool[:2]) for n in range(2)]
    run_queued(queue, *holders)
    impatient = leased("impatient", allocation_id=pool[:2], lock_timeout=timedelta(minutes=5))
    with pytest.raises(AddressBusyError, match=pool[0]):
        impatient.run()
    assert [record_of(name).queue for name in pool[:2]] == [(), ()]


def test_without_a_lock_store_a_free_address_is_taken_and_one_that_ec2_refuses_is_followed_by_the_next(
    clocked, create_operator, terminate_operator, pool, ec2, deferrable, emr
):
    tasks = [Task(create_operator(allocation_id=pool, deferrable=deferrable), dag_id=f"dag{n}") for n in range(2)]
    for task in tasks:
        task.run()
    assert [task.ti.xcoms["static_ip"]["allocation_id"] for task in tasks] == pool[:2]
    # Something takes the third address while the cluster of the third task starts.
    third = Task(create_operator(allocation_id=pool, deferrable=True), dag_id="third")
    third.start()
    assert third.ti.xcoms["allocation_id"] == pool[2]
    stranger = run_instance(ec2, clocked)
    ec2.associate_address(AllocationId=pool[2], InstanceId=stranger)
    Task(terminate_operator(tasks[0].result, allocation_id=pool), dag_id="teardown").run()
    third.go_on()
    assert third.error is None
    assert third.ti.xcoms["static_ip"]["allocation_id"] == pool[0]
    tags = {tag["Key"]: tag["Value"] for tag in emr.describe_cluster(ClusterId=third.result)["Cluster"]["Tags"]}
    assert tags["airflow-eip:allocation-id"] == pool[0]


def test_without_a_lock_store_a_task_waits_until_any_address_is_free(
    clocked, create_operator, terminate_operator, pool, deferrable
):
    holders = [Task(create_operator(allocation_id=name), dag_id=f"holder-{name}") for name in pool]
    for task in holders:
        task.run()
    clocked.clock.call_later(
        200, lambda: clocked.end_cluster(holders[1].result, state="TERMINATED", message="done"), name="an end"
    )
    waiter = Task(create_operator(allocation_id=pool, deferrable=deferrable), dag_id="waiter")
    assert waiter.run()
    assert waiter.ti.xcoms["static_ip"]["allocation_id"] == pool[1]


@dynamodb_only
def test_an_instance_gets_any_free_address(clocked, leased, queue, pool, ec2, lock_store, record_of, associate):
    holder = leased("holder", allocation_id=pool[0])
    run_queued(queue, holder)
    instance = run_instance(ec2, clocked)
    operator = associate(allocation_id=pool, instance_id=instance, lock_store=lock_store)
    facts = Task(operator, dag_id="instance").run()
    assert facts["allocation_id"] == pool[1]
    assert record_of(pool[1]).lease.resource_id == instance
