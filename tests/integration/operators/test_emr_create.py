"""EmrCreateWithStaticIpOperator: launches a cluster and binds the address."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.exceptions import AddressBusyError, ClusterEndedError, KilledError
from airflow_eip_provider.operators import phases
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, is_associated

if TYPE_CHECKING:
    from collections.abc import Callable


def associations(aws: Any) -> list[dict[str, Any]]:
    return [
        e["request"]
        for e in aws.events.calls("AssociateAddress")
        if str(e["request"].get("DryRun", "false")).lower() != "true"
    ]


def test_cluster_is_created_and_bound_the_same_way_in_both_modes(clocked, create_operator, deferrable, ec2, emr):
    task = Task(create_operator(deferrable=deferrable))
    job_flow_id = task.run()

    static_ip = task.ti.xcoms["static_ip"]
    address = ec2.describe_addresses()["Addresses"][0]
    cluster = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]
    assert task.ti.xcoms["job_flow_id"] == job_flow_id == static_ip["job_flow_id"]
    assert static_ip["association_id"] == address["AssociationId"]
    assert static_ip["public_ip"] == address["PublicIp"]
    assert static_ip["token"] is None
    assert cluster["Status"]["State"] in {"STARTING", "BOOTSTRAPPING"}, "bound long before the cluster is ready"
    assert bool(task.deferrals) is deferrable


def test_every_association_forbids_reassociation_and_names_the_interface(clocked, create_operator, deferrable):
    Task(create_operator(deferrable=deferrable)).run()
    calls = clocked.events.calls("AssociateAddress")
    assert len(calls) == 2, "the DryRun and the association"
    for call in calls:
        assert str(call["request"]["AllowReassociation"]).lower() == "false"
        assert call["request"]["NetworkInterfaceId"].startswith("eni-")
        assert "InstanceId" not in call["request"]


def test_instance_fleets_are_bound_too(clocked, create_operator, overrides, deferrable):
    instances = overrides["Instances"]
    del instances["InstanceGroups"]
    instances["InstanceFleets"] = [
        {
            "InstanceFleetType": "MASTER",
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
        }
    ]
    instances["Ec2SubnetIds"] = [instances.pop("Ec2SubnetId")]
    task = Task(create_operator(deferrable=deferrable))
    assert task.run() == task.ti.xcoms["static_ip"]["job_flow_id"]


def test_it_waits_for_an_address_that_another_cluster_carries_and_pays_for_no_cluster_meanwhile(
    clocked, create_operator, terminate_operator, deferrable
):
    first = Task(create_operator("first")).run()
    second = Task(create_operator("second", deferrable=True))
    second.start()
    assert second.deferrals == ["EipAssociationTrigger"]
    assert len(clocked.events.calls("RunJobFlow")) == 1
    Task(terminate_operator(first)).run()
    second.go_on()
    assert second.error is None
    assert second.result != first


def test_a_wait_that_is_too_long_fails_naming_the_holder(clocked, create_operator, deferrable):
    holder = Task(create_operator("holder")).run()
    with pytest.raises(AddressBusyError, match=holder):
        Task(create_operator("late", deferrable=deferrable, lock_timeout=timedelta(minutes=5))).run()
    assert len(clocked.events.calls("RunJobFlow")) == 1


def test_the_holder_named_is_the_owner_of_the_other_cluster(clocked, create_operator):
    Task(create_operator("holder"), dag_id="other_dag").run()
    with pytest.raises(AddressBusyError, match="other_dag/run-1/holder"):
        Task(create_operator("late", lock_timeout=timedelta(minutes=1))).run()


def test_the_net_of_an_idle_timeout_is_added(clocked, create_operator, emr):
    job_flow_id = Task(create_operator(idle_timeout=timedelta(minutes=30))).run()
    policy = emr.get_auto_termination_policy(ClusterId=job_flow_id)["AutoTerminationPolicy"]
    assert policy["IdleTimeout"] == 1800


def test_a_cluster_that_fails_to_start_fails_the_task_with_emrs_reason_and_leaves_nothing(
    clocked, create_operator, deferrable, emr, ec2
):
    task = Task(create_operator(deferrable=deferrable))
    clocked.fail_next_cluster(state="STARTING", code="VALIDATION_ERROR", message="no capacity for m5.xlarge")
    with pytest.raises(ClusterEndedError, match=r"no capacity for m5\.xlarge"):
        task.run()
    clocked.clock.advance(600)
    assert active_clusters(emr) == []
    assert not is_associated(ec2)


def test_a_deferral_that_airflow_itself_ends_cleans_up(clocked, create_operator, emr):
    task = Task(create_operator(deferrable=True))
    task.start()
    assert len(active_clusters(emr)) == 1
    task.fail_deferral()
    assert task.error is not None
    assert active_clusters(emr) == []


def test_a_kill_terminates_the_cluster_and_frees_the_address(clocked, create_operator, emr, ec2):
    operator = create_operator(wait_for_completion=True)
    task = Task(operator)
    context = task.context
    operator.pre_execute(context)
    operator.execute(context)
    with pytest.raises(KilledError):
        operator.on_kill()  # the result is not Airflow's yet: without the error this kill would be a success
    assert active_clusters(emr) == []
    assert not is_associated(ec2)


def test_a_kill_does_not_wait_for_an_aws_that_gives_no_answer(clocked, create_operator, monkeypatch):
    task = Task(create_operator(deferrable=True))
    task.start()
    operator = create_operator()
    operator.pre_execute(task.context)
    monkeypatch.setattr(phases, "KILL_SECONDS", 0.2)
    clocked.faults.add(operation="TerminateJobFlows", kind="delay", seconds=6)
    started = time.monotonic()
    operator.on_kill()
    assert time.monotonic() - started < 5, "AWS takes 6"
    wait_until(lambda: clocked.events.calls("TerminateJobFlows"), seconds=60)


def test_airflow_2_may_pass_its_safeguards_mark(clocked, create_operator):
    task = Task(create_operator())
    operator = create_operator()
    operator.pre_execute(task.context)
    mark = {"EmrCreateWithStaticIpOperator__sentinel": object()}
    assert operator.execute(task.context, **mark) == task.ti.xcoms["job_flow_id"]


def test_nothing_is_changed_after_a_kill(clocked, create_operator):
    operator = create_operator()
    operator.on_kill()
    with pytest.raises(KilledError):
        Task(operator).run()
    assert clocked.events.calls("RunJobFlow") == []


def test_a_kill_in_the_middle_of_a_launch_is_neither_deferred_nor_a_success(clocked, create_operator, emr):
    operator = create_operator(deferrable=True)
    flag = operator.kill

    def kill(event: dict[str, Any]) -> None:
        if event.get("operation") == "RunJobFlow":
            flag.is_set = True

    clocked.events.listeners.append(kill)
    try:
        with pytest.raises(KilledError):
            Task(operator).run()
    finally:
        clocked.events.listeners.remove(kill)
    assert active_clusters(emr) == []


def test_a_retry_adopts_the_cluster_of_a_try_that_crashed(clocked, create_operator):
    crashed = Task(create_operator(deferrable=True))
    crashed.start()
    launched = crashed.ti.xcoms["job_flow_id"]
    retry = Task(create_operator(deferrable=True), try_number=2)
    assert retry.run() == launched
    assert len(clocked.events.calls("RunJobFlow")) == 1


def test_an_older_try_does_not_end_the_cluster_that_a_newer_one_adopted(clocked, create_operator, emr):
    zombie = Task(create_operator(deferrable=True))
    zombie.start()
    launched = zombie.ti.xcoms["job_flow_id"]
    Task(create_operator(), try_number=2).run()
    zombie.fail_deferral()
    assert active_clusters(emr) == [launched]


def test_a_deferral_of_an_older_try_starts_afresh(clocked, create_operator):
    task = Task(create_operator(deferrable=True))
    task.start()
    task.ti.try_number = 2
    task.resume({"status": "timeout", "message": "", "data": {}, "hint": {"try_number": 1}})
    assert task.error is None, "the timeout of try 1 is not try 2's"
    assert len(clocked.events.calls("RunJobFlow")) == 1, "try 2 adopted the cluster"


def test_a_lost_answer_of_run_job_flow_finds_the_cluster_instead_of_launching_another(clocked, create_operator, emr):
    clocked.faults.add(operation="RunJobFlow", kind="lost_response", times=1)
    job_flow_id = Task(create_operator()).run()
    assert active_clusters(emr) == [job_flow_id]
    assert len(clocked.events.calls("RunJobFlow")) == 1


def wait_until(happened: Callable[[], object], *, seconds: float) -> None:
    """Wait for the cleanup in the background."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
