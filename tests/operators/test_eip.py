"""EipAssociateOperator and EipReleaseOperator: for clusters and instances that were made elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import AddressBusyError, ClusterEndedError
from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator
from tests.life import Task


@pytest.fixture
def associate(allocation_id: str) -> Any:
    def make(**parameters: Any) -> EipAssociateOperator:
        return EipAssociateOperator(
            **{"task_id": "associate", "allocation_id": allocation_id, "aws_conn_id": None, **parameters}
        )

    return make


@pytest.fixture
def release(allocation_id: str) -> Any:
    def make(**parameters: Any) -> EipReleaseOperator:
        return EipReleaseOperator(
            **{"task_id": "release", "allocation_id": allocation_id, "aws_conn_id": None, **parameters}
        )

    return make


@pytest.fixture
def job_flow_id(clocked: Any, emr: Any, overrides: dict[str, Any]) -> str:
    """A cluster that somebody else launched."""
    return str(emr.run_job_flow(**overrides)["JobFlowId"])


def carrier(ec2: Any) -> str | None:
    instance: str | None = ec2.describe_addresses()["Addresses"][0].get("InstanceId")
    return instance


def test_the_primary_of_a_cluster_made_elsewhere_is_bound_the_same_way_in_both_modes(
    clocked, job_flow_id, associate, deferrable, ec2
):
    task = Task(associate(job_flow_id=job_flow_id, deferrable=deferrable))
    facts = task.run()
    assert facts == task.ti.xcoms["static_ip"]
    assert facts["job_flow_id"] == job_flow_id
    assert facts["instance_id"] == carrier(ec2)


def test_an_instance_is_bound_once_it_runs(clocked, associate, deferrable, ec2):
    launched = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)
    instance_id = launched["Instances"][0]["InstanceId"]
    assert Task(associate(instance_id=instance_id, deferrable=deferrable)).run()["instance_id"] == instance_id


def test_binding_twice_finds_the_same_association(clocked, job_flow_id, associate):
    first = Task(associate(job_flow_id=job_flow_id)).run()
    assert Task(associate(job_flow_id=job_flow_id)).run() == first


def test_an_address_of_another_is_waited_for_and_never_taken(clocked, job_flow_id, associate, create_operator, ec2):
    holder = Task(create_operator()).run()
    before = carrier(ec2)
    with pytest.raises(AddressBusyError, match=holder):
        Task(associate(job_flow_id=job_flow_id, lock_timeout=timedelta(minutes=3))).run()
    assert carrier(ec2) == before


def test_a_cluster_that_ends_meanwhile_fails_the_wait(clocked, job_flow_id, associate, deferrable, emr):
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    with pytest.raises(ClusterEndedError, match=job_flow_id):
        Task(associate(job_flow_id=job_flow_id, deferrable=deferrable)).run()


def test_release_takes_the_address_off_and_says_so_once(clocked, job_flow_id, associate, release, deferrable, ec2):
    Task(associate(job_flow_id=job_flow_id)).run()
    assert Task(release(job_flow_id=job_flow_id, deferrable=deferrable)).run() is True
    assert carrier(ec2) is None
    assert Task(release(job_flow_id=job_flow_id, deferrable=deferrable)).run() is False


def test_release_leaves_the_address_of_another_alone(clocked, job_flow_id, release, create_operator, ec2):
    Task(create_operator()).run()
    before = carrier(ec2)
    assert Task(release(job_flow_id=job_flow_id)).run() is False
    assert carrier(ec2) == before


def test_release_waits_for_a_fenced_step_and_not_for_others(
    clocked, job_flow_id, associate, release, steps_operator, step, deferrable, emr
):
    Task(associate(job_flow_id=job_flow_id)).run()
    clocked.clock.advance(600)
    fenced = Task(steps_operator(job_flow_id, steps=[step("--sleep", "300")], deferrable=True))
    fenced.start()
    emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=[step("--sleep", "9000", name="other work")])
    assert Task(release(job_flow_id=job_flow_id, deferrable=deferrable)).run() is True
    states = {s["Name"].split()[0]: s["Status"]["State"] for s in emr.list_steps(ClusterId=job_flow_id)["Steps"]}
    assert states["read"] == "COMPLETED"
    assert states["other"] in {"PENDING", "RUNNING"}


@pytest.mark.parametrize("target", [{}, {"job_flow_id": "j-1", "instance_id": "i-1"}])
def test_exactly_one_target(clocked, associate, release, target, assert_nothing_changed):
    for operator in (associate(**target), release(**target)):
        with pytest.raises(AirflowFailException, match="exactly one"):
            Task(operator).run()
    assert_nothing_changed()
