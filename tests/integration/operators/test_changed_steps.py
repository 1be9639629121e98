"""The steps of a task change in its DAG while those of an earlier try run."""

from __future__ import annotations

from typing import Any

import pytest

from harness.life import Task
from tests.integration.operators.aws_state import step_states

RETRY, CLEARED = 1, 3  # max_tries of try 2 of a task with one retry


@pytest.fixture
def steps(job_flow_id: str, steps_operator: Any) -> Any:
    """Make a steps task."""

    def make(*steps: dict[str, Any], **task: Any) -> Task:
        return Task(steps_operator(job_flow_id, steps=list(steps), deferrable=True, retries=1), **task)

    return make


def submitted(clocked: Any) -> list[list[str]]:
    calls = clocked.events.calls("AddJobFlowSteps")
    return [step["HadoopJarStep"]["Args"] for call in calls for step in call["request"]["Steps"]]


def test_a_cleared_task_runs_its_corrected_step_instead(clocked, job_flow_id, steps, step, emr):
    steps(step("--sleep", "900")).start()
    steps(step("--corrected"), try_number=2, max_tries=CLEARED).run()
    assert submitted(clocked) == [["--sleep", "900"], ["--corrected"]]
    assert sorted(step_states(emr, job_flow_id)) == ["CANCELLED", "COMPLETED"]


@pytest.mark.parametrize("max_tries", [RETRY, CLEARED], ids=["retry", "cleared"])
def test_an_added_step_is_run(clocked, job_flow_id, steps, step, emr, max_tries):
    steps(step("--sleep", "900")).start()
    both = step("--sleep", "9"), step("--write", name="write")
    assert len(steps(*both, try_number=2, max_tries=max_tries).run()) == 2
    assert sorted(step_states(emr, job_flow_id)) == ["CANCELLED", "COMPLETED", "COMPLETED"]


def test_a_cleared_task_with_the_same_step_continues_with_it(clocked, steps, step):
    first = steps(step("--sleep", "900"))
    first.start()
    assert steps(step("--sleep", "900"), try_number=2, max_tries=CLEARED).run() == first.ti.xcoms["step_ids"]
    assert len(submitted(clocked)) == 1


def test_a_retry_with_another_step_continues_with_the_old_one_and_says_so(clocked, steps, step, logged):
    """Templates, such as the present time, may differ between tries."""
    first = steps(step("--sleep", "900", "--at", "12:00"))
    first.start()
    retry = steps(step("--sleep", "900", "--at", "12:05"), try_number=2, max_tries=RETRY)
    assert retry.run() == first.ti.xcoms["step_ids"]
    assert "not those of try 1" in logged()


def test_the_properties_for_openlineage_are_no_change(clocked, job_flow_id, steps, step):
    def spark(*properties: str) -> dict[str, Any]:
        return step("spark-submit", *properties, "--sleep", "900")

    first = steps(spark("--conf", "spark.openlineage.parentRunId=1"))
    first.start()
    assert steps(spark(), try_number=2, max_tries=CLEARED).run() == first.ti.xcoms["step_ids"]
    assert len(submitted(clocked)) == 1


def test_a_refused_submission_is_not_looked_for(clocked, steps, step):
    """AddJobFlowSteps is sent once, so EMR's refusal means that there are no steps."""
    full = "Maximum number of active steps for cluster exceeded"
    refusal = {"kind": "error", "code": "ValidationException", "status": 400, "message": full, "times": None}
    clocked.faults.add(operation="AddJobFlowSteps", **refusal)
    before = clocked.clock.now()
    with pytest.raises(Exception, match=full):
        steps(step("--sleep", "9")).run()
    assert (clocked.clock.now() - before).total_seconds() < 10
