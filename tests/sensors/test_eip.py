"""EipAssociationSensor: waits until the address is where it is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from tests.life import Task


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
