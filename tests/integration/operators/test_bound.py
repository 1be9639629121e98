"""Bound means that the primary node uses the address, for the fence, the sensor and the command line."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowSensorTimeout
from airflow_eip_provider.aws.addresses import Address, Holder, Instance
from airflow_eip_provider.aws.clusters import Cluster
from airflow_eip_provider.aws.egress import read_unbound
from airflow_eip_provider.aws.tags import CLUSTER_TAG, ROLE_TAG
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from harness.life import Task

PRIMARY = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
CORE = {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 1}
ELSEWHERE = ["core node", "second interface of the primary"]


def node(emr: Any, ec2: Any, job_flow_id: str, role: str) -> Any:
    found = emr.list_instances(ClusterId=job_flow_id, InstanceGroupTypes=[role])["Instances"][0]
    return ec2.describe_instances(InstanceIds=[found["Ec2InstanceId"]])["Reservations"][0]["Instances"][0]


@pytest.fixture(params=ELSEWHERE)
def beside(request: pytest.FixtureRequest, clocked: Any, emr: Any, ec2: Any, overrides: Any, allocation_id: str) -> str:
    """A cluster that has the address, but whose primary node does not use it."""
    groups = [PRIMARY, CORE] if request.param == "core node" else [PRIMARY]
    instances = {**overrides["Instances"], "InstanceGroups": groups}
    job_flow_id = str(emr.run_job_flow(**{**overrides, "Instances": instances})["JobFlowId"])
    clocked.clock.advance(900)
    if request.param == "core node":
        interface = node(emr, ec2, job_flow_id, "CORE")["NetworkInterfaces"][0]["NetworkInterfaceId"]
    else:
        primary = node(emr, ec2, job_flow_id, "MASTER")
        made = ec2.create_network_interface(SubnetId=primary["SubnetId"])
        interface = made["NetworkInterface"]["NetworkInterfaceId"]
        ec2.attach_network_interface(NetworkInterfaceId=interface, InstanceId=primary["InstanceId"], DeviceIndex=1)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface)
    return job_flow_id


def test_steps_refuse_an_address_that_the_primary_node_does_not_leave_from(clocked, beside, steps_operator, deferrable):
    with pytest.raises(AirflowFailException, match=r"not the primary node|the primary interface is"):
        Task(steps_operator(beside, deferrable=deferrable)).run()
    assert clocked.events.calls("AddJobFlowSteps") == []


def test_the_sensor_waits_for_an_address_that_the_primary_node_does_not_leave_from(
    clocked, beside, allocation_id, deferrable
):
    where = {"allocation_id": allocation_id, "job_flow_id": beside, "aws_conn_id": None, "poke_interval": 15}
    with pytest.raises(AirflowSensorTimeout):
        Task(EipAssociationSensor(task_id="sense", timeout=30, deferrable=deferrable, **where)).run()


def unbound(address: dict[str, Any], tags: dict[str, str], *, primary: str = "i-1") -> tuple[str | None, list[str]]:
    """Return what is said of an address on instance i-1, and the calls that it took."""
    instance = Instance("i-1", "running", "subnet-1", "eni-1", tags={CLUSTER_TAG: "j-1", **tags}, private_ip="10.0.0.1")
    holder = Holder("cluster 'j-1' (instance 'i-1')", "j-1", instance=instance)
    calls: list[str] = []

    class Emr:
        def list_instances(self, **_: Any) -> Any:
            calls.append("ListInstances")
            return {"Instances": [{"Ec2InstanceId": primary, "Status": {"State": "RUNNING"}}]}

    place = {"network_interface_id": "eni-1", "private_ip": "10.0.0.1", **address}
    found = Address("eipalloc-1", "203.0.113.1", "vpc", association_id="eipassoc-1", instance_id="i-1", **place)
    return read_unbound(Emr(), found, holder, Cluster("j-1", "daily", "WAITING", "")), calls


def test_the_primary_private_address_of_the_primary_interface_of_the_primary_node_is_bound():
    assert unbound({}, {ROLE_TAG: "MASTER"}) == (None, [])
    assert unbound({"private_ip": None}, {ROLE_TAG: "MASTER"}) == (None, []), "what is not shown proves nothing"


def test_a_secondary_private_address_is_not_bound():
    said, _ = unbound({"private_ip": "10.0.0.9"}, {ROLE_TAG: "MASTER"})
    assert said is not None
    assert "secondary private address 10.0.0.9; the primary is 10.0.0.1" in said


def test_an_instance_without_a_role_tag_is_the_primary_node_if_emr_lists_it_as_such():
    assert unbound({}, {}) == (None, ["ListInstances"])
    said, _ = unbound({}, {}, primary="i-2")
    assert said is not None
    assert said.endswith("which is not the primary node")
