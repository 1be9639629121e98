"""A step is being submitted while its address is released and goes to the next owner: the two never run together."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws.clusters import GUARD_MARK
from airflow_eip_provider.exceptions import SubmissionCancelledError
from harness.life import Task
from tests.integration.operators.aws_state import run_queued

HELD_SECONDS = 300
# The time for a second check and a cancellation; without a wait in between it is 0 on this clock.
MOST_SECONDS = 5


def time_of(event):
    return datetime.fromisoformat(event["time"])


@pytest.fixture
def released(release):
    """Release the address early, as a task of the DAG does."""
    return lambda job_flow_id, **given: Task(release(job_flow_id=job_flow_id, **given), dag_id="first").run()


def ran_seconds(clocked, job_flow_id):
    """How long each step of a cluster ran, and how it ended."""
    begun, ran = {}, {}
    for event in clocked.events.read(kind="step"):
        if event["job_flow_id"] != job_flow_id:
            continue
        if event["state"] == "RUNNING":
            begun[event["step_id"]] = time_of(event)
        elif event["state"] in {"CANCEL_PENDING", "CANCELLED", "COMPLETED", "FAILED"} and event["step_id"] in begun:
            seconds = (time_of(event) - begun[event["step_id"]]).total_seconds()
            ran.setdefault(event["step_id"], seconds)
    return ran


@pytest.mark.parametrize("held", ["ListSteps", "AddJobFlowSteps"])
def test_a_step_whose_submission_outlasts_the_lease_is_cancelled_at_once(
    clocked, leased, queue, lock_store, released, steps_operator, step, emr, held, deferrable
):
    first, second = leased("first"), leased("second", prewarm=True)
    run_queued(queue, first)
    second.start()
    queue.pass_time(900, second)

    def meanwhile():
        began = clocked.clock.now()
        released(first.result, lock_store=lock_store)
        queue.until(lambda: second.ended, second)
        emr.add_job_flow_steps(JobFlowId=second.result, Steps=[step("--sleep", "120")])
        passed = (clocked.clock.now() - began).total_seconds()
        clocked.clock.advance(max(0, HELD_SECONDS - passed))  # the call is answered now, and no later

    clocked.faults.add(operation=held, kind="hold", seconds=HELD_SECONDS, during=meanwhile)
    submit = steps_operator(
        first.result, lock_store=lock_store, deferrable=deferrable, steps=[step("--sleep", "60", name="stray")]
    )
    with pytest.raises(AirflowFailException) as failed:
        Task(submit, dag_id="first").run()
    clocked.clock.advance(300)
    assert max(ran_seconds(clocked, first.result).values(), default=0) <= MOST_SECONDS
    assert list(ran_seconds(clocked, second.result).values()) == [120]
    assert "took" not in str(failed.value), "nobody took it: it was released"


@pytest.mark.parametrize("held", ["ListSteps", "AddJobFlowSteps"])
def test_without_a_lock_store_it_is_cancelled_when_the_address_is_gone(
    clocked, create_operator, released, steps_operator, step, ec2, held, deferrable
):
    job_flow_id = Task(create_operator(), dag_id="first").run()
    clocked.clock.advance(600)

    def meanwhile():
        released(job_flow_id)
        clocked.clock.advance(HELD_SECONDS)

    clocked.faults.add(operation=held, kind="hold", seconds=HELD_SECONDS, during=meanwhile)
    submit = steps_operator(job_flow_id, deferrable=deferrable, steps=[step("--sleep", "60", name="stray")])
    # Held at ListSteps, the first check finds that the address has left; held at AddJobFlowSteps, the second one does.
    with pytest.raises((AirflowFailException, SubmissionCancelledError)):
        Task(submit, dag_id="first").run()
    clocked.clock.advance(300)
    assert max(ran_seconds(clocked, job_flow_id).values(), default=0) <= MOST_SECONDS


def test_a_step_that_emr_shows_late_is_waited_for(
    clocked, leased, queue, lock_store, released, step, emr, allocation_id, deferrable
):
    """A step that was submitted right before the lease was closed keeps the address until it has ended."""
    first = leased("first")
    run_queued(queue, first)
    clocked.clock.advance(600)
    clocked.faults.add(operation="ListSteps", kind="stale", seconds=50, times=None)
    fenced = step("--sleep", "200", name=f"read {GUARD_MARK}0123456789ab.1]")
    emr.add_job_flow_steps(JobFlowId=first.result, Steps=[fenced])
    released(first.result, lock_store=lock_store, deferrable=deferrable)
    ended = [time_of(event) for event in clocked.events.read(kind="step") if event["state"] == "COMPLETED"]
    freed = [time_of(event) for event in clocked.events.read(kind="address") if event["change"] == "disassociated"]
    assert len(ended) == len(freed) == 1
    assert ended <= freed
