"""EmrAddStepsWithStaticIpOperator: steps run only while their cluster has the address."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowTaskTimeout
from airflow_eip_provider.exceptions import StepFailedError, WaitTimeoutError
from harness.life import Task
from tests.integration.operators.aws_state import free_address, step_states


def test_steps_are_run_and_their_ids_returned_the_same_way_in_both_modes(
    clocked, job_flow_id, steps_operator, step, deferrable, emr
):
    task = Task(steps_operator(job_flow_id, steps=[step(name="one"), step(name="two")], deferrable=deferrable))
    step_ids = task.run()
    assert step_ids == task.ti.xcoms["step_ids"]
    assert len(step_ids) == 2
    assert step_states(emr, job_flow_id) == ["COMPLETED", "COMPLETED"]


def test_steps_given_as_text_are_understood(clocked, job_flow_id, steps_operator, emr):
    text = '[{"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}]'
    assert len(Task(steps_operator(job_flow_id, steps=text)).run()) == 1


@pytest.mark.parametrize("role", ["None", "", "abc", 5, "{{ role }}", "arn:aws:iam::123456789012:user/x"])
def test_a_runtime_role_that_is_none_is_refused_and_does_not_mean_the_instance_profile(
    clocked, steps_operator, role, assert_nothing_changed
):
    with pytest.raises(AirflowFailException, match="execution_role_arn"):
        Task(steps_operator("j-1", execution_role_arn=role)).run()
    assert_nothing_changed()


@pytest.mark.parametrize("states", ["WAITING", ["waiting"], [None], {"WAITING": 1}, 5])
def test_states_that_emr_does_not_have_are_refused(clocked, steps_operator, states, assert_nothing_changed):
    with pytest.raises(AirflowFailException, match="cluster_states"):
        Task(steps_operator(None, job_flow_name="daily", cluster_states=states)).run()
    assert_nothing_changed()


def test_no_step_is_submitted_to_a_cluster_without_the_address(clocked, job_flow_id, steps_operator, ec2, emr):
    free_address(ec2)
    with pytest.raises(AirflowFailException, match=f"{job_flow_id}.*is not associated"):
        Task(steps_operator(job_flow_id)).run()
    assert clocked.events.calls("AddJobFlowSteps") == []


def test_a_thief_has_the_steps_cancelled_and_the_task_fails_naming_the_new_place(
    clocked, job_flow_id, steps_operator, step, deferrable, allocation_id, emr
):
    task = Task(steps_operator(job_flow_id, steps=[step("--sleep", "3600")], deferrable=deferrable))
    thief: dict[str, str] = {}

    def steal() -> None:
        thief["instance"] = clocked.steal(allocation_id)

    clocked.clock.call_later(120, steal, name="thief")
    with pytest.raises(AirflowFailException) as error:
        task.run()
    assert thief["instance"] in str(error.value)
    assert allocation_id in str(error.value)
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_steps_run_on_while_the_triggerer_cannot_assume_the_role_for_a_while(
    clocked, job_flow_id, steps_operator, step, emr, role_conn_id
):
    task = Task(steps_operator(job_flow_id, steps=[step()], deferrable=True, aws_conn_id=role_conn_id))
    task.start()
    clocked.faults.add(operation="AssumeRole", kind="throttle", times=3)
    task.go_on()
    assert task.error is None
    assert step_states(emr, job_flow_id) == ["COMPLETED"]


def test_a_failed_step_shows_emrs_reason_and_the_tail_of_both_streams(
    clocked, job_flow_id, steps_operator, step, deferrable, emr, s3, logged
):
    s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    task = Task(steps_operator(job_flow_id, steps=[step("--exit", "1")], deferrable=deferrable))

    def archive() -> None:
        step_id = task.ti.xcoms.get("step_ids", [None])[0] or emr.list_steps(ClusterId=job_flow_id)["Steps"][0]["Id"]
        for stream, text in (("stdout", "rows: 0"), ("stderr", "error 40615")):
            key = f"emr/{job_flow_id}/steps/{step_id}/{stream}.gz"
            s3.put_object(Bucket="logs", Key=key, Body=gzip.compress(text.encode()))

    clocked.clock.call_later(200, archive, name="EMR archives the logs")
    with pytest.raises(StepFailedError, match="FAILED"):
        task.run()
    shown = logged()
    assert "rows: 0" in shown
    assert "error 40615" in shown


def test_the_execution_role_is_passed_through(clocked, job_flow_id, steps_operator):
    role = "arn:aws:iam::123456789012:role/reader"
    Task(steps_operator(job_flow_id, execution_role_arn=role)).run()
    assert clocked.events.calls("AddJobFlowSteps")[0]["request"]["ExecutionRoleArn"] == role


def test_a_retry_after_a_crash_watches_the_steps_that_still_run(clocked, job_flow_id, steps_operator, step):
    crashed = Task(steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=True))
    crashed.start()
    retry = Task(steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=True), try_number=2)
    assert retry.run() == crashed.ti.xcoms["step_ids"]
    assert len(clocked.events.calls("AddJobFlowSteps")) == 1


def test_steps_whose_submission_got_no_answer_are_found_and_not_submitted_again(
    clocked, job_flow_id, steps_operator, step, deferrable, emr
):
    clocked.faults.add(operation="AddJobFlowSteps", kind="lost_response")
    task = Task(steps_operator(job_flow_id, steps=[step(name="one"), step(name="two")], deferrable=deferrable))
    step_ids = task.run()
    assert step_ids == [step["Id"] for step in reversed(emr.list_steps(ClusterId=job_flow_id)["Steps"])]
    assert step_states(emr, job_flow_id) == ["COMPLETED", "COMPLETED"]


def test_a_throttled_submission_is_sent_again(clocked, job_flow_id, steps_operator, emr):
    clocked.faults.add(operation="AddJobFlowSteps", kind="throttle", times=2)
    assert len(Task(steps_operator(job_flow_id)).run()) == 1
    assert step_states(emr, job_flow_id) == ["COMPLETED"]


def test_a_submission_that_left_nothing_is_sent_again_after_a_pause(
    clocked, job_flow_id, steps_operator, emr, deferrable
):
    clocked.faults.add(operation="AddJobFlowSteps", kind="error", code="InternalServerError")
    assert len(Task(steps_operator(job_flow_id, deferrable=deferrable)).run()) == 1
    assert step_states(emr, job_flow_id) == ["COMPLETED"]
    refused, sent = clocked.events.calls("AddJobFlowSteps")
    assert refused["time"] < sent["time"]


def test_a_retry_takes_over_what_a_lost_process_left_completed(clocked, job_flow_id, steps_operator, emr):
    lost = Task(steps_operator(job_flow_id, deferrable=True, retries=2))
    lost.start()
    clocked.clock.advance(600)
    assert step_states(emr, job_flow_id) == ["COMPLETED"]
    retry = Task(steps_operator(job_flow_id, retries=2), try_number=2)
    assert len(retry.run()) == 1
    assert step_states(emr, job_flow_id) == ["COMPLETED"], "it does not run twice"


def test_a_cleared_task_runs_its_steps_again(clocked, job_flow_id, steps_operator, emr):
    Task(steps_operator(job_flow_id, retries=2)).run()
    cleared = Task(steps_operator(job_flow_id, retries=2), try_number=2, max_tries=3)
    cleared.run()
    assert step_states(emr, job_flow_id) == ["COMPLETED", "COMPLETED"]


def test_a_retry_runs_again_what_failed(clocked, job_flow_id, steps_operator, step, emr):
    with pytest.raises(StepFailedError):
        Task(steps_operator(job_flow_id, steps=[step("--exit", "1")], retries=2)).run()
    Task(steps_operator(job_flow_id, retries=2), try_number=2).run()
    assert sorted(step_states(emr, job_flow_id)) == ["COMPLETED", "FAILED"]


def test_a_kill_cancels_the_steps(clocked, job_flow_id, steps_operator, step, emr):
    task = Task(steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=True))
    task.start()
    killed = steps_operator(job_flow_id)
    killed.pre_execute(task.context)
    killed.on_kill()
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_steps_that_take_too_long_are_cancelled(clocked, job_flow_id, steps_operator, step, deferrable, emr):
    operator = steps_operator(
        job_flow_id, steps=[step("--sleep", "9000")], waiter_delay=15, waiter_max_attempts=4, deferrable=deferrable
    )
    with pytest.raises(WaitTimeoutError, match="waiter_max_attempts"):
        Task(operator).run()
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_steps_are_cancelled_when_their_ids_cannot_be_pushed(
    clocked, job_flow_id, steps_operator, step, deferrable, emr, monkeypatch
):
    task = Task(steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=deferrable))

    def fail(**_: Any) -> None:
        raise RuntimeError("the API server gives no answer")

    push = task.ti.xcom_push
    monkeypatch.setattr(
        task.ti, "xcom_push", lambda key, value: fail() if key in {"job_flow_id", "step_ids"} else push(key, value)
    )
    monkeypatch.setattr(task.ti, "xcom_pull", fail)
    with pytest.raises(RuntimeError, match="the API server"):
        task.run()
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_steps_whose_submission_got_no_answer_are_cancelled_by_a_timeout_although_list_steps_shows_them_late(
    clocked, job_flow_id, steps_operator, step, deferrable, emr, monkeypatch
):
    def time_out(*_: Any) -> None:
        raise AirflowTaskTimeout("execution_timeout")

    operator = steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=deferrable)
    monkeypatch.setattr(operator, "_pause_after", time_out)
    clocked.faults.add(operation="AddJobFlowSteps", kind="lost_response")
    clocked.faults.add(operation="ListSteps", kind="stale", seconds=50, times=None)
    with pytest.raises(AirflowTaskTimeout):
        Task(operator).run()
    clocked.faults.clear()
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_steps_are_cancelled_while_list_steps_is_throttled(clocked, job_flow_id, steps_operator, step, emr):
    task = Task(steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=True))
    task.start()
    clocked.faults.add(operation="ListSteps", kind="throttle", times=10_000)
    task.fail_deferral()
    clocked.faults.clear()
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_a_retry_that_is_refused_cancels_the_steps_of_the_try_before_it(
    clocked, job_flow_id, steps_operator, step, deferrable, emr
):
    Task(steps_operator(job_flow_id, steps=[step("--sleep", "3000")], deferrable=True, retries=1)).start()
    retry = Task(steps_operator(job_flow_id, steps=[{"Name": "x"}], retries=1, deferrable=deferrable), try_number=2)
    with pytest.raises(AirflowFailException, match="steps"):
        retry.run()
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"steps": steps}, "steps") for steps in ([], "", None, "not a list", [{"Name": "no jar"}])]
    + [({"wait_for_completion": False}, "wait_for_completion")],
    ids=str,
)
def test_wrong_parameters_are_refused_before_any_changing_call(
    clocked, allocation_id, steps_operator, wrong, said, assert_nothing_changed
):
    with pytest.raises(AirflowFailException, match=said):
        Task(steps_operator("j-1", **wrong)).run()
    assert_nothing_changed()
