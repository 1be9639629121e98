"""EipAssociationSensor: waits until the address is where it is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from harness.life import Task


@pytest.fixture
def allocation_id(ec2: Any) -> str:
    return str(ec2.allocate_address(Domain="vpc")["AllocationId"])


@pytest.fixture
def instance_id(ec2: Any, clocked: Any) -> str:
    return str(ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"])


def sensor(allocation_id: str, **parameters: Any) -> EipAssociationSensor:
    return EipAssociationSensor(
        task_id="sense", allocation_id=allocation_id, aws_conn_id=None, poke_interval=15, **parameters
    )


def interface_of(ec2: Any, instance_id: str) -> str:
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return str(instance["NetworkInterfaces"][0]["NetworkInterfaceId"])


def test_a_free_address_is_seen_at_once_in_both_modes(clocked, allocation_id, deferrable):
    task = Task(sensor(allocation_id, expect="free", deferrable=deferrable))
    assert task.run()["association_id"] is None
    assert task.deferrals == []


def test_an_association_that_comes_later_is_seen_with_the_same_result_in_both_modes(
    clocked, allocation_id, instance_id, deferrable, ec2
):
    def bind() -> None:
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, instance_id))

    clocked.clock.call_later(100, bind, name="somebody binds the address")
    task = Task(sensor(allocation_id, instance_id=instance_id, deferrable=deferrable))
    found = task.run()
    assert found["instance_id"] == instance_id
    assert found["association_id"] == ec2.describe_addresses()["Addresses"][0]["AssociationId"]
    assert bool(task.deferrals) is deferrable


def test_an_association_elsewhere_is_not_the_one_waited_for(clocked, allocation_id, instance_id, deferrable, ec2):
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, instance_id))
    with pytest.raises(AirflowSensorTimeout):
        Task(sensor(allocation_id, instance_id="i-0123456789abcdef0", timeout=60, deferrable=deferrable)).run()


def test_a_cluster_that_has_ended_fails_the_sensor_at_once_with_emrs_reason(clocked, allocation_id, deferrable, emr):
    clocked.fail_next_cluster(state="BOOTSTRAPPING", code="BOOTSTRAP_FAILURE", message="exit code 3")
    job_flow_id = emr.run_job_flow(
        Name="x", Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    )["JobFlowId"]
    clocked.clock.advance(1000)
    with pytest.raises(AirflowFailException, match="exit code 3"):
        Task(sensor(allocation_id, job_flow_id=job_flow_id, deferrable=deferrable)).run()


def test_soft_fail_skips_instead_of_timing_out(clocked, allocation_id, deferrable):
    with pytest.raises(AirflowSkipException):
        Task(sensor(allocation_id, timeout=60, soft_fail=True, deferrable=deferrable)).run()


def test_an_unknown_address_fails_naming_it(clocked, deferrable):
    with pytest.raises(AirflowFailException, match="eipalloc-0123456789abcdef0"):
        Task(sensor("eipalloc-0123456789abcdef0", deferrable=deferrable)).run()


def test_an_unknown_expectation_is_refused(clocked, allocation_id):
    with pytest.raises(AirflowFailException, match="'associated' or 'free'"):
        Task(sensor(allocation_id, expect="somewhere")).run()


@pytest.fixture
def cluster(emr: Any, clocked: Any) -> str:
    instances = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    job_flow_id = str(emr.run_job_flow(Name="x", Instances=instances)["JobFlowId"])
    clocked.clock.advance(600)
    return job_flow_id


@pytest.mark.parametrize("where", ["elsewhere", "free"])
def test_a_binding_that_was_made_before_and_is_gone_fails_the_sensor_naming_the_place(
    clocked, allocation_id, instance_id, cluster, deferrable, ec2, where
):
    if where == "elsewhere":
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, instance_id))
    expected = f"instance '{instance_id}'" if where == "elsewhere" else "is now not associated"
    start = clocked.clock.now()
    with pytest.raises(AirflowFailException, match=expected):
        Task(sensor(allocation_id, job_flow_id=cluster, was_bound=True, deferrable=deferrable)).run()
    assert 60 <= (clocked.clock.now() - start).total_seconds() <= 120


def test_a_binding_that_ec2_shows_late_is_no_failure(clocked, allocation_id, cluster, deferrable, emr, ec2):
    found = emr.list_instances(ClusterId=cluster, InstanceGroupTypes=["MASTER"])["Instances"][0]["Ec2InstanceId"]

    def show() -> None:
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, found))

    clocked.clock.call_later(50, show, name="EC2 shows the binding")
    task = Task(sensor(allocation_id, job_flow_id=cluster, was_bound=True, deferrable=deferrable))
    assert task.run()["instance_id"] == found


def test_a_sensor_of_a_binding_to_come_waits_while_another_has_the_address(
    clocked, allocation_id, instance_id, cluster, deferrable, ec2
):
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, instance_id))
    with pytest.raises(AirflowSensorTimeout):
        Task(sensor(allocation_id, job_flow_id=cluster, timeout=300, deferrable=deferrable)).run()


def test_a_new_cluster_that_emr_does_not_know_everywhere_yet_is_no_failure(clocked, allocation_id, deferrable, cluster):
    unknown = {"code": "InvalidRequestException", "message": "Cluster id is not valid.", "status": 400}
    clocked.faults.add(operation="DescribeCluster", kind="error", times=1, **unknown)
    with pytest.raises(AirflowSensorTimeout):
        Task(sensor(allocation_id, job_flow_id=cluster, timeout=30, deferrable=deferrable)).run()


@pytest.mark.parametrize("nothing", [None, "", "None"], ids=repr)
@pytest.mark.parametrize("name", ["job_flow_id", "instance_id"])
def test_a_target_that_rendered_to_nothing_does_not_mean_anywhere(
    clocked, allocation_id, instance_id, deferrable, ec2, name, nothing
):
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, instance_id))
    given = sensor(allocation_id, deferrable=deferrable, **{name: "{{ of_a_task }}"})
    setattr(given, name, nothing)  # as rendering does
    with pytest.raises(AirflowFailException, match=f"{name} is {nothing!r}: its template"):
        Task(given).run()
    with pytest.raises(AirflowFailException, match=f"{name} is {nothing!r}: its template"):
        Task(sensor(allocation_id, deferrable=deferrable, **{name: nothing})).run()


@pytest.mark.parametrize("nothing", [None, "None", ""], ids=repr)
def test_an_address_that_rendered_to_nothing_is_refused(clocked, deferrable, nothing):
    with pytest.raises(AirflowFailException, match=f"allocation_id is {nothing!r}: its template"):
        Task(sensor(nothing, deferrable=deferrable)).run()


@pytest.mark.parametrize(
    "wrong",
    [
        *[{"job_flow_id": value} for value in ("abc", "{{ x }}", [], {}, 0, False, ["a"])],
        *[{"instance_id": value} for value in ("abc", "{{ x }}", [], 0, False)],
        *[{"allocation_id": value} for value in ("abc", "{{ x }}", 5)],
    ],
    ids=str,
)
def test_a_malformed_id_is_refused_at_once_and_does_not_mean_anywhere(
    clocked, allocation_id, instance_id, deferrable, ec2, wrong
):
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, instance_id))
    given = sensor(**{"allocation_id": allocation_id, "deferrable": deferrable, "soft_fail": True, **wrong})
    with pytest.raises(AirflowFailException, match=f"checking {next(iter(wrong))} "):
        Task(given).run()


@pytest.mark.parametrize("given", [{"region_name": "no where"}, {"botocore_config": {"nosuch": 1}}], ids=str)
def test_a_client_that_boto3_cannot_make_fails_the_sensor_at_once(clocked, allocation_id, deferrable, given):
    with pytest.raises(AirflowFailException, match="making an AWS client with boto3's default credentials"):
        Task(sensor(allocation_id, deferrable=deferrable, **given)).run()


@pytest.mark.parametrize("name", ["deferrable", "was_bound"])
def test_a_text_is_neither_true_nor_false(clocked, allocation_id, name):
    with pytest.raises(AirflowFailException, match=f"checking {name} 'False'"):
        Task(sensor(allocation_id, job_flow_id="j-1", **{name: "False"})).run()


def test_without_a_target_anywhere_will_do(clocked, allocation_id, instance_id, deferrable, ec2):
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_of(ec2, instance_id))
    assert Task(sensor(allocation_id, deferrable=deferrable)).run()["instance_id"] == instance_id
    beside = sensor(allocation_id, job_flow_id=None, instance_id=instance_id, deferrable=deferrable)
    assert Task(beside).run()["instance_id"] == instance_id


@pytest.mark.parametrize("wrong", [{}, {"job_flow_id": "j-1", "expect": "free"}])
def test_a_binding_that_was_made_before_is_one_to_a_cluster(clocked, allocation_id, wrong):
    with pytest.raises(AirflowFailException, match="was_bound"):
        Task(sensor(allocation_id, was_bound=True, **wrong)).run()
