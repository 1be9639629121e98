"""A pool of addresses when something fails: nothing is left behind, and nothing of another task is touched."""

from __future__ import annotations

import json
from collections import UserList
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.lease_client import client as lease_client
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.stores.uri import open_store
from harness.life import Task
from tests.integration.operators.aws_state import STORE, active_clusters, run_instance, run_queued
from tests.integration.operators.test_pool import carried, ended, pool, record_of

__all__ = ["ended", "pool", "record_of"]


@pytest.fixture
def lock_store() -> str:
    """One kind of store: the contract of both kinds is tested elsewhere."""
    return STORE


@pytest.fixture
def full(leased, queue, pool):
    """Two holders that have the first two addresses."""
    holders = [leased(f"holder{n}", allocation_id=pool[:2]) for n in range(2)]
    run_queued(queue, *holders)
    return {task.ti.xcoms["allocation_id"]: task.result for task in holders}


@pytest.fixture
def opened(store, boto):
    """The store, where its table exists already."""
    if store is not None:
        open_store(store, lambda *_: boto("dynamodb")).check()
    return store


def throttled() -> ClientError:
    return ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "DescribeAddresses")


def fail_once(monkeypatch, owner, name, error):
    real, made = getattr(owner, name), []

    def called(self, *args, **options):
        made.append(1)
        if len(made) == 1:
            raise error
        return real(self, *args, **options)

    monkeypatch.setattr(owner, name, called)
    return made


def test_a_lost_state_without_a_store_leaves_no_cluster(clocked, create_operator, pool, emr, ec2):
    task = Task(create_operator(allocation_id=pool, deferrable=True))
    task.start()
    assert len(active_clusters(emr)) == 1
    task.fail_deferral()
    assert active_clusters(emr) == []


@pytest.mark.parametrize("prewarm", [False, True])
@pytest.mark.parametrize("end", ["a lost state", "a kill"])
def test_the_end_of_a_deferral_leaves_every_queue_and_ends_the_early_cluster(
    clocked, leased, queue, full, pool, record_of, emr, prewarm, end
):
    task = leased("daily", allocation_id=pool[:2], prewarm=prewarm)
    task.start()
    queue.pass_time(600, task)
    assert len(active_clusters(emr)) == 2 + prewarm
    if end == "a kill":
        trigger = task.trigger()
        trigger.aws_conn_id = None
        kind, what = trigger.undo
        assert what["allocation_id"] == pool[:2]
        trigger.undo_now(kind, what, spare_handed_over=True)
    else:
        task.fail_deferral()
    assert [record_of(name).queue for name in pool[:2]] == [(), ()]
    assert sorted(active_clusters(emr)) == sorted(full.values())


def test_a_stale_trigger_leaves_alone_what_was_handed_over(clocked, leased, queue, ended, full, pool, record_of, emr):
    task = leased("daily", allocation_id=pool[:2], prewarm=False)
    task.start()
    kind, what = task.trigger().undo
    stale = task.trigger()
    ended(full[pool[1]], pool[1])
    queue.until(lambda: task.ended, task)
    assert task.error is None
    stale.undo_now(kind, what, spare_handed_over=True)
    assert record_of(pool[1]).lease.resource_id == task.result
    assert task.result in active_clusters(emr)


def test_a_tag_of_one_address_survives_an_error_while_the_try_begins(
    clocked, leased, queue, full, pool, ec2, monkeypatch, emr
):
    ec2.create_tags(Resources=[pool[0]], Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    made = fail_once(monkeypatch, EmrCreateWithStaticIpOperator, "run_preflight", throttled())
    task = leased("daily", allocation_id={"tag:purpose": "azure-sql"}, prewarm=False)
    task.start()
    assert task.error is None
    queue.tick(task)
    queue.tick(task)
    task.resume({"status": "done", "message": "", "data": {}, "hint": task.deferral.trigger.hint})
    assert task.error is None
    assert len(made) == 2


def test_an_adoption_without_a_store_survives_an_error_while_the_try_begins(
    clocked, create_operator, pool, emr, monkeypatch
):
    first = Task(create_operator(allocation_id=pool, deferrable=True), try_number=1, max_tries=1)
    first.start()
    made = fail_once(monkeypatch, EmrCreateWithStaticIpOperator, "run_preflight", throttled())
    retry = Task(create_operator(allocation_id=pool, deferrable=True), try_number=2, max_tries=1)
    assert retry.run() == first.ti.xcoms["job_flow_id"]
    assert len(made) == 2


@pytest.mark.parametrize("leaves", ["its address", "every address"])
def test_a_retry_continues_with_an_address_that_left_the_pool(
    clocked, leased, queue, pool, ec2, emr, record_of, leaves
):
    ec2.create_tags(Resources=pool, Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    first = leased("daily", allocation_id={"tag:purpose": "azure-sql"})
    first.start()
    left = pool if leaves == "every address" else [first.ti.xcoms["allocation_id"]]
    ec2.delete_tags(Resources=left, Tags=[{"Key": "purpose"}])
    retry = leased("daily", allocation_id={"tag:purpose": "azure-sql"}, try_number=2)
    run_queued(queue, retry)
    assert retry.error is None
    assert active_clusters(emr) == [retry.result]
    leases = [record_of(name).lease for name in pool]
    assert [lease.resource_id for lease in leases if lease] == [retry.result]


def test_a_retry_without_a_store_continues_with_an_address_that_left_the_pool(clocked, create_operator, pool, ec2, emr):
    first = Task(create_operator(allocation_id=pool, deferrable=True))
    first.start()
    retry = Task(create_operator(allocation_id=pool[1:], deferrable=True), try_number=2)
    retry.run()
    assert active_clusters(emr) == [retry.result]


def test_a_retry_has_one_cluster_when_the_address_of_its_early_one_left_the_pool(
    clocked, leased, queue, full, pool, ec2, emr, record_of, ended
):
    first = leased("daily", allocation_id=pool[:2], prewarm=True)
    first.start()
    queue.until(lambda: len(active_clusters(emr)) == 3, first)
    retry = leased("daily", allocation_id=[pool[1], pool[2]], try_number=2, prewarm=True)
    run_queued(queue, retry)
    assert retry.error is None
    assert sorted(active_clusters(emr)) == sorted([*full.values(), retry.result])


def test_an_address_that_is_released_during_the_wait_is_left_out(
    clocked, leased, queue, full, pool, ec2, emr, record_of, ended
):
    task = leased("daily", allocation_id=pool[:2], prewarm=False)
    task.start()
    ended(full[pool[0]], pool[0])
    ec2.release_address(AllocationId=pool[0])
    queue.pass_time(120, task)
    assert not task.ended, task.error
    ended(full[pool[1]], pool[1])
    queue.until(lambda: task.ended, task)
    assert task.error is None
    assert task.ti.xcoms["static_ip"]["allocation_id"] == pool[1]


def test_an_address_that_is_released_during_the_wait_is_left_out_without_a_store(
    clocked, create_operator, terminate_operator, pool, ec2
):
    holders = [Task(create_operator(allocation_id=name), dag_id=f"h{name}").run() for name in pool[:2]]
    task = Task(create_operator(allocation_id=pool[:2], deferrable=True), dag_id="daily")
    task.start()
    Task(terminate_operator(holders[0], allocation_id=pool[0]), dag_id="teardown").run()
    ec2.release_address(AllocationId=pool[0])
    Task(terminate_operator(holders[1], allocation_id=pool[1]), dag_id="teardown").run()
    task.go_on()
    assert task.error is None
    assert task.ti.xcoms["static_ip"]["allocation_id"] == pool[1]


def test_an_instance_without_a_store_gets_the_address_that_is_free(clocked, pool, ec2, deferrable, associate):
    other, instance = run_instance(ec2, clocked), run_instance(ec2, clocked)
    ec2.associate_address(AllocationId=pool[0], InstanceId=other)
    operator = associate(allocation_id=pool, instance_id=instance, deferrable=deferrable)
    assert Task(operator).run()["allocation_id"] == pool[1]
    assert carried(ec2, pool)[pool[0]] == other


def test_an_instance_without_a_store_keeps_the_address_that_it_has(clocked, pool, ec2, associate):
    instance = run_instance(ec2, clocked)
    ec2.associate_address(AllocationId=pool[1], InstanceId=instance)
    operator = associate(allocation_id=pool, instance_id=instance)
    assert Task(operator, try_number=2).run()["allocation_id"] == pool[1]


def test_an_instance_keeps_the_address_of_the_pool_that_it_has(clocked, pool, ec2, lock_store, record_of, associate):
    instance = run_instance(ec2, clocked)
    ec2.associate_address(AllocationId=pool[1], InstanceId=instance)
    operator = associate(allocation_id=pool, instance_id=instance, lock_store=lock_store)
    assert Task(operator).run()["allocation_id"] == pool[1]
    assert record_of(pool[0]).lease is None


def test_an_instance_without_a_store_waits_until_one_is_free(clocked, pool, ec2, deferrable, associate):
    other, instance = run_instance(ec2, clocked), run_instance(ec2, clocked)
    second = run_instance(ec2, clocked)
    ec2.associate_address(AllocationId=pool[0], InstanceId=other)
    associated = ec2.associate_address(AllocationId=pool[1], InstanceId=second)["AssociationId"]
    clocked.clock.call_later(200, lambda: ec2.disassociate_address(AssociationId=associated), name="a release")
    operator = associate(allocation_id=pool[:2], instance_id=instance, deferrable=deferrable)
    assert Task(operator).run()["allocation_id"] == pool[1]


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_release_is_safe_to_run_twice_and_without_an_address(clocked, pool, ec2, opened, times, associate, release):
    instance = run_instance(ec2, clocked)
    shared = {"allocation_id": pool, "instance_id": instance, "lock_store": opened}
    if times:
        Task(associate(**shared)).run()
    found = [Task(release(**shared)).run() for _ in range(2)]
    assert found == [times > 0, False]
    assert list(carried(ec2, pool).values()) == [None] * 3


def test_a_teardown_takes_a_cluster_without_an_address_or_unknown_to_emr(
    clocked, create_operator, terminate_operator, pool, opened, emr, overrides
):
    Task(terminate_operator("j-UNKNOWN1", allocation_id=pool, lock_store=opened)).run()
    stranger = emr.run_job_flow(**overrides)["JobFlowId"]
    Task(terminate_operator(stranger, allocation_id=pool, lock_store=opened)).run()
    assert active_clusters(emr) == []
    made = Task(create_operator(allocation_id=pool, lock_store=opened)).run()
    for _ in range(2):
        Task(terminate_operator(made, allocation_id=pool, lock_store=opened)).run()


def test_a_deferred_teardown_of_a_cluster_without_an_address(clocked, terminate_operator, pool, opened, emr, overrides):
    stranger = emr.run_job_flow(**overrides)["JobFlowId"]
    Task(terminate_operator(stranger, allocation_id=pool, lock_store=opened, deferrable=True)).run()
    assert active_clusters(emr) == []


def test_a_teardown_with_a_wrong_id_reports_what_is_left(clocked, create_operator, terminate_operator, pool, opened):
    made = Task(create_operator(allocation_id=pool, lock_store=opened)).run()
    operator = terminate_operator("j-UNKNOWN1", allocation_id=pool, lock_store=opened)
    with pytest.raises(Exception, match=f"EMR does not know 'j-UNKNOWN1', but {made}"):
        Task(operator).run()


def test_a_teardown_frees_the_address_while_the_lock_store_gives_no_answer(
    clocked, leased, queue, pool, ec2, emr, lock_store, terminate_operator, monkeypatch
):
    task = leased("daily", allocation_id=pool)
    run_queued(queue, task)

    def down(*_):
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(lease_client.StoreLeaseClient, "read", down)
        patch.setattr(lease_client.LeaseWorld, "read_record", down)
        down_task = Task(terminate_operator(task.result, allocation_id=pool, lock_store=lock_store, deferrable=True))
        down_task.start()
        assert down_task.error is None
        assert list(carried(ec2, pool).values()) == [None] * 3
    down_task.go_on()
    assert down_task.error is None


def test_nothing_is_left_when_emr_refuses_the_tags_of_another_address(
    clocked, leased, queue, ended, full, pool, emr, record_of, monkeypatch
):
    task = leased("daily", allocation_id=pool[:2], prewarm=True)
    task.start()
    queue.until(lambda: len(active_clusters(emr)) == 3, task)
    at = next(name for name in pool[:2] if record_of(name).queue[0].prewarmed_at is not None)
    other = next(name for name in pool[:2] if name != at)
    error = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "AddTags")

    def refused(*_):
        raise error

    monkeypatch.setattr(lease_client.LeaseWorld, "give_lease_tags", refused)
    ended(full[other], other)
    queue.until(lambda: task.ended, task)
    assert task.error is error
    assert active_clusters(emr) == [full[at]]
    assert [record_of(name).queue for name in pool[:2]] == [(), ()]
    assert record_of(other).lease is None


def test_a_cluster_that_emr_does_not_know_yet_gets_the_tags_of_another_address(
    clocked, leased, queue, ended, full, pool, emr, record_of
):
    task = leased("daily", allocation_id=pool[:2], prewarm=True)
    task.start()
    queue.until(lambda: len(active_clusters(emr)) == 3, task)
    at = next(name for name in pool[:2] if record_of(name).queue[0].prewarmed_at is not None)
    other = next(name for name in pool[:2] if name != at)
    ended(full[other], other)
    for operation in ("AddTags", "DescribeCluster"):
        refused = {"code": "InvalidRequestException", "message": "Cluster id is not valid.", "status": 400}
        clocked.faults.add(operation=operation, kind="error", times=None, **refused)
    clocked.clock.call_later(40, clocked.faults.clear, name="EMR knows it")
    queue.until(lambda: task.ended, task)
    assert task.error is None
    assert len(clocked.events.calls("AddTags")) > 1
    tags = {tag["Key"]: tag["Value"] for tag in emr.describe_cluster(ClusterId=task.result)["Cluster"]["Tags"]}
    assert tags["airflow-eip:allocation-id"] == other
    assert tags["airflow-eip:token"] == str(record_of(other).lease.token)


@pytest.mark.parametrize("takes_tags", [True, False])
def test_an_early_cluster_that_has_ended_is_replaced(
    clocked, leased, queue, ended, full, pool, emr, record_of, monkeypatch, takes_tags
):
    task = leased("daily", allocation_id=pool[:2], prewarm=True)
    task.start()
    queue.until(lambda: len(active_clusters(emr)) == 3, task)
    at = next(name for name in pool[:2] if record_of(name).queue[0].prewarmed_at is not None)
    early = record_of(at).queue[0].resource_id
    other = next(name for name in pool[:2] if name != at)
    clocked.end_cluster(early, state="TERMINATED", message="idle")
    ended(full[other], other)
    refused = []

    def refuse(params, **_):
        refused.append(params)
        raise ClientError({"Error": {"Code": "InvalidRequestException", "Message": "it is terminated"}}, "AddTags")

    give = lease_client.LeaseWorld.give_lease_tags

    def give_or_refuse(self, resource_id, token):
        if not takes_tags:
            self.clients["emr"].meta.events.register("provide-client-params.emr.AddTags", refuse)
        give(self, resource_id, token)

    monkeypatch.setattr(lease_client.LeaseWorld, "give_lease_tags", give_or_refuse)
    queue.until(lambda: task.ended, task)
    assert bool(refused) is not takes_tags
    assert task.error is None
    assert task.result != early
    assert sorted(active_clusters(emr)) == sorted([full[at], task.result])


@pytest.mark.parametrize("form", ["json", "python", "tuple", "set", "sequence", "one", "twice", "native"])
def test_what_names_a_pool(clocked, leased, queue, pool, ec2, form):
    given = {
        "json": json.dumps(pool[:2]),
        "python": str(pool[:2]),
        "tuple": tuple(pool[:2]),
        "set": set(pool[:2]),
        "sequence": UserList(pool[:2]),
        "one": [pool[0]],
        "twice": [pool[0], pool[0]],
        "native": '{"tag:purpose": ["a", "b"]}',
    }[form]
    ec2.create_tags(Resources=[pool[0]], Tags=[{"Key": "purpose", "Value": "a"}])
    task = leased("daily", allocation_id=given)
    run_queued(queue, task)
    assert task.error is None
    assert task.ti.xcoms["static_ip"]["allocation_id"] == pool[0]


@pytest.mark.parametrize(
    "given",
    [[1, 2], [None], [["eipalloc-1"]], {"tag:purpose": 5}, {}, {"tag:": "x"}, "[]", ["eipalloc-0123456789abcdef0", ""]],
)
def test_what_names_no_address_is_refused(leased, given, assert_nothing_changed):
    task = leased("daily", allocation_id=given)
    task.start()
    assert "allocation_id" in str(task.error), task.error
    assert_nothing_changed()


@pytest.mark.parametrize("launched", [False, True])
def test_a_deferral_of_the_previous_version_keeps_its_address_when_the_dag_now_names_a_pool(
    clocked, leased, queue, full, pool, emr, record_of, ended, launched
):
    single = pool[2] if launched else pool[0]
    old = leased("daily", allocation_id=single, prewarm=False)
    old.start()
    hint = {
        name: value for name, value in old.deferral.trigger.hint.items() if name not in {"addresses", "allocation_id"}
    }
    new = leased("daily", allocation_id=pool, prewarm=False)
    new.ti.xcoms = old.ti.xcoms
    new.deferral = old.deferral
    new.deferral.trigger.hint = hint
    if not launched:
        ended(full[pool[0]], pool[0])
        clocked.clock.advance(60)
    queue.until(lambda: new.ended, new)
    assert new.error is None
    assert sorted(active_clusters(emr)) == sorted(
        [new.result, *(v for k, v in full.items() if launched or k != pool[0])]
    )
    assert sum(record_of(n).lease is not None and record_of(n).lease.resource_id == new.result for n in pool) == 1
    assert [record_of(n).queue for n in pool] == [()] * 3


def kill_at(monkeypatch, task, method, *, after, nth):
    real, made = getattr(lease_client.LeaseWorld, method), []

    def called(self, *args, **options):
        made.append(method)
        if len(made) != nth:
            return real(self, *args, **options)
        found = real(self, *args, **options) if after else None
        task.operator.on_kill()
        return found if after else real(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(lease_client.LeaseWorld, method, called)
        task.start() if task.deferral is None else task.resume(
            {"status": "done", "message": "", "data": {}, "hint": task.deferral.trigger.hint}
        )
    assert len(made) >= nth


@pytest.mark.parametrize("prewarm", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("method", "nth"), [("write_record", n) for n in (1, 2)] + [("read_record", n) for n in (1, 2, 3, 4, 5)]
)
def test_a_kill_while_it_takes_an_address_leaves_nothing(
    clocked, leased, queue, ended, full, pool, emr, record_of, monkeypatch, method, nth, after, prewarm
):
    task = leased("daily", allocation_id=pool[:2], prewarm=prewarm)
    task.start()
    queue.pass_time(600, task)
    started = [name for name in pool[:2] if record_of(name).queue[0].prewarmed_at is not None]
    at = next((name for name in pool[:2] if name not in started), pool[1])
    ended(full[at], at)
    clocked.clock.advance(60)
    kill_at(monkeypatch, task, method, after=after, nth=nth)
    assert "killed" in str(task.error), task.error
    assert [record_of(name).queue for name in pool[:2]] == [(), ()]
    assert active_clusters(emr) == [full[name] for name in pool[:2] if name != at]
    lease = record_of(at).lease
    assert lease is None


@pytest.mark.parametrize(
    ("method", "nth"), [("write_record", 1), ("write_record", 2), ("read_record", 1), ("read_record", 4)]
)
def test_a_kill_while_it_joins_leaves_every_queue(
    clocked, leased, queue, full, pool, emr, record_of, monkeypatch, method, nth
):
    task = leased("daily", allocation_id=pool[:2], prewarm=False)
    kill_at(monkeypatch, task, method, after=True, nth=nth)
    assert "killed" in str(task.error), task.error
    assert [record_of(name).queue for name in pool[:2]] == [(), ()]
    assert sorted(active_clusters(emr)) == sorted(full.values())


def test_a_fallback_keeps_the_address(clocked, create_operator, overrides, pool, emr, ec2, opened, deferrable):
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    subnets = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in found}
    overrides["Instances"]["Ec2SubnetId"] = subnets["eu-west-1a"]
    clocked.limit_capacity("eu-west-1a")
    fallbacks = [{"Instances": {"Ec2SubnetId": subnets["eu-west-1b"]}}]
    given = {"allocation_id": pool, "lock_store": opened, "deferrable": deferrable, "fallbacks": fallbacks}
    task = Task(create_operator(**given))
    task.run()
    assert len(task.ti.xcoms["attempts"]) == 2
    assert active_clusters(emr) == [task.result]
    assert task.ti.xcoms["static_ip"]["allocation_id"] == pool[0] == task.ti.xcoms["allocation_id"]


def test_a_nat_gateway_gets_an_address_of_the_pool(
    clocked, nat, pool, ec2, emr, opened, deferrable, terminate_operator
):
    first = Task(nat(allocation_id=pool[:2], lock_store=opened, deferrable=deferrable), dag_id="a")
    first.run()
    assert first.ti.xcoms["static_ip"]["allocation_id"] == pool[0]
    again = Task(nat(allocation_id=pool[:2], lock_store=opened, deferrable=deferrable), dag_id="a", try_number=2)
    assert again.run() == first.result
    assert again.ti.xcoms["static_ip"]["allocation_id"] == pool[0]
    Task(terminate_operator(first.result, allocation_id=pool[:2], lock_store=opened)).run()
    states = {g["State"] for g in ec2.describe_nat_gateways()["NatGateways"]}
    assert states <= {"deleting", "deleted"}


def test_an_address_of_a_pool_is_bound_when_the_cluster_is_ready(clocked, create_operator, pool, opened, deferrable):
    task = Task(create_operator(allocation_id=pool, lock_store=opened, deferrable=deferrable, bind_at="cluster_ready"))
    task.run()
    assert task.ti.xcoms["static_ip"]["allocation_id"] == pool[0]


def test_of_those_that_chose_one_address_without_a_store_the_others_move_on_or_leave_nothing(
    clocked, create_operator, pool, emr
):
    tasks = [Task(create_operator(allocation_id=pool[:2], deferrable=True), dag_id=f"d{n}") for n in range(3)]
    for task in tasks:
        task.start()
    assert [task.ti.xcoms["allocation_id"] for task in tasks] == [pool[0]] * 3
    clocked.clock.advance(400)
    for task in tasks[:2]:
        task.go_on()
    assert [task.ti.xcoms["allocation_id"] for task in tasks[:2]] == pool[:2]
    third = tasks[2]
    third.resume({"status": "done", "message": "", "data": {}, "hint": third.deferral.trigger.hint})
    assert third.deferrals[-1] == "EipPoolFreeTrigger"
    kind, what = third.trigger().undo
    assert (kind, what["allocation_id"]) == ("cluster", pool[0])
    third.fail_deferral()
    assert sorted(active_clusters(emr)) == sorted(task.result for task in tasks[:2])


@pytest.mark.parametrize("expect", ["associated", "free"])
def test_a_sensor_of_a_pool_needs_a_cluster(clocked, pool, expect):
    sensor = EipAssociationSensor(task_id="bound", allocation_id=pool, expect=expect, aws_conn_id=None)
    with pytest.raises(AirflowFailException, match="nothing says which of them is meant"):
        Task(sensor).run()


def test_a_sensor_of_a_pool_follows_an_instance(clocked, pool, ec2):
    instance = run_instance(ec2, clocked)
    ec2.associate_address(AllocationId=pool[1], InstanceId=instance)
    sensor = EipAssociationSensor(task_id="bound", allocation_id=pool, instance_id=instance, aws_conn_id=None)
    assert Task(sensor).run()["allocation_id"] == pool[1]


def test_steps_without_a_store_follow_the_address(clocked, create_operator, steps_operator, pool):
    made = Task(create_operator(allocation_id=pool)).run()
    for deferrable in (False, True):
        assert Task(steps_operator(made, allocation_id=pool, deferrable=deferrable), dag_id=str(deferrable)).run()


def test_messages_name_the_addresses(clocked, leased, queue, full, pool, logged):
    task = leased("daily", allocation_id=pool[:2], prewarm=False, deferrable=False, lock_timeout=timedelta(minutes=5))
    task.start()
    told = logged() + str(task.error) + str(task.ti.xcoms)
    assert "('eipalloc" not in told
    assert "['eipalloc" not in str(task.error)
    assert "''" not in str(task.error)
