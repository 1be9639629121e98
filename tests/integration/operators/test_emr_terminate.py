"""EmrTerminateWithStaticIpOperator: the teardown."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from harness.life import Task
from tests.integration.operators.aws_state import cluster_state, is_associated


@pytest.fixture
def job_flow_id(clocked: Any, create_operator: Any) -> str:
    created: str = Task(create_operator()).run()
    return created


def test_the_address_is_freed_before_the_cluster_is_gone_in_both_modes(
    clocked, job_flow_id, terminate_operator, deferrable, emr, ec2
):
    assert Task(terminate_operator(job_flow_id, deferrable=deferrable)).run() is None
    assert cluster_state(emr, job_flow_id) == "TERMINATED"
    assert not is_associated(ec2)
    freed = next(e for e in clocked.events.read(kind="address") if e["change"] == "disassociated")
    ended = next(e for e in clocked.events.read(kind="cluster") if e["to"] == "TERMINATED")
    assert freed["cause"] == "DisassociateAddress"
    assert freed["seq"] < ended["seq"]


def test_termination_protection_is_lifted(clocked, create_operator, overrides, terminate_operator, emr):
    overrides["Instances"]["TerminationProtected"] = True
    job_flow_id = Task(create_operator()).run()
    Task(terminate_operator(job_flow_id)).run()
    assert cluster_state(emr, job_flow_id) == "TERMINATED"


def test_a_cluster_that_ended_with_errors_is_a_success(clocked, job_flow_id, terminate_operator, emr):
    clocked.end_cluster(job_flow_id, state="TERMINATED_WITH_ERRORS", message="bootstrap action failed")
    Task(terminate_operator(job_flow_id)).run()


def test_a_cluster_that_emr_does_not_know_is_a_success(clocked, terminate_operator, allocation_id):
    assert Task(terminate_operator("j-ABCDEFGHIJKL9")).run() is None


def test_running_it_twice_changes_nothing_more(clocked, job_flow_id, terminate_operator):
    Task(terminate_operator(job_flow_id)).run()
    before = len(clocked.events.read(kind="cluster"))
    Task(terminate_operator(job_flow_id)).run()
    assert len(clocked.events.read(kind="cluster")) == before
    assert len(clocked.events.calls("DisassociateAddress")) == 1


@pytest.mark.parametrize("missing", [None, "", "None"])
def test_without_a_cluster_there_is_nothing_to_do(clocked, terminate_operator, missing):
    assert Task(terminate_operator(missing)).run() is None
    assert clocked.events.calls("TerminateJobFlows") == []


@pytest.mark.parametrize("malformed", [" ", "\n", "none", "i-0123456789abcdef0"])
def test_a_text_that_is_not_a_cluster_id_fails_the_task(clocked, terminate_operator, malformed):
    with pytest.raises(AirflowFailException, match="job_flow_id"):
        Task(terminate_operator(malformed)).run()
    assert clocked.events.calls("TerminateJobFlows") == []


def test_the_address_of_another_cluster_is_left_alone(clocked, job_flow_id, create_operator, terminate_operator, ec2):
    Task(terminate_operator(job_flow_id)).run()
    other = Task(create_operator("other")).run()
    Task(terminate_operator(job_flow_id)).run()
    assert is_associated(ec2)
    assert other != job_flow_id


@pytest.mark.parametrize("malformed", ["eipassoc-1", "", "None", None])
def test_a_malformed_address_fails_the_task_after_the_cluster_is_terminated(
    clocked, job_flow_id, terminate_operator, malformed
):
    with pytest.raises(AirflowFailException, match=r"allocation_id|eipassoc-1"):
        Task(terminate_operator(job_flow_id, allocation_id=malformed)).run()
    (call,) = clocked.events.calls("TerminateJobFlows")
    assert call["request"]["JobFlowIds"] == [job_flow_id]
