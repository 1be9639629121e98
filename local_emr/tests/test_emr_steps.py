"""The queue of steps. In moto steps never end, cannot be cancelled, and cost nothing when they fail."""

from __future__ import annotations

import pytest


@pytest.fixture
def ready(start_cluster, local_emr):
    """A cluster that waits for steps."""
    job_flow_id = start_cluster()
    local_emr.clock.advance(300)
    return job_flow_id


def test_steps_queue_from_the_start_and_run_one_by_one(start_cluster, step, add_steps, step_states, local_emr):
    """``StepConcurrencyLevel`` defaults to 1 [botocore: RunJobFlowInput]."""
    job_flow_id = start_cluster()
    add_steps(job_flow_id, step("--sleep", "100"), step("--sleep", "100"))
    assert step_states(job_flow_id) == ["PENDING", "PENDING"]
    local_emr.clock.advance(210)
    assert step_states(job_flow_id) == ["RUNNING", "PENDING"]
    local_emr.clock.advance(100)
    assert step_states(job_flow_id) == ["COMPLETED", "RUNNING"]


def test_the_cluster_is_running_while_it_has_steps(ready, state_of, step, add_steps, local_emr):
    add_steps(ready, step("--sleep", "100"))
    assert state_of(ready) == "RUNNING"
    local_emr.clock.advance(100)
    assert state_of(ready) == "WAITING"


def test_more_steps_run_side_by_side_when_allowed(emr, ready, step, add_steps, step_states):
    add_steps(ready, step("--sleep", "100"), step("--sleep", "100"), step("--sleep", "100"))
    assert emr.modify_cluster(ClusterId=ready, StepConcurrencyLevel=2)["StepConcurrencyLevel"] == 2
    assert step_states(ready) == ["RUNNING", "RUNNING", "PENDING"]


def test_a_failed_step_has_the_reason(emr, start_cluster, step, add_steps, local_emr):
    """``FailureDetails`` {Reason, Message, LogFile} [botocore: StepStatus]."""
    job_flow_id = start_cluster(LogUri="s3://logs/")
    [step_id] = add_steps(job_flow_id, step("--exit", "3"))
    local_emr.clock.advance(600)
    status = emr.describe_step(ClusterId=job_flow_id, StepId=step_id)["Step"]["Status"]
    assert status["State"] == "FAILED"
    assert "3" in status["FailureDetails"]["Message"]
    assert status["FailureDetails"]["LogFile"] == f"s3://logs/{job_flow_id}/steps/{step_id}/stderr.gz"
    timeline = status["Timeline"]
    assert timeline["CreationDateTime"] < timeline["StartDateTime"] < timeline["EndDateTime"]


@pytest.mark.parametrize(
    ("action", "next_step", "cluster"),
    [
        ("CONTINUE", "COMPLETED", "WAITING"),
        ("CANCEL_AND_WAIT", "CANCELLED", "WAITING"),
        ("TERMINATE_CLUSTER", "CANCELLED", "TERMINATED_WITH_ERRORS"),
        ("TERMINATE_JOB_FLOW", "CANCELLED", "TERMINATED_WITH_ERRORS"),
    ],
)
def test_a_failure_does_to_the_cluster_what_the_step_asks(
    ready, step, add_steps, step_states, state_of, local_emr, action, next_step, cluster
):
    """``ActionOnFailure`` [botocore: StepConfig]."""
    add_steps(ready, step("--exit", "1", on_failure=action), step())
    local_emr.clock.advance(300)
    assert step_states(ready) == ["FAILED", next_step]
    assert state_of(ready) == cluster


def test_a_protected_cluster_survives_a_failed_step(start_cluster, step, add_steps, step_states, state_of, local_emr):
    """Protection also holds "in the event of a job-flow error" [botocore: SetTerminationProtection]."""
    job_flow_id = start_cluster(instances={"TerminationProtected": True})
    add_steps(job_flow_id, step("--exit", "1", on_failure="TERMINATE_CLUSTER"), step())
    local_emr.clock.advance(600)
    assert step_states(job_flow_id) == ["FAILED", "CANCELLED"]
    assert state_of(job_flow_id) == "WAITING"


def test_pending_and_running_steps_are_cancelled_and_ended_ones_are_not(
    emr, ready, step, add_steps, step_states, local_emr
):
    """``CancelStepsInfoList`` with SUBMITTED or FAILED [botocore: CancelSteps]."""
    done, running, pending = add_steps(ready, step("--sleep", "10"), step("--sleep", "900"), step())
    local_emr.clock.advance(20)
    answer = emr.cancel_steps(
        ClusterId=ready, StepIds=[done, running, pending], StepCancellationOption="TERMINATE_PROCESS"
    )
    statuses = [info["Status"] for info in answer["CancelStepsInfoList"]]
    assert statuses == ["FAILED", "SUBMITTED", "SUBMITTED"]
    assert step_states(ready) == ["COMPLETED", "CANCELLED", "CANCELLED"]


def test_a_running_step_is_cancelled_only_when_nothing_of_it_runs(
    emr, ready, step, add_steps, step_states, local_emr, monkeypatch
):
    """CANCEL_PENDING comes in between [botocore: StepState]."""
    ended = []
    monkeypatch.setattr(local_emr.step_runner, "cancel", ended.append)
    [step_id] = add_steps(ready, step("--sleep", "900"))
    emr.cancel_steps(ClusterId=ready, StepIds=[step_id])
    assert ended == [step_id]
    assert step_states(ready) == ["CANCEL_PENDING"]
    local_emr.clock.advance(900)
    assert step_states(ready) == ["CANCELLED"]


def test_a_terminated_cluster_cancels_its_steps_at_once(emr, ready, step, add_steps, step_states):
    add_steps(ready, step("--sleep", "900"), step())
    emr.terminate_job_flows(JobFlowIds=[ready])
    assert step_states(ready) == ["CANCELLED", "CANCELLED"]


def test_an_ending_cluster_takes_no_steps(emr, ready, step, add_steps, refused):
    """[docs: EMR API, AddJobFlowSteps: STARTING, BOOTSTRAPPING, RUNNING or WAITING only]."""
    emr.terminate_job_flows(JobFlowIds=[ready])
    with refused("ValidationException"):
        add_steps(ready, step())


def test_a_cluster_takes_256_steps_at_most(ready, step, add_steps, refused):
    """[botocore: AddJobFlowSteps, "A maximum of 256 steps are allowed in each job flow"]."""
    add_steps(ready, *[step() for _ in range(200)])
    with refused("ValidationException"):
        add_steps(ready, *[step() for _ in range(57)])


def test_steps_are_listed_by_id_ten_at_most_or_by_state(emr, ready, step, add_steps, refused):
    """ "You can specify up to 10 Step IDs" [botocore: ListSteps]."""
    ids = add_steps(ready, *[step("--sleep", "900") for _ in range(11)])
    found = emr.list_steps(ClusterId=ready, StepIds=ids[:2])["Steps"]
    assert [entry["Id"] for entry in found] == [ids[1], ids[0]]
    assert len(emr.list_steps(ClusterId=ready, StepStates=["RUNNING"])["Steps"]) == 1
    with refused("InvalidRequestException"):
        emr.list_steps(ClusterId=ready, StepIds=ids)
    with refused("InvalidRequestException"):
        emr.list_steps(ClusterId=ready, StepIds=ids[:1], StepStates=["RUNNING"])


def test_every_state_of_a_step_is_an_event(ready, step, add_steps, local_emr):
    add_steps(ready, step("--sleep", "10"))
    local_emr.clock.advance(10)
    assert [e["state"] for e in local_emr.events.read(kind="step")] == ["PENDING", "RUNNING", "COMPLETED"]
