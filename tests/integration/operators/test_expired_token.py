"""After a session token has expired, the credentials are read again once, before anything is cancelled or undone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import CredentialsExpiredError
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from harness.life import Task
from tests.airflow_version import AIRFLOW
from tests.integration.operators.aws_state import dynamodb_only, is_associated, step_states


def expire(aws: Any, operation: str, *, code: str = "ExpiredTokenException", times: int = 1) -> None:
    message = "The security token included in the request is expired"
    aws.faults.add(operation=operation, kind="error", code=code, status=400, message=message, times=times)


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
def test_running_steps_go_on(clocked, create_operator, steps_operator, step, deferrable, emr, code):
    job_flow_id = Task(create_operator(wait_for_completion=True)).run()
    clocked.clock.call_later(60, lambda: expire(clocked, "DescribeAddresses", code=code), name="expire")
    Task(steps_operator(job_flow_id, steps=[step("--sleep", "300")], deferrable=deferrable)).run()
    assert set(step_states(emr, job_flow_id)) == {"COMPLETED"}
    assert clocked.events.calls("CancelSteps") == []


def test_a_wait_for_the_address_continues(clocked, create_operator, terminate_operator, deferrable):
    holder = Task(create_operator(), dag_id="holder").run()
    Task(terminate_operator(holder, deferrable=True)).start()
    expire(clocked, "DescribeAddresses")
    waiting = Task(create_operator(deferrable=deferrable), dag_id="waiting")
    assert waiting.run() != holder


@dynamodb_only
def test_a_wait_in_the_queue_continues(clocked, leased, ended, deferrable, lock_store, record):
    holder = leased("holder")
    holder.run()
    clocked.clock.call_later(60, lambda: expire(clocked, "GetItem"), name="expire")
    clocked.clock.call_later(120, lambda: clocked.end_cluster(holder.result), name="end")
    assert leased("waiting", deferrable=deferrable).run() != holder.result
    assert record().lease.attempt.name.split("/")[1] == "waiting"


@pytest.mark.parametrize("operation", ["DescribeAddresses", "RunJobFlow", "DescribeCluster", "AssociateAddress"])
def test_a_phase_of_a_launch_continues(clocked, create_operator, deferrable, operation):
    task = Task(create_operator(deferrable=deferrable))
    expire(clocked, operation)
    task.run()
    assert len([call for call in clocked.events.calls("RunJobFlow") if call["status"] == 200]) == 1
    assert clocked.events.calls("TerminateJobFlows") == []


@pytest.mark.parametrize("operation", ["TerminateJobFlows", "ListSteps", "DisassociateAddress"])
def test_a_teardown_continues(clocked, create_operator, terminate_operator, deferrable, operation, ec2):
    job_flow_id = Task(create_operator()).run()
    expire(clocked, operation)
    Task(terminate_operator(job_flow_id, deferrable=deferrable)).run()
    assert not is_associated(ec2)


def test_a_clean_up_continues(clocked, create_operator, emr):
    task = Task(create_operator(deferrable=True))
    task.start()
    expire(clocked, "TerminateJobFlows")
    task.fail_deferral()
    state = emr.describe_cluster(ClusterId=task.ti.xcoms["job_flow_id"])["Cluster"]["Status"]["State"]
    assert state == "TERMINATING"


def test_hooks_are_made_anew(clocked, create_operator, monkeypatch):
    made = []
    monkeypatch.setattr(ElasticIpHook, "get_session", _noting(ElasticIpHook.get_session, made))
    Task(create_operator()).run()
    usual = len(set(made))
    made.clear()
    expire(clocked, "DescribeAddresses")
    Task(create_operator(lock_timeout=timedelta(seconds=1)), dag_id="other").start()
    assert len(set(made)) > usual


def _noting(call: Any, made: list[int]) -> Any:
    def noted(hook: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(id(hook))
        return call(hook, *args, **kwargs)

    return noted


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_a_token_that_stays_expired_fails_with_that_reason(clocked, create_operator, steps_operator, step, deferrable):
    job_flow_id = Task(create_operator(wait_for_completion=True)).run()
    stays = lambda: expire(clocked, "DescribeAddresses", times=100)  # noqa: E731
    clocked.clock.call_later(60, stays, name="expire")
    task = Task(steps_operator(job_flow_id, steps=[step("--sleep", "300")], deferrable=deferrable))
    with pytest.raises(CredentialsExpiredError, match=r"boto3's default credentials.*expired"):
        task.run()


def test_a_poking_sensor_continues(clocked, allocation_id):
    expire(clocked, "DescribeAddresses")
    sensor = EipAssociationSensor(task_id="sense", allocation_id=allocation_id, aws_conn_id=None, expect="free")
    assert Task(sensor).run()["association_id"] is None


def test_a_sensor_whose_token_stays_expired_fails_with_that_reason(clocked, allocation_id):
    expire(clocked, "DescribeAddresses", times=100)
    sensor = EipAssociationSensor(task_id="sense", allocation_id=allocation_id, aws_conn_id=None, expect="free")
    with pytest.raises(CredentialsExpiredError):
        Task(sensor).run()


def check_no_clean_up(log: str) -> None:
    assert "Traceback" not in log or AIRFLOW < (3,), "Airflow 2 logs that there is no database here"
    assert "Cleaning up" not in log


def test_a_missing_connection_names_the_remedy_and_no_clean_up(clocked, create_operator, deferrable, logged):
    task = Task(create_operator(aws_conn_id="aws_nowhere", deferrable=deferrable))
    with pytest.raises(
        AirflowFailException, match="'aws_nowhere': it does not exist; create it, or set aws_conn_id=None"
    ):
        task.run()
    check_no_clean_up(logged())


def test_so_it_is_with_steps_and_a_teardown(clocked, steps_operator, terminate_operator, logged):
    for operator in (steps_operator("j-1"), terminate_operator("j-1")):
        operator.aws_conn_id = "aws_nowhere"
        with pytest.raises(AirflowFailException, match="set aws_conn_id=None"):
            Task(operator).run()
    check_no_clean_up(logged())
