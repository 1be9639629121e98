"""execution_timeout of a deferred task, which Airflow 3 does not apply: every wait ends with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider import airflow_compat
from airflow_eip_provider.airflow_compat import AirflowTaskTimeout
from airflow_eip_provider.exceptions import AddressBusyError, WaitTimeoutError
from airflow_eip_provider.operators import phases
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, dynamodb_only, is_associated

TWO_MINUTES = timedelta(minutes=2)
# Airflow 2 needs time to resume the task.
LONGEST_SECONDS = TWO_MINUTES.total_seconds() - airflow_compat._RESUME_SECONDS


def seconds_since(aws: Any, began: Any) -> float:
    return float((aws.clock.now() - began).total_seconds())


def test_steps_are_cancelled_when_it_is_over(clocked, create_operator, steps_operator, step, emr):
    job_flow_id = Task(create_operator(wait_for_completion=True)).run()
    task = Task(
        steps_operator(job_flow_id, steps=[step("--sleep", "5000")], deferrable=True, execution_timeout=TWO_MINUTES)
    )
    began = clocked.clock.now()
    with pytest.raises(AirflowTaskTimeout, match=r"execution_timeout \(0:02:00\)"):
        task.run()
    assert seconds_since(clocked, began) == pytest.approx(LONGEST_SECONDS, abs=10)
    states = [found["Status"]["State"] for found in emr.list_steps(ClusterId=job_flow_id)["Steps"]]
    assert set(states) <= {"CANCELLED", "CANCEL_PENDING"}
    assert active_clusters(emr) == [job_flow_id]


def test_a_cluster_that_takes_longer_to_start_is_ended(clocked, create_operator, emr, ec2):
    task = Task(create_operator(deferrable=True, wait_for_completion=True, execution_timeout=TWO_MINUTES))
    with pytest.raises(AirflowTaskTimeout, match="last seen: Cluster j-"):
        task.run()
    assert active_clusters(emr) == []
    assert not is_associated(ec2)


@dynamodb_only
def test_a_wait_in_the_queue_ends_and_gives_up_its_place(clocked, leased, record, queue):
    holder = leased("holder")
    holder.run()
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout"):
        leased("waiting", execution_timeout=TWO_MINUTES).run()
    assert record().queue == ()


def test_a_teardown_that_takes_longer_fails(clocked, create_operator, terminate_operator):
    job_flow_id = Task(create_operator()).run()
    limit = timedelta(seconds=20)
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout"):
        Task(terminate_operator(job_flow_id, deferrable=True, execution_timeout=limit)).run()


def test_airflows_own_timeout_of_the_deferral_is_capped_too(clocked, create_operator):
    task = Task(create_operator(deferrable=True, execution_timeout=TWO_MINUTES))
    task.start()
    assert task.deferral.timeout <= TWO_MINUTES + phases._DEFERRAL_MARGIN


def test_the_time_counts_from_the_first_part_and_a_deferral_is_never_shorter_than_ten_seconds(clocked, create_operator):
    task = Task(create_operator(deferrable=True, bind_at="cluster_ready", execution_timeout=TWO_MINUTES))
    task.start()
    began = task.deferral.trigger.deadline
    clocked.clock.advance(LONGEST_SECONDS - 5)
    task.resume({"status": "done", "message": "", "data": {}, "hint": task.deferral.trigger.hint})
    assert task.deferral.trigger.deadline == pytest.approx(began + 5, abs=2)
    clocked.clock.advance(10)
    task.resume({"status": "done", "message": "", "data": {}, "hint": task.deferral.trigger.hint})
    assert isinstance(task.error, AirflowTaskTimeout)


def test_a_shorter_wait_of_the_operator_names_its_own_limit(clocked, create_operator, allocation_id):
    Task(create_operator(), dag_id="holder").run()
    task = Task(create_operator(deferrable=True, lock_timeout=timedelta(minutes=1), execution_timeout=TWO_MINUTES))
    with pytest.raises(AddressBusyError):
        task.run()


def test_without_one_nothing_is_capped(clocked, create_operator):
    task = Task(create_operator(deferrable=True, wait_for_completion=True, waiter_max_attempts=4))
    with pytest.raises(WaitTimeoutError, match="waiter_max_attempts"):
        task.run()


def test_a_sensor_that_is_deferred_ends_with_it(clocked, allocation_id, ec2):
    sensor = EipAssociationSensor(
        task_id="sense",
        allocation_id=allocation_id,
        aws_conn_id=None,
        poke_interval=15,
        timeout=3600,
        deferrable=True,
        execution_timeout=TWO_MINUTES,
    )
    task, began = Task(sensor), clocked.clock.now()
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout"):
        task.run()
    assert seconds_since(clocked, began) == pytest.approx(LONGEST_SECONDS, abs=10)


def test_on_airflow_2_a_wait_ends_early_enough_to_be_resumed(create_operator, monkeypatch):
    monkeypatch.setattr(airflow_compat, "_RESUME_SECONDS", 30.0)
    assert airflow_compat.execution_seconds(create_operator(execution_timeout=timedelta(hours=1))) == 3570
    assert airflow_compat.execution_seconds(create_operator(execution_timeout=timedelta(seconds=20))) == 15
