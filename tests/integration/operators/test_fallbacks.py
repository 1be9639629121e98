"""A cluster that does not start, and the next candidate under the same lease."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowTaskTimeout
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS
from airflow_eip_provider.exceptions import (
    ClusterEndedError,
    LeaseLostError,
    NoCandidateStartedError,
    StepFailedError,
    SupersededError,
)
from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.lease_client.physical import PhysicalLeaseClient
from harness.judge import two_clusters_of_a_lease
from harness.life import Task
from tests.integration.operators.aws_state import STORE, is_associated, launches, outcomes, step_on
from tests.integration.operators.nat import Network

if TYPE_CHECKING:
    from collections.abc import Callable


A, B = "eu-west-1a", "eu-west-1b"
POLL_SECONDS = 15
TEN_MINUTES = {"on_multi_node": "allow", "start_timeout": timedelta(minutes=10)}
CORE = {"InstanceRole": "CORE", "InstanceType": "r5.xlarge", "InstanceCount": 2}


@pytest.fixture
def create(create_operator: Any, overrides: dict[str, Any], subnets: dict[str, str], to_b: Any) -> Callable[..., Any]:
    """Make a creating operator whose first choice is zone a, and whose fallback is zone b."""
    overrides["Instances"]["Ec2SubnetId"] = subnets[A]

    def make(**parameters: Any) -> Any:
        return create_operator(**{"fallbacks": [to_b], **parameters})

    return make


@pytest.fixture
def with_core(overrides: dict[str, Any]) -> None:
    overrides["Instances"]["InstanceGroups"].append(CORE)


@pytest.fixture
def check(clocked: Any, emr: Any, subnets: dict[str, str], ec2: Any, allocation_id: str) -> Callable[..., None]:
    """Check that the result is the last cluster in a zone, with the address, and that there was one at a time."""

    def that(job_flow_id: str, *, launched: int = 2, zone: str = B) -> None:
        cluster = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]
        assert cluster["Ec2InstanceAttributes"]["Ec2AvailabilityZone"] == zone
        assert cluster["Status"]["State"] in {"RUNNING", "WAITING"}
        address = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
        nodes = emr.list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])["Instances"]
        assert address["InstanceId"] in {node["Ec2InstanceId"] for node in nodes}
        assert len(launches(clocked)) == launched
        assert two_clusters_of_a_lease(clocked.events.read()) == []

    return that


def test_a_zone_without_capacity_is_left_for_the_next_one_in_the_same_try(
    clocked, create, check, store, deferrable, subnets
):
    clocked.limit_capacity(A)
    task = Task(create(lock_store=store, deferrable=deferrable))
    job_flow_id = task.run()
    check(job_flow_id)
    first, second = task.ti.xcoms["attempts"]
    assert first["outcome"] == "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
    assert (first["candidate"], first["subnet"], first["zone"], first["instance_type"]) == (
        0,
        subnets[A],
        A,
        "m5.xlarge",
    )
    assert "m5.xlarge" in first["reason"]
    assert (second["candidate"], second["outcome"], second["zone"]) == (1, "started", B)
    assert second["job_flow_id"] == job_flow_id
    assert second["seconds"] > 0


def test_the_move_takes_two_polls_and_one_start(clocked, create, create_operator, terminate_operator, store):
    alone = Task(create_operator("alone", lock_store=store))
    alone.run()
    start = seconds_from_launch_to_bound(clocked)
    Task(terminate_operator(alone.result, lock_store=store)).run()
    clocked.limit_capacity(A)
    Task(create(lock_store=store)).run()
    events = clocked.events.read()
    failed = next(e for e in events if e["kind"] == "cluster" and e["to"] == "TERMINATED_WITH_ERRORS")
    assert seconds_between(failed, bound_last(clocked)) <= 2 * POLL_SECONDS + start + 30


def seconds_from_launch_to_bound(aws: Any) -> float:
    launched = next(e for e in aws.events.read(kind="cluster") if e["to"] == "STARTING")
    return seconds_between(launched, bound_last(aws))


def bound_last(aws: Any) -> dict[str, Any]:
    return [e for e in aws.events.read(kind="address") if e["change"] == "associated"][-1]


def seconds_between(first: dict[str, Any], second: dict[str, Any]) -> float:
    return (datetime.fromisoformat(second["time"]) - datetime.fromisoformat(first["time"])).total_seconds()


def test_the_lease_keeps_its_token_and_its_place_and_is_active_when_the_cluster_has_started(
    clocked, create, check, stored_record
):
    clocked.limit_capacity(A)
    task = Task(create(lock_store=STORE, deferrable=True))
    job_flow_id = task.run()
    check(job_flow_id)
    record = stored_record()
    assert record.issued == 1
    assert record.lease is not None
    assert (record.lease.token, record.lease.phase, record.lease.resource_id) == (1, Phase.ACTIVE, job_flow_id)
    assert not record.lease.to_be_terminated
    tags = [launch.tags for launch in launches(clocked)]
    assert [one["airflow-eip:candidate"] for one in tags] == ["0", "1"]
    assert {one["airflow-eip:token"] for one in tags} == {"1"}
    assert {one["airflow-eip:start-timeout"] for one in tags} == {"2700"}


@pytest.mark.usefixtures("with_core")
def test_core_nodes_without_capacity_are_waited_for_until_the_start_timeout(clocked, create, check, store, deferrable):
    clocked.limit_capacity(A, instance_type="r5.xlarge")
    begun = clocked.clock.now()
    task = Task(create(lock_store=store, deferrable=deferrable, **TEN_MINUTES))
    check(task.run())
    assert outcomes(task) == [(0, "start_timeout"), (1, "started")]
    assert 600 <= task.ti.xcoms["attempts"][0]["seconds"] <= 600 + 2 * POLL_SECONDS
    assert (clocked.clock.now() - begun).total_seconds() < 1500


@pytest.mark.usefixtures("with_core")
def test_one_answer_of_describe_cluster_in_twenty_seconds_is_enough(clocked, create, check, deferrable):
    """Every poll of create makes one such call; with a lock store the search for orphans makes more."""
    clocked.limit_capacity(A, instance_type="r5.xlarge")
    clocked.faults.add(operation="DescribeCluster", kind="rate", per_second=0.05, burst=1)
    task = Task(create(lock_store=None, deferrable=deferrable, **TEN_MINUTES))
    job_flow_id = task.run()
    clocked.faults.clear()
    check(job_flow_id)
    assert outcomes(task) == [(0, "start_timeout"), (1, "started")]


@pytest.mark.usefixtures("with_core")
@pytest.mark.parametrize(
    "refusal",
    [
        {"code": "InvalidRequestException", "message": "Cluster id is not valid.", "status": 400},
        {"code": "ThrottlingException", "message": "Rate exceeded", "status": 400},
    ],
    ids=["unknown", "throttled"],
)
def test_a_replacement_whose_look_shows_nothing_still_ends_the_first_cluster(
    clocked, create, check, store, deferrable, monkeypatch, refusal
):
    """EMR may not know a new cluster for a moment: this does not count as its end, after which the next is launched."""
    clocked.limit_capacity(A, instance_type="r5.xlarge")
    planned = []

    def with_fault(replace: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not planned:
                planned.append(clocked.faults.add(operation="DescribeCluster", kind="error", times=5, **refusal))
            return replace(*args, **kwargs)

        return wrapped

    for cls in (PhysicalLeaseClient, StoreLeaseClient):
        monkeypatch.setattr(cls, "replace", with_fault(cls.replace))
    task = Task(create(lock_store=store, deferrable=deferrable, **TEN_MINUTES))
    check(task.run())
    assert planned
    assert outcomes(task) == [(0, "start_timeout"), (1, "started")]


@pytest.mark.usefixtures("with_core")
def test_without_fallbacks_the_steps_end_at_the_start_timeout_with_emrs_reason(
    clocked, create, steps_operator, ec2, emr, allocation_id, store, deferrable
):
    clocked.limit_capacity(A, instance_type="r5.xlarge")
    begun = clocked.clock.now()
    launching = Task(create(fallbacks=(), lock_store=store, on_multi_node="allow"))
    job_flow_id = launching.run()
    assert "attempts" not in launching.ti.xcoms
    steps = Task(steps_operator(job_flow_id, lock_store=store, deferrable=deferrable))
    with pytest.raises(AirflowFailException, match=r"to start: 2\d\d\d s after RunJobFlow it was STARTING: "):
        steps.run()
    # From the deadline on, EMR has a minute to show a start that happened before.
    latest = 2700 + READS_LAG_SECONDS + 3 * POLL_SECONDS
    assert 2700 <= (clocked.clock.now() - begun).total_seconds() <= latest
    assert not is_associated(ec2)
    clocked.clock.advance(300)
    assert emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"] == "TERMINATED"


@pytest.mark.usefixtures("with_core")
def test_the_lease_of_a_cluster_that_never_starts_is_free_after_the_steps(
    clocked, create, steps_operator, stored_record
):
    clocked.limit_capacity(A, instance_type="r5.xlarge")
    job_flow_id = Task(create(fallbacks=(), lock_store=STORE, on_multi_node="allow")).run()
    steps = Task(steps_operator(job_flow_id, lock_store=STORE))
    with pytest.raises(AirflowFailException):
        steps.run()
    record = stored_record()
    assert record.lease is None
    assert [ended.why for ended in record.history] == ["the cluster did not start in time"]


def test_a_step_that_outlasts_the_start_timeout_of_a_started_cluster_continues(
    clocked, create, steps_operator, step, store, deferrable
):
    job_flow_id = Task(create(fallbacks=(), lock_store=store, start_timeout=timedelta(minutes=10))).run()
    long = step("--sleep", "1800")
    steps = Task(steps_operator(job_flow_id, steps=[long], lock_store=store, deferrable=deferrable))
    assert len(steps.run()) == 1


def test_a_zone_that_goes_down_before_the_start_is_left_within_create(clocked, create, check, store):
    task = Task(create(lock_store=store, deferrable=True))
    task.start()
    while "EmrStartTrigger" not in task.deferrals:  # bound, not started
        step_on(task)
    clocked.take_zone_down(A)
    task.go_on()
    assert task.error is None
    check(task.result)
    assert outcomes(task) == [(0, "primary_lost"), (1, "started")]


def test_an_outage_while_the_step_runs_fails_the_step_and_a_clear_of_the_group_lands_in_the_next_zone(
    clocked, create, steps_operator, terminate_operator, step, check, store
):
    job_flow_id = Task(create(lock_store=store)).run()
    steps = Task(steps_operator(job_flow_id, steps=[step("--sleep", "1800")], lock_store=store, deferrable=True))
    steps.start()
    clocked.clock.advance(60)
    clocked.take_zone_down(A)
    steps.go_on()
    assert isinstance(steps.error, (AirflowFailException, StepFailedError))
    Task(terminate_operator(job_flow_id, lock_store=store)).run()
    again = Task(create(lock_store=store), try_number=2)
    landed = again.run()
    check(landed, launched=3)
    Task(steps_operator(landed, lock_store=store), try_number=2).run()


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        ("STARTING", "VALIDATION_ERROR", "the security group is of another VPC"),
        ("STARTING", "INTERNAL_ERROR", "Request exceeds the EC2 service quota for that type."),
        ("BOOTSTRAPPING", "BOOTSTRAP_FAILURE", "bootstrap action 1 returned a non-zero return code"),
        ("STARTING", "SOMETHING_NEW", "nobody knows"),
    ],
)
def test_what_would_fail_elsewhere_too_fails_at_once_with_emrs_reason(
    clocked, create, ec2, allocation_id, store, state, code, says
):
    clocked.fail_next_cluster(state=state, code=code, message=says)
    task = Task(create(lock_store=store))
    with pytest.raises(ClusterEndedError, match=says):
        task.run()
    assert len(launches(clocked)) == 1
    assert outcomes(task) == [(0, code)]
    assert not is_associated(ec2)


def test_when_no_candidate_starts_the_error_names_each_and_rounds_go_through_all_again(clocked, create, store, emr):
    clocked.limit_capacity(A)
    clocked.limit_capacity(B)
    task = Task(create(lock_store=store, fallback_rounds=2))
    with pytest.raises(NoCandidateStartedError, match=r"candidate 0 .*candidate 3 ") as caught:
        task.run()
    assert str(caught.value).count("INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ") == 4
    assert [one[0] for one in outcomes(task)] == [0, 1, 2, 3]
    assert two_clusters_of_a_lease(clocked.events.read()) == []
    clocked.clock.advance(300)
    assert {c["Status"]["State"] for c in emr.list_clusters()["Clusters"]} == {"TERMINATED_WITH_ERRORS"}


def test_a_second_round_finds_a_zone_that_has_capacity_again(clocked, create, check, store):
    clocked.limit_capacity(A)
    clocked.limit_capacity(B)
    task = Task(create(lock_store=store, fallback_rounds=2, deferrable=True))
    task.start()
    while len(outcomes(task)) < 2:
        step_on(task)
    clocked.restore_zone(A)
    task.go_on()
    assert task.error is None
    check(task.result, launched=3, zone=A)


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "Unsupported"])
def test_a_launch_that_is_refused_for_want_of_capacity_moves_on_and_waits_for_nothing(
    clocked, create, check, store, code
):
    status = 500 if code == "InsufficientInstanceCapacity" else 400
    clocked.faults.add(operation="RunJobFlow", kind="error", code=code, message="not in this zone", status=status)
    task = Task(create(lock_store=store))
    job_flow_id = task.run()
    check(job_flow_id, launched=1)
    assert outcomes(task) == [(0, code), (1, "started")]
    assert task.ti.xcoms["attempts"][0]["job_flow_id"] is None


def test_a_launch_that_is_refused_for_another_reason_fails(clocked, create, store):
    clocked.faults.add(
        operation="RunJobFlow", kind="error", code="ValidationException", message="no such role", status=400
    )
    with pytest.raises(AirflowFailException, match=r"launching cluster .*no such role"):
        Task(create(lock_store=store)).run()


def test_a_fleet_over_several_zones_moves_on_to_other_types(clocked, create, overrides, subnets, check, store):
    clocked.limit_capacity(A, instance_type="m5.xlarge")
    clocked.limit_capacity(B, instance_type="m5.xlarge")
    del overrides["Instances"]["InstanceGroups"], overrides["Instances"]["Ec2SubnetId"]
    overrides["Instances"] |= {"Ec2SubnetIds": [subnets[A], subnets[B]], "InstanceFleets": [fleet("m5.xlarge")]}
    other = {"Instances": {"Ec2SubnetIds": [subnets[B]], "InstanceFleets": [fleet("m6i.xlarge")]}}
    task = Task(create(lock_store=store, fallbacks=[other]))
    job_flow_id = task.run()
    assert two_clusters_of_a_lease(clocked.events.read()) == []
    first, second = task.ti.xcoms["attempts"]
    assert (first["instance_type"], second["instance_type"]) == ("m5.xlarge", "m6i.xlarge")
    assert (second["job_flow_id"], second["zone"]) == (job_flow_id, B)


def fleet(instance_type: str) -> dict[str, Any]:
    return {
        "InstanceFleetType": "MASTER",
        "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": instance_type}],
    }


def test_a_fallback_may_bring_its_own_nat_gateway_and_the_routes_are_put_back(
    clocked, ec2, nat, network, overrides, subnets, deferrable
):
    other = Network.make(ec2)
    groups = network.overrides(overrides)["Instances"]["InstanceGroups"]
    smaller = [{**group, "InstanceType": "m6i.xlarge"} for group in groups]
    fallback = {
        "Instances": {"Ec2SubnetId": other.private, "InstanceGroups": smaller},
        "binding": {"public_subnet_id": subnets[B], "route_table_ids": [other.table]},
    }
    zone = ec2.describe_subnets(SubnetIds=[network.private])["Subnets"][0]["AvailabilityZone"]
    clocked.limit_capacity(zone, instance_type="m5.xlarge")
    task = Task(nat(fallbacks=[fallback], deferrable=deferrable))
    task.run()
    assert outcomes(task)[-1] == (1, "started")
    assert two_clusters_of_a_lease(clocked.events.read()) == []
    (gateway,) = network.gateways()
    assert other.target() == gateway
    assert network.target() is None, "the route of the first choice is as it was"
    assert task.ti.xcoms["static_ip"]["nat_gateway_id"] == gateway


def test_a_cluster_that_was_started_early_and_failed_counts_as_the_first_candidate(
    clocked, create, queue, terminate_operator, create_operator, subnets, overrides
):
    holder = Task(create_operator("holder", lock_store=STORE, fallbacks=()), dag_id="holder").run()
    clocked.limit_capacity(A)
    waiter = Task(create(lock_store=STORE, prewarm=True, deferrable=True), dag_id="waiter")
    waiter.start()
    queue.until(lambda: len(launches(clocked)) == 2, waiter)
    queue.pass_time(600, waiter)
    Task(terminate_operator(holder, lock_store=STORE), dag_id="holder").run()
    queue.until(lambda: waiter.ended, waiter)
    assert waiter.error is None
    assert outcomes(waiter) == [(0, "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"), (1, "started")]
    assert len(launches(clocked)) == 3


def test_a_retry_continues_with_the_candidate_that_a_crashed_try_launched(clocked, create, check, store):
    clocked.limit_capacity(A)
    first = Task(create(lock_store=store, deferrable=True), max_tries=1)
    first.start()
    while len(launches(clocked)) < 2:
        step_on(first)
    # Its process and its trigger have ended.
    clocked.clock.advance(60)
    retry = Task(create(lock_store=store), try_number=2, max_tries=1)
    check(retry.run())
    assert outcomes(retry) == [(1, "started")]


def test_a_retry_of_a_try_that_crashed_while_its_cluster_ended_waits_for_the_end(clocked, create, check):
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    first = Task(create(lock_store=STORE, deferrable=True, start_timeout=timedelta(minutes=5)), max_tries=1)
    first.start()
    while "cluster_ended" not in str(first.deferral.trigger.serialize()):
        step_on(first)
    retry = Task(
        create(lock_store=STORE, deferrable=True, start_timeout=timedelta(minutes=5)), try_number=2, max_tries=1
    )
    check(retry.run())
    assert outcomes(retry) == [(0, "start_timeout"), (1, "started")]


def test_a_kill_while_the_failed_cluster_ends_leaves_nothing(clocked, create, emr, ec2, allocation_id, store):
    clocked.fail_next_cluster(state="STARTING", hangs=True)
    task = Task(create(lock_store=store, deferrable=True, start_timeout=timedelta(minutes=5)))
    task.start()
    while "cluster_ended" not in str(task.deferral.trigger.serialize()):
        step_on(task)
    task.fail_deferral()
    clocked.clock.advance(300)
    assert {c["Status"]["State"] for c in emr.list_clusters()["Clusters"]} == {"TERMINATED"}
    assert not is_associated(ec2)
    assert len(launches(clocked)) == 1


def test_every_candidate_is_checked_before_anything_changes(clocked, create, assert_nothing_changed, store):
    wrong = {"Instances": {"Ec2SubnetId": "subnet-0123456789abcdef0"}}
    with pytest.raises(AirflowFailException, match=r"fallbacks\[0\], subnet 'subnet-0123456789abcdef0'"):
        Task(create(fallbacks=[wrong], lock_store=store)).run()
    assert_nothing_changed()


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"fallbacks": "subnet-b"}, "fallbacks"),
        ({"fallback_rounds": 0}, "fallback_rounds"),
        ({"start_timeout": 45}, "start_timeout"),
        ({"start_timeout": timedelta(seconds=5)}, "start_timeout"),
    ],
)
def test_a_wrong_parameter_is_refused(create, assert_nothing_changed, parameters, says):
    with pytest.raises(AirflowFailException, match=says):
        Task(create(**parameters)).run()
    assert_nothing_changed()


def test_fallbacks_may_be_text_that_a_template_became(clocked, create, check, to_b):
    clocked.limit_capacity(A)
    check(Task(create(fallbacks=json.dumps([to_b]))).run())


def test_a_launch_answer_that_is_lost_in_a_replacement_is_found(clocked, create, check, store):
    clocked.limit_capacity(A)
    task = Task(create(lock_store=store, deferrable=True))
    task.start()
    while not outcomes(task):
        clocked.faults.clear()
        clocked.faults.add(operation="RunJobFlow", kind="lost_response")
        step_on(task)
    task.go_on()
    assert task.error is None
    check(task.result)


def test_an_older_try_does_not_terminate_a_cluster_with_which_a_newer_one_continues(clocked, create, check, store):
    first = Task(create(lock_store=store, deferrable=True, start_timeout=timedelta(minutes=2)), max_tries=1)
    first.start()
    while "EmrStartTrigger" not in first.deferrals:
        step_on(first)
    newer = Task(create(lock_store=store, deferrable=True), try_number=2, max_tries=1)
    newer.start()
    first.go_on()
    assert isinstance(first.error, (SupersededError, LeaseLostError))
    newer.go_on()
    assert newer.error is None
    check(newer.result, launched=1, zone=A)


@pytest.mark.usefixtures("with_core")
def test_a_cluster_that_was_started_early_and_hangs_is_replaced_when_the_lease_is_acquired(
    clocked, create, queue, terminate_operator, create_operator
):
    holder = Task(
        create_operator("holder", lock_store=STORE, on_multi_node="allow", idle_timeout=None), dag_id="holder"
    ).run()
    clocked.limit_capacity(A, instance_type="r5.xlarge")
    given = {"lock_store": STORE, "prewarm": True, "deferrable": True, "on_multi_node": "allow"}
    waiter = Task(create(**given, start_timeout=timedelta(minutes=10)), dag_id="waiter")
    waiter.start()
    queue.until(lambda: len(launches(clocked)) == 2, waiter)
    queue.pass_time(900, waiter)
    Task(terminate_operator(holder, lock_store=STORE), dag_id="holder").run()
    queue.until(lambda: waiter.ended, waiter)
    assert waiter.error is None
    assert outcomes(waiter) == [(0, "start_timeout"), (1, "started")]
    assert two_clusters_of_a_lease(clocked.events.read()) == []


def test_the_execution_timeout_ends_the_start_of_any_candidate(clocked, create, emr, ec2, allocation_id, store):
    clocked.limit_capacity(A)
    clocked.fail_next_cluster(state="BOOTSTRAPPING", hangs=True)
    task = Task(create(lock_store=store, deferrable=True, execution_timeout=timedelta(minutes=15)))
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout"):
        task.run()
    assert len(launches(clocked)) == 2
    clocked.clock.advance(300)
    assert {c["Status"]["State"] for c in emr.list_clusters()["Clusters"]} == {"TERMINATED", "TERMINATED_WITH_ERRORS"}
    assert not is_associated(ec2)
