"""EmrFailoverOperator: what it moves, in which order, and how long it takes on the simulated clock."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from airflow_eip_provider import metrics
from airflow_eip_provider.exceptions import TransientError
from harness.life import Task, first_event
from tests.integration.operators.failover_stage import STANDBY
from tests.integration.operators.test_failover_undone import check_old_serves
from tests.load_balancer import DRAIN_SECONDS

pytestmark = pytest.mark.usefixtures("no_pause")

ORDER = ["DisassociateAddress", "AssociateAddress", "RegisterTargets", "DeregisterTargets", "TerminateJobFlows"]


def test_a_warm_standby_takes_over_address_and_targets_in_this_order(clocked, staged, deferrable):
    stage = staged(balanced=True)
    stage.break_livy()
    seen, start = clocked.events.last, clocked.clock.now()
    task = stage.failover(deferrable=deferrable)
    assert task.run() == stage.standby
    assert stage.changes(after=seen) == ORDER
    facts = task.ti.xcoms["failover"]
    assert (facts["moved"], facts["kind"], facts["from"], facts["to"]) == (True, "warm", stage.old, stage.standby)
    assert "livy" in facts["why"]
    assert facts["seconds"]["bound"] <= 30
    assert facts["seconds"]["healthy"] <= 60
    assert (clocked.clock.now() - start).total_seconds() <= 3 * 10 + 60
    assert task.ti.xcoms["static_ip"]["job_flow_id"] == task.ti.xcoms["job_flow_id"] == stage.standby
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_cluster_is_launched_without_a_standby(clocked, staged, store):
    stage = staged(warm=False, store=store)
    stage.break_livy()
    seen = clocked.events.last
    task = stage.failover(**stage.cold())
    new = task.run()
    assert stage.changes(after=seen) == ["RunJobFlow", *ORDER[:2], "TerminateJobFlows"]
    facts = task.ti.xcoms["failover"]
    started = stage.boto("emr").describe_cluster(ClusterId=new)["Cluster"]["Status"]["Timeline"]
    took = (started["ReadyDateTime"] - started["CreationDateTime"]).total_seconds()
    assert facts["kind"] == "cold"
    assert facts["seconds"]["bound"] <= took + 30
    assert facts["seconds"]["healthy"] <= took + 60
    clocked.clock.advance(300)
    stage.check_moved_to(new)


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_without_an_address_only_the_targets_are_moved(clocked, staged, warm):
    stage = staged(address=False, warm=warm, balanced=True, store=False)
    stage.break_livy()
    seen = clocked.events.last
    task = stage.failover(**({} if warm else stage.cold()))
    new = task.run()
    assert stage.changes(after=seen) == [*(() if warm else ("RunJobFlow",)), *ORDER[2:]]
    clocked.clock.advance(300)
    stage.check_moved_to(new)


@pytest.mark.parametrize("address", [True, False], ids=["address", "no address"])
def test_a_failover_is_counted_and_notified_once(clocked, staged, monkeypatch, address):
    stage = staged(address=address, balanced=True, store=address)
    stage.break_livy()
    told, sent = [], []
    monkeypatch.setattr(metrics, "_send", lambda metric, _, tags: sent.append((metric, tags.get("allocation_id"))))
    task = stage.failover(on_failover=lambda context: told.append(context["eip"]))
    task.run()
    assert [facts["to"] for facts in told] == [stage.standby]
    assert [name for metric, name in sent if metric is metrics.FAILOVERS] == [stage.allocation_id]
    if not address:
        assert {metric for metric, _ in sent} == {metrics.FAILOVERS}


def test_a_healthy_primary_keeps_its_service(clocked, staged, deferrable, logged):
    stage = staged()
    seen = clocked.events.last
    task = stage.failover(deferrable=deferrable)
    assert task.run() == stage.old
    assert stage.changes(after=seen) == []
    assert task.ti.xcoms["failover"] == {"moved": False, "why": "healthy", "from": stage.old, "to": stage.old}
    assert "is healthy: nothing is done" in logged()


def test_a_drill_moves_the_service_of_a_healthy_primary_whose_connections_are_drained_first(clocked, staged):
    stage = staged(balanced=True)
    task = stage.failover(force=True)
    assert task.run() == stage.standby
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)
    (left,), (ended,) = clocked.events.calls("DeregisterTargets"), clocked.events.calls("TerminateJobFlows")
    gone = datetime.fromisoformat(ended["time"]) - datetime.fromisoformat(left["time"])
    assert gone.total_seconds() >= DRAIN_SECONDS


def test_the_result_of_a_sensor_is_confirmed_with_one_poll(clocked, staged):
    stage = staged()
    stage.break_livy()
    start = clocked.clock.now()
    said = {"job_flow_id": stage.old, "status": "unhealthy"}
    task = stage.failover(health=said)
    assert task.run() == stage.standby
    assert (clocked.clock.now() - start).total_seconds() == 0


def test_a_primary_that_has_recovered_after_the_sensor_keeps_its_service(clocked, staged):
    stage = staged()
    task = stage.failover(health={"job_flow_id": stage.old, "status": "unhealthy"})
    assert task.run() == stage.old


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_two_tasks_make_one_failover(clocked, staged, queue, store, warm):
    stage = staged(store=store, warm=warm)
    stage.break_livy()
    seen = clocked.events.last
    given = {} if warm else stage.cold()
    one, other = stage.failover(dag_id="one", **given), stage.failover(dag_id="other", **given)
    for task in (one, other):
        task.start()
    for _ in range(200):
        for task in (one, other):
            if not task.ended:
                step_of(task)
        if one.ended and other.ended:
            break
    assert (one.error, other.error) == (None, None)
    assert one.result == other.result
    changes = stage.changes(after=seen)
    assert changes.count("AssociateAddress") == 1
    assert changes.count("DisassociateAddress") == 1
    if store:
        assert changes.count("RunJobFlow") == (0 if warm else 1)
    clocked.clock.advance(600)
    stage.check_moved_to(one.result)


def step_of(task: Task) -> None:
    """Run the trigger of a deferred task, and resume the task."""
    task.resume(asyncio.run(first_event(task.trigger())))


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_service_can_move_back_to_a_kept_cluster(clocked, staged, store):
    stage = staged(store=store)
    there = stage.failover(force=True, old_cluster="keep")
    assert there.run() == stage.standby
    clocked.clock.advance(60)
    back = stage.failover(
        dag_id="back", job_flow_id=stage.standby, standby_job_flow_id=stage.old, force=True, old_cluster="keep"
    )
    assert back.run() == stage.old
    watch = stage.failover(dag_id="again")
    assert watch.run() == stage.old
    assert watch.ti.xcoms["failover"]["why"] == "healthy"
    assert stage.holder() == clocked.cluster(stage.old).primary.id


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_an_address_that_ec2_does_not_show_on_the_old_cluster_yet_is_moved_nevertheless(clocked, staged, store):
    stage = staged(store=store)
    ec2, primary = stage.boto("ec2"), clocked.cluster(stage.old).primary
    (address,) = ec2.describe_addresses(AllocationIds=[stage.allocation_id])["Addresses"]
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    clocked.faults.add(operation="DescribeAddresses", kind="stale", seconds=55, times=None)
    ec2.associate_address(AllocationId=stage.allocation_id, InstanceId=primary.id)
    start = clocked.clock.now()
    assert stage.failover(force=True).run() == stage.standby
    assert (clocked.clock.now() - start).total_seconds() <= 60 + 2 * 60 + DRAIN_SECONDS
    clocked.faults.clear()
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
@pytest.mark.parametrize("tagged", [False, True], ids=["named", "by tags"])
def test_a_failover_finishes_when_emr_describes_one_cluster_in_twenty_seconds(clocked, staged, store, tagged):
    stage = staged(balanced=True, store=store)
    clocked.faults.add(operation="DescribeCluster", kind="rate", per_second=0.05, burst=1)
    by_tags = {"standby_job_flow_id": None, "standby_tags": STANDBY} if tagged else {}
    assert stage.failover(force=True, **by_tags).run() == stage.standby
    clocked.faults.clear()
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_standby_that_has_another_address_is_refused_before_anything_changes(clocked, staged, lease, store):
    stage = staged(store=store)
    ec2, primary = stage.boto("ec2"), clocked.cluster(stage.standby).primary
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=other, InstanceId=primary.id)
    seen = clocked.events.last
    with pytest.raises(TransientError, match=f"'{primary.id}': Elastic IP '{other}' .* is there"):
        stage.failover(force=True).run()
    assert stage.changes(after=seen) == []
    check_old_serves(stage, lease)


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_an_old_read_of_the_standbys_addresses_does_not_fail_the_failover(clocked, staged, store):
    stage = staged(store=store)
    ec2, primary = stage.boto("ec2"), clocked.cluster(stage.standby).primary
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    association = ec2.associate_address(AllocationId=other, InstanceId=primary.id)["AssociationId"]
    clocked.remember()
    clocked.clock.advance(60)
    ec2.disassociate_address(AssociationId=association)
    clocked.clock.advance(15)
    clocked.faults.add(operation="DescribeAddresses", kind="stale", seconds=25, times=None)
    clocked.clock.call_later(30, clocked.faults.clear, name="reads are new again")
    assert stage.failover(force=True).run() == stage.standby
