"""Fallbacks beside other owners, other people's requests, late answers and long waits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import ClusterEndedError
from harness.judge import two_clusters_of_a_lease
from harness.life import Task
from tests.integration.operators.aws_state import STORE, cluster_state, launches, outcomes, step_on

if TYPE_CHECKING:
    from collections.abc import Callable


A, B = "eu-west-1a", "eu-west-1b"


@pytest.fixture
def create(create_operator: Any, overrides: dict[str, Any], subnets: dict[str, str], to_b: Any) -> Callable[..., Any]:
    """Make a creating operator whose first choice is zone a, and whose fallback is zone b."""
    overrides["Instances"]["Ec2SubnetId"] = subnets[A]

    def make(task_id: str = "create", **parameters: Any) -> Any:
        return create_operator(task_id, **{"fallbacks": [to_b], "deferrable": True, **parameters})

    return make


def test_a_lease_whose_cluster_ended_late_is_not_taken_over_while_its_owner_replaces_it(
    clocked, create, queue, stored_record
):
    # The owner keeps its lease and its token, even if the waiter polls first after the end: no other task may end the
    # lease of an owner that has another candidate. The cluster ends 20 minutes after its launch; Limits.surface is 15,
    # and until the owner gives the cluster up, the last write of the record was before the launch.
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    owner = Task(create(lock_store=STORE), dag_id="owner")
    owner.start()
    waiter = Task(create(lock_store=STORE, fallbacks=(), prewarm=False), dag_id="waiter")
    waiter.start()
    queue.pass_time(1200, waiter, owner)
    clocked.take_zone_down(A)
    queue.until(lambda: owner.ended or waiter.ended or bool(stored_record().history), waiter, owner)
    assert [ended.why for ended in stored_record().history] == []
    assert owner.error is None
    assert outcomes(owner) == [(0, "primary_lost"), (1, "started")]


def test_a_lease_is_not_taken_over_when_airflow_resumes_its_owner_late(clocked, create, queue, stored_record):
    # The owner has given its cluster up in the record; then Airflow takes 15 minutes to resume it, or EMR takes as long
    # to end the cluster (the owner waits for 30 minutes). The owner keeps the lease during that time.
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    owner = Task(create(lock_store=STORE, start_timeout=timedelta(minutes=5)), dag_id="owner")
    owner.start()
    waiter = Task(create(lock_store=STORE, fallbacks=(), prewarm=False), dag_id="waiter")
    waiter.start()
    while "cluster_ended" not in str(owner.deferral.trigger.serialize()):
        step_on(owner)
    assert stored_record().lease.to_be_terminated
    queue.pass_time(960, waiter)
    assert [ended.why for ended in stored_record().history] == []
    queue.until(lambda: owner.ended, waiter, owner)
    assert owner.error is None
    assert outcomes(owner) == [(0, "start_timeout"), (1, "started")]


def test_the_wait_for_the_end_of_a_second_cluster_has_its_own_deadline(clocked, create, queue, to_b, subnets):
    # The first candidate is ended at its start timeout; the second is lost later than half an hour after that.
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    to_a = {"Instances": {"Ec2SubnetId": subnets[A]}}
    task = Task(create(fallbacks=[to_b, to_a]))
    task.start()
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    while len(launches(clocked)) < 2:
        step_on(task)
    queue.pass_time(2400, task)
    clocked.take_zone_down(B)
    task.go_on()
    assert task.error is None
    assert outcomes(task) == [(0, "start_timeout"), (1, "primary_lost"), (2, "started")]
    assert two_clusters_of_a_lease(clocked.events.read()) == []


def test_a_cluster_that_a_person_ends_shortly_before_the_deadline_is_not_replaced(clocked, create, queue, emr, store):
    # TERMINATING takes a minute, so the cluster's EndDateTime is after the deadline; the request was before it.
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    task = Task(create(lock_store=store, start_timeout=timedelta(minutes=10)))
    task.start()
    queue.pass_time(555, task)
    emr.terminate_job_flows(JobFlowIds=[task.ti.xcoms["job_flow_id"]])
    step_on(task)
    task.go_on()
    assert len(launches(clocked)) == 1
    assert isinstance(task.error, ClusterEndedError)


def test_steps_do_not_terminate_a_cluster_that_is_not_of_their_address(clocked, create, steps_operator, ec2, emr):
    # The steps are refused: the cluster of another Elastic IP, whose own tasks decide about it, is left alone.
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    other_owners = Task(create(fallbacks=(), lock_store=STORE), dag_id="other").run()
    clocked.clock.advance(2700)
    another = ec2.allocate_address(Domain="vpc")["AllocationId"]
    with pytest.raises(AirflowFailException):
        Task(steps_operator(other_owners, allocation_id=another, lock_store=STORE)).run()
    assert cluster_state(emr, other_owners) in {"STARTING", "BOOTSTRAPPING"}


def test_steps_do_not_terminate_a_cluster_that_its_creating_task_has_not_handed_over(
    clocked, create, queue, steps_operator, emr
):
    # A cluster of the same name that another run has started early has no lease yet: the steps are refused.
    holder = Task(create("holder", fallbacks=(), lock_store=STORE), dag_id="holder")
    holder.run()
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    waiter = Task(create(fallbacks=(), lock_store=STORE, prewarm=True), dag_id="waiter")
    waiter.start()
    queue.until(lambda: len(launches(clocked)) == 2, waiter)
    early = max(emr.list_clusters()["Clusters"], key=lambda one: one["Status"]["Timeline"]["CreationDateTime"])["Id"]
    clocked.clock.advance(2700)
    with pytest.raises(AirflowFailException):
        Task(steps_operator(early, lock_store=STORE)).run()
    assert cluster_state(emr, early) in {"STARTING", "BOOTSTRAPPING"}


@pytest.mark.parametrize("has_fallbacks", [False, True])
def test_a_cluster_that_was_started_early_and_ended_idle_is_launched_again(
    clocked, create, queue, terminate_operator, to_b, has_fallbacks
):
    # It started, and was idle while its owner queued for longer than idle_timeout. The launch did not fail.
    holder = Task(create("holder", lock_store=STORE, fallbacks=()), dag_id="holder").run()
    fallbacks = [to_b] if has_fallbacks else ()
    waiter = Task(
        create(lock_store=STORE, prewarm=True, fallbacks=fallbacks, idle_timeout=timedelta(minutes=5)), dag_id="waiter"
    )
    waiter.start()
    queue.until(lambda: len(launches(clocked)) == 2, waiter)
    queue.pass_time(900, waiter)
    Task(terminate_operator(holder, lock_store=STORE), dag_id="holder").run()
    queue.until(lambda: waiter.ended, waiter)
    assert waiter.error is None
    assert len(launches(clocked)) == 3


def test_a_cluster_that_was_started_early_waits_for_its_nat_gateway_in_few_deferrals(
    clocked, create, nat, queue, terminate_operator, to_b, subnets
):
    # It has started, so its start deadline, which is over, must not make the wait for the gateway end at once.
    holder = Task(create("holder", lock_store=STORE, fallbacks=()), dag_id="holder").run()
    waiter = Task(
        nat(
            lock_store=STORE,
            prewarm=True,
            deferrable=True,
            fallbacks=[{"Instances": {"KeepJobFlowAliveWhenNoSteps": True}}],
            start_timeout=timedelta(minutes=10),
        ),
        dag_id="waiter",
    )
    waiter.start()
    assert waiter.error is None
    queue.until(lambda: len(launches(clocked)) == 2, waiter)
    queue.pass_time(900, waiter)
    Task(terminate_operator(holder, lock_store=STORE), dag_id="holder").run()
    queue.until(lambda: "NatGatewayTrigger" in waiter.deferrals or waiter.ended, waiter)
    before = len(waiter.deferrals)
    for _ in range(20):
        if not waiter.ended:
            step_on(waiter)
    assert waiter.ended
    assert waiter.error is None
    assert len(waiter.deferrals) - before <= 2


def test_the_address_stays_while_a_step_runs_that_emr_shows_late(clocked, create, steps_operator, step, emr, ec2):
    # DescribeCluster and ListSteps answer from up to a minute ago: they alone decide neither that the cluster has not
    # started nor that no step of it needs the address (I5, I12). The cluster was ready half a minute in time.
    clocked.remember()
    job_flow_id = Task(create(fallbacks=(), lock_store=STORE, start_timeout=timedelta(seconds=240))).run()
    steps = Task(steps_operator(job_flow_id, steps=[step("--sleep", "600")], lock_store=STORE, deferrable=True))
    steps.start()
    for operation in ("DescribeCluster", "ListClusters", "ListSteps"):
        clocked.faults.add(operation=operation, kind="stale", seconds=60, times=None)
    step_on(steps)
    clocked.faults.clear()
    ended = [event for event in clocked.events.calls("TerminateJobFlows") if not event["error_code"]]
    assert [event["request"] for event in ended] == []
    assert [one["Status"]["State"] for one in emr.list_steps(ClusterId=job_flow_id)["Steps"]] == ["RUNNING"]
    steps.go_on()
    assert steps.error is None
