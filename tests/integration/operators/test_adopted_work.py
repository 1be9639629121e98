"""An older try that wakes up, or ends late, leaves the steps and the batch that a newer try has adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.aws.tags import ADOPTERS_TAG, tags_of
from airflow_eip_provider.hooks.emr import EmrClusterHook
from harness.life import Task
from tests.integration.operators.aws_state import step_states

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def job_flow_id(clocked: Any, create_operator: Any, store: str | None) -> str:
    """A cluster that has the address, with and without a lease."""
    created: str = Task(create_operator(lock_store=store)).run()
    clocked.clock.advance(600)
    return created


@pytest.fixture
def steps_task(steps_operator: Any, job_flow_id: str, store: str | None, step: Any) -> Callable[..., Task]:
    """Make a try of a steps task; a deferral stands for the wait in a worker, which a test can stop there."""

    def make(try_number: int, *, task_id: str = "steps", **parameters: Any) -> Task:
        given = {"lock_store": store, "deferrable": True, "retries": 2, "steps": [step("--sleep", "900")]}
        operator = steps_operator(job_flow_id, task_id=task_id, **{**given, **parameters})
        return Task(operator, try_number=try_number, max_tries=2)

    return make


@pytest.fixture
def adopted(clocked: Any, steps_task: Any) -> tuple[Task, Task]:
    """A try whose process is suspended, and the newer try that watches its step."""
    old, new = steps_task(1), steps_task(2)
    old.start()
    clocked.clock.advance(120)
    new.start()
    assert new.ti.xcoms["step_ids"] == old.ti.xcoms["step_ids"]
    return old, new


def adopters(emr: Any, job_flow_id: str) -> str | None:
    return tags_of(emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Tags"]).get(ADOPTERS_TAG)


def test_a_suspended_try_that_is_killed_leaves_the_steps_that_its_retry_adopted(adopted, job_flow_id, emr):
    old, new = adopted
    old.operator.on_kill()
    assert step_states(emr, job_flow_id) == ["RUNNING"]
    new.go_on()
    assert new.error is None
    assert step_states(emr, job_flow_id) == ["COMPLETED"]


def test_a_suspended_try_whose_wait_has_timed_out_leaves_them_too(adopted, job_flow_id, emr):
    old, new = adopted
    old.fail_deferral()
    assert step_states(emr, job_flow_id) == ["RUNNING"]
    new.go_on()
    assert new.error is None


def test_the_try_that_adopted_them_cancels_them(adopted, job_flow_id, emr):
    _, new = adopted
    new.operator.on_kill()
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_a_later_try_cancels_what_an_earlier_one_adopted(clocked, adopted, steps_task, job_flow_id, emr):
    last = steps_task(3)
    last.start()
    for older in adopted:
        older.operator.on_kill()
    assert step_states(emr, job_flow_id) == ["RUNNING"]
    last.operator.on_kill()
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


@pytest.mark.parametrize("kind", ["error", "throttle"])
def test_the_steps_are_cancelled_at_once_when_the_tags_cannot_be_read(clocked, adopted, job_flow_id, emr, kind):
    old, _ = adopted
    before = clocked.events.last
    clocked.faults.add(operation="DescribeCluster", kind=kind, times=1)
    old.operator.on_kill()
    calls = [event["operation"] for event in clocked.events.read(after=before, kind="call")]
    assert calls == ["DescribeCluster", "CancelSteps"], "time is short after a kill"
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_an_adoption_continues_when_it_may_not_set_the_tag(clocked, steps_task, job_flow_id, emr, logged):
    steps_task(1).start()
    clocked.faults.add(
        operation="AddTags", kind="error", code="AccessDeniedException", message="not authorized", status=400, times=1
    )
    new = steps_task(2)
    new.run()
    assert step_states(emr, job_flow_id) == ["COMPLETED"]
    assert "not authorized" in logged()
    assert adopters(emr, job_flow_id) is None


def test_the_tasks_of_a_cluster_share_one_tag(clocked, steps_task, job_flow_id, emr):
    names = ["first", "second"]
    old = {name: steps_task(1, task_id=name) for name in names}
    for task in old.values():
        task.start()
    for name in names:
        steps_task(2, task_id=name).start()
    old["first"].operator.on_kill()
    old["second"].operator.on_kill()
    assert "CANCELLED" not in step_states(emr, job_flow_id)
    assert len((adopters(emr, job_flow_id) or "").split()) == len(names)


def test_a_first_try_sets_no_tag(steps_task, job_flow_id, emr):
    steps_task(1).start()
    assert adopters(emr, job_flow_id) is None


def test_a_suspended_try_cancels_its_own_steps_when_the_retry_has_submitted_others(
    steps_task, job_flow_id, emr, monkeypatch
):
    """It slept before it sent AddJobFlowSteps, so the retry found nothing to adopt."""
    old, new = steps_task(1), steps_task(2)
    submit, late = EmrClusterHook.submit_steps, [new.start]

    def submit_steps(self: Any, *args: Any, **options: Any) -> Any:
        if late:
            late.pop()()
        return submit(self, *args, **options)

    monkeypatch.setattr(EmrClusterHook, "submit_steps", submit_steps)
    old.start()
    old.operator.on_kill()
    assert sorted(step_states(emr, job_flow_id)) == ["CANCELLED", "RUNNING"]


def test_a_suspended_try_that_is_killed_leaves_the_batch_that_its_retry_adopted(
    clocked, create_operator, overrides, allocation_id, store, monkeypatch
):
    pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")
    from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator  # noqa: PLC0415 - needs the extra

    monkeypatch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", '{"conn_type": "livy", "host": "nlb.invalid", "port": 8998}')
    overrides["Applications"] = [{"Name": "Spark"}, {"Name": "Livy"}]
    job_flow_id = Task(create_operator(lock_store=store)).run()
    clocked.clock.advance(600)

    def batch(try_number: int) -> Task:
        operator = LivyBatchWithStaticIpOperator(
            task_id="batch",
            file="s3://code/job.py",
            args=["--sleep", "900"],
            allocation_id=allocation_id,
            job_flow_id=job_flow_id,
            lock_store=store,
            aws_conn_id=None,
            polling_interval=15,
            deferrable=True,
            retries=1,
        )
        return Task(operator, try_number=try_number, max_tries=1)

    old, new = batch(1), batch(2)
    old.start()
    clocked.clock.advance(120)
    new.start()
    assert new.ti.xcoms["batch_name"] == old.ti.xcoms["batch_name"]
    old.operator.on_kill()
    new.go_on()
    assert new.error is None
