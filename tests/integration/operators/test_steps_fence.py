"""The fence of EmrAddStepsWithStaticIpOperator: check, submit, check again; and answers of AWS from the past."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws.addresses import Address
from airflow_eip_provider.exceptions import SubmissionCancelledError
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.kill_flag import KillFlag
from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator
from airflow_eip_provider.stores.uri import open_store
from harness.life import Task
from tests.integration.operators.aws_state import dynamodb_only, free_address, step_states
from tests.integration.operators.past import Past

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def leased_id(clocked: Any, create_operator: Any, lock_store: str) -> str:
    """A cluster like that of ``job_flow_id``, with a lease."""
    created: str = Task(create_operator(lock_store=lock_store)).run()
    clocked.clock.advance(600)
    return created


@pytest.fixture
def past(clocked: Any, monkeypatch: pytest.MonkeyPatch) -> Past:
    return Past(clocked, monkeypatch)


@pytest.fixture
def while_submitting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let something happen once between the check of the fence and AddJobFlowSteps."""
    submit = EmrClusterHook.submit_steps

    def plan(happen: Callable[[], Any]) -> None:
        left = [happen]

        def submit_steps(self: Any, *args: Any, **kwargs: Any) -> Any:
            if left:
                left.pop()()
            return submit(self, *args, **kwargs)

        monkeypatch.setattr(EmrClusterHook, "submit_steps", submit_steps)

    return plan


@pytest.fixture
def released(release: Any) -> Callable[..., Any]:
    """Release the address early, to the end."""
    return lambda job_flow_id, **given: Task(release(job_flow_id=job_flow_id, **given), dag_id="release").run()


def free(allocation_id: str) -> Address:
    return Address(allocation_id, "203.0.113.1", "vpc")


def test_an_early_release_while_steps_are_submitted_cancels_them_at_once_and_the_error_reports_it(
    clocked, leased_id, lock_store, steps_operator, step, released, while_submitting, deferrable, emr
):
    while_submitting(lambda: released(leased_id, lock_store=lock_store))
    operator = steps_operator(leased_id, steps=[step("--sleep", "900")], lock_store=lock_store, deferrable=deferrable)
    task = Task(operator)
    with pytest.raises(AirflowFailException) as error:
        task.run()
    assert "not leased; the lease of this cluster ended at" in str(error.value)
    assert "released early" in str(error.value)
    assert "cancelled the submitted steps" in str(error.value)
    assert "who moved it" not in str(error.value), "nobody took the address away"
    assert task.deferrals == []
    submitted, cancelled = clocked.events.calls("AddJobFlowSteps")[0], clocked.events.calls("CancelSteps")[0]
    assert cancelled["time"] == submitted["time"], "before any wait"
    assert step_states(emr, leased_id) == ["CANCELLED"]


def test_an_early_release_without_a_lock_store_has_the_steps_cancelled_after_a_second_look(
    clocked, job_flow_id, steps_operator, step, released, while_submitting, deferrable, emr
):
    while_submitting(lambda: released(job_flow_id))
    operator = steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=deferrable)
    with pytest.raises(
        SubmissionCancelledError, match="left the cluster meanwhile and is now not associated; cancelled"
    ):
        Task(operator).run()
    assert len(clocked.events.calls("CancelSteps")) == 1
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def elsewhere(allocation_id: str) -> Address:
    """The previous owner's association."""
    place = {"network_interface_id": "eni-0123", "instance_id": "i-0123456789abcdef0"}
    return Address(allocation_id, "203.0.113.1", "vpc", association_id="eipassoc-0123", **place)


def test_an_address_that_is_on_something_else_after_the_submission_has_the_steps_cancelled_after_a_second_look(
    clocked, job_flow_id, allocation_id, steps_operator, step, while_submitting, deferrable
):
    while_submitting(lambda: clocked.steal(allocation_id))
    operator = steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=deferrable)
    before = clocked.clock.now()
    with pytest.raises(SubmissionCancelledError, match="is now on instance"):
        Task(operator).run()
    assert (clocked.clock.now() - before).total_seconds() < 15
    assert len(clocked.events.calls("CancelSteps")) == 1


@pytest.mark.parametrize("when", ["right after the submission", "while they run"])
def test_a_cancellation_that_is_refused_is_repeated_for_the_steps_that_are_known(
    clocked, job_flow_id, allocation_id, steps_operator, step, while_submitting, deferrable, emr, when
):
    """The step IDs are known: ListSteps does not show the steps during that time."""

    def steal() -> None:
        clocked.steal(allocation_id)
        clocked.faults.add(operation="CancelSteps", kind="throttle", times=12)
        if when == "right after the submission":
            clocked.faults.add(operation="ListSteps", kind="stale", seconds=300, times=None)

    if when == "while they run":
        clocked.clock.call_later(120, steal, name="a thief")
    else:
        while_submitting(steal)
    operator = steps_operator(job_flow_id, steps=[step("--sleep", "9000")], deferrable=deferrable)
    with pytest.raises((AirflowFailException, SubmissionCancelledError), match="is now on instance"):
        Task(operator).run()
    clocked.faults.clear()
    submitted = clocked.events.calls("AddJobFlowSteps")
    cancelled = clocked.events.calls("CancelSteps")
    assert len(submitted) == 1
    assert len(cancelled) >= 13
    assert {tuple(call["request"]["StepIds"]) for call in cancelled} == {tuple(submitted[0]["response"]["StepIds"])}
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_one_stale_answer_after_the_submission_that_shows_the_previous_owner_cancels_nothing(
    clocked, job_flow_id, allocation_id, steps_operator, step, past, while_submitting, deferrable, emr
):
    while_submitting(lambda: past.show_address(elsewhere(allocation_id), seconds=5))
    operator = steps_operator(job_flow_id, steps=[step("--sleep", "300")], deferrable=deferrable)
    Task(operator).run()
    assert past.stale_answers == 1
    assert step_states(emr, job_flow_id) == ["COMPLETED"]


@pytest.mark.parametrize("seconds", [8, 20], ids=["one look", "two looks"])
def test_stale_answers_in_the_first_minute_that_show_the_previous_owner_cancel_nothing(
    clocked, job_flow_id, allocation_id, steps_operator, step, past, deferrable, emr, seconds
):
    """The first poll shows the binding; the next answers come from a replica that lags."""
    operator = steps_operator(job_flow_id, steps=[step("--sleep", "300")], deferrable=deferrable)
    past.show_address(elsewhere(allocation_id), seconds=seconds, after=26)
    Task(operator).run()
    assert past.stale_answers >= 1
    assert step_states(emr, job_flow_id) == ["COMPLETED"]


@dynamodb_only
def test_a_store_that_fails_after_the_submission_leaves_the_decision_to_the_address(
    clocked, leased_id, lock_store, steps_operator, step, released, while_submitting, leased, deferrable
):
    def go_to_another() -> None:
        released(leased_id, lock_store=lock_store)
        leased("other").run()
        clocked.faults.add(operation="GetItem", kind="error", status=500, times=10_000)

    while_submitting(go_to_another)
    given = {"steps": [step("--sleep", "900")], "lock_store": lock_store, "deferrable": deferrable}
    with pytest.raises(SubmissionCancelledError, match=r"is now on .*other"):
        Task(steps_operator(leased_id, **given)).run()
    submitted, cancelled = clocked.events.calls("AddJobFlowSteps")[0], clocked.events.calls("CancelSteps")[0]
    waited = datetime.fromisoformat(cancelled["time"]) - datetime.fromisoformat(submitted["time"])
    assert waited.total_seconds() < 60


def test_with_an_active_lease_stale_answers_after_the_submission_cancel_nothing(
    clocked, leased_id, lock_store, allocation_id, steps_operator, step, past, while_submitting, deferrable, emr
):
    while_submitting(lambda: past.show_address(elsewhere(allocation_id), seconds=40))
    given = {"steps": [step("--sleep", "300")], "lock_store": lock_store}
    Task(steps_operator(leased_id, deferrable=deferrable, **given)).run()
    assert past.stale_answers >= 1
    assert step_states(emr, leased_id) == ["COMPLETED"]


def test_steps_of_an_earlier_try_are_cancelled_when_the_retry_finds_the_lease_released(
    clocked, leased_id, lock_store, steps_operator, step, while_submitting, record, emr, ec2, boto
):
    given = {"steps": [step("--sleep", "900")], "lock_store": lock_store, "deferrable": True, "retries": 2}
    Task(steps_operator(leased_id, **given)).start()
    free_address(ec2)
    _release_lease(lock_store, record, boto)
    with pytest.raises(AirflowFailException, match="not leased"):
        Task(steps_operator(leased_id, **given), try_number=2).run()
    clocked.clock.advance(60)
    assert step_states(emr, leased_id) == ["CANCELLED"]


def _release_lease(lock_store: str, record: Any, boto: Any) -> None:
    """End the lease in the record, as one would by hand."""
    kind = lock_store.split(":", maxsplit=1)[0]
    store = open_store(lock_store, lambda *_: boto(kind))
    allocation_id = boto("ec2").describe_addresses()["Addresses"][0]["AllocationId"]
    seen = store.read(allocation_id)
    store.write(allocation_id, replace(seen.record, lease=None), expected_version=seen.version)


@pytest.mark.parametrize("stays", [False, True], ids=["the address leaves", "the address stays"])
def test_steps_are_cancelled_when_their_lease_is_gone_and_the_error_does_not_speak_of_a_theft(
    clocked, leased_id, lock_store, steps_operator, step, deferrable, record, boto, emr, ec2, stays
):
    """The address stays on a permanent NAT gateway, for example."""

    def end() -> None:
        _release_lease(lock_store, record, boto)
        if not stays:
            free_address(ec2)

    clocked.clock.call_later(120, end, name="somebody ends the lease")
    operator = steps_operator(leased_id, steps=[step("--sleep", "900")], lock_store=lock_store, deferrable=deferrable)
    with pytest.raises(AirflowFailException, match="not leased; cancelled the steps that still needed it"):
        Task(operator).run()
    clocked.clock.advance(60)
    assert step_states(emr, leased_id) == ["CANCELLED"]


@dynamodb_only
def test_a_lock_store_that_gives_no_answer_while_steps_run_cancels_nothing(
    clocked, leased_id, lock_store, steps_operator, step, deferrable, emr
):
    def go_away() -> None:
        clocked.faults.add(operation="GetItem", kind="error", status=500, times=10_000)

    clocked.clock.call_later(60, go_away, name="an outage")
    given = {"steps": [step("--sleep", "200")], "lock_store": lock_store, "deferrable": deferrable}
    Task(steps_operator(leased_id, **given)).run()
    assert step_states(emr, leased_id) == ["COMPLETED"]


def test_steps_are_submitted_once_ec2_shows_the_binding_that_was_made_just_before(
    clocked, job_flow_id, allocation_id, steps_operator, past, deferrable, emr
):
    past.show_address(free(allocation_id), seconds=25)
    assert len(Task(steps_operator(job_flow_id, deferrable=deferrable)).run()) == 1
    assert past.stale_answers == 3
    assert step_states(emr, job_flow_id) == ["COMPLETED"]


def test_a_stale_answer_while_steps_run_cancels_nothing(
    clocked, job_flow_id, allocation_id, steps_operator, step, past, deferrable, emr
):
    operator = steps_operator(job_flow_id, steps=[step("--sleep", "300")], deferrable=deferrable)
    past.show_address(free(allocation_id), seconds=16, after=20)
    past.show_address(free(allocation_id), seconds=10, after=150)
    Task(operator).run()
    assert past.stale_answers >= 2
    assert step_states(emr, job_flow_id) == ["COMPLETED"]
    assert clocked.events.calls("CancelSteps") == []


def test_an_address_that_is_away_for_two_looks_has_the_steps_cancelled(
    clocked, job_flow_id, steps_operator, step, deferrable, ec2, emr
):
    clocked.clock.call_later(120, lambda: free_address(ec2), name="somebody takes the address off")
    operator = steps_operator(job_flow_id, steps=[step("--sleep", "900")], deferrable=deferrable)
    start = clocked.clock.now()
    with pytest.raises(AirflowFailException, match="is now not associated"):
        Task(operator).run()
    assert 120 + 10 <= (clocked.clock.now() - start).total_seconds() <= 120 + 60
    clocked.clock.advance(60)
    assert step_states(emr, job_flow_id) == ["CANCELLED"]


def test_steps_whose_answer_was_lost_run_once_although_list_steps_shows_them_late(
    clocked, job_flow_id, steps_operator, past, deferrable, emr
):
    clocked.faults.add(operation="AddJobFlowSteps", kind="lost_response")
    past.hide_steps(seconds=55)
    assert len(Task(steps_operator(job_flow_id, deferrable=deferrable)).run()) == 1
    assert past.stale_answers > 1
    assert step_states(emr, job_flow_id) == ["COMPLETED"]


@pytest.mark.parametrize("max_tries", [2, 3], ids=["a retry", "after a clear"])
def test_a_new_try_waits_for_steps_of_a_lost_one_that_list_steps_does_not_show_yet(
    clocked, job_flow_id, steps_operator, step, past, deferrable, max_tries
):
    given = {"steps": [step("--sleep", "900")], "retries": 2}
    lost = Task(steps_operator(job_flow_id, deferrable=True, **given))
    lost.start()
    past.hide_steps(seconds=45)
    again = Task(steps_operator(job_flow_id, deferrable=deferrable, **given), try_number=2, max_tries=max_tries)
    assert again.run() == lost.ti.xcoms["step_ids"]
    assert len(clocked.events.calls("AddJobFlowSteps")) == 1


@dynamodb_only
def test_a_retry_that_paused_checks_the_fence_again_before_it_submits(
    clocked, leased_id, lock_store, steps_operator, step, released, deferrable, monkeypatch
):
    """The address is released while the retry waits for steps that ListSteps may show late."""
    given = {"steps": [step("--sleep", "900")], "retries": 2, "lock_store": lock_store, "deferrable": deferrable}
    operator = steps_operator(leased_id, **given)
    pause, left = KillFlag.pause, [True]

    def pause_and_release(self: KillFlag, seconds: float) -> None:
        if left:
            left.pop()
            released(leased_id, lock_store=lock_store)
        pause(self, seconds)

    monkeypatch.setattr(KillFlag, "pause", pause_and_release)
    with pytest.raises(AirflowFailException, match="not leased"):
        Task(operator, try_number=2).run()
    assert clocked.events.calls("AddJobFlowSteps") == []


def test_a_retry_after_steps_that_failed_does_not_wait(clocked, job_flow_id, steps_operator, step):
    Task(steps_operator(job_flow_id, steps=[step("--exit", "1")], retries=2)).start()
    before = clocked.clock.now()
    Task(steps_operator(job_flow_id, retries=2, deferrable=True), try_number=2).start()
    assert clocked.clock.now() == before


def test_a_refused_submission_is_repeated_without_the_wait_for_late_steps(clocked, job_flow_id, steps_operator):
    clocked.faults.add(operation="AddJobFlowSteps", kind="throttle")
    before = clocked.clock.now()
    Task(steps_operator(job_flow_id, deferrable=True)).start()
    assert (clocked.clock.now() - before).total_seconds() < 30
    assert len(clocked.events.calls("AddJobFlowSteps")) == 2


def test_a_step_that_is_found_ended_when_the_address_is_away_is_a_warning_in_the_log_and_in_an_xcom(
    clocked, job_flow_id, allocation_id, steps_operator, step, deferrable, ec2, logged
):
    given = [step(name="before"), step("--sleep", "103")]
    # Looks at 100 s, when the second step runs, and at 200 s, when it has ended.
    task = Task(steps_operator(job_flow_id, steps=given, waiter_delay=100, deferrable=deferrable))
    clocked.clock.call_later(109, lambda: free_address(ec2), name="somebody takes the address off")
    step_ids = task.run()
    left = task.ti.xcoms["address_left"]
    assert left == {
        "allocation_id": allocation_id,
        "job_flow_id": job_flow_id,
        "place": "not associated",
        "step_ids": step_ids[1:],
    }
    assert json.loads(json.dumps(left)) == left
    assert f"before these steps were seen to end: {step_ids[1]}" in logged()


def test_steps_that_ended_before_their_lease_was_released_are_no_warning(
    clocked, leased_id, lock_store, steps_operator, step, deferrable, released, logged
):
    given = {"steps": [step("--sleep", "103")], "lock_store": lock_store, "deferrable": deferrable}
    # Looks at 100 s, when the step runs, and at 200 s, when it has ended and the address was released.
    task = Task(steps_operator(leased_id, waiter_delay=100, **given))
    clocked.clock.call_later(170, lambda: released(leased_id, lock_store=lock_store), name="an early release")
    assert len(task.run()) == 1
    assert "address_left" not in task.ti.xcoms
    assert "was released when the steps had ended" in logged()


def test_a_stale_answer_when_the_steps_have_ended_is_no_warning(
    clocked, job_flow_id, allocation_id, steps_operator, step, past, deferrable
):
    task = Task(steps_operator(job_flow_id, steps=[step()], deferrable=True))
    task.start()
    past.show_address(free(allocation_id), seconds=16)
    task.go_on()
    assert task.error is None
    assert "address_left" not in task.ti.xcoms


@pytest.mark.parametrize("nothing", [None, "", "None"], ids=repr)
def test_steps_for_a_cluster_whose_id_rendered_to_nothing_are_refused(clocked, steps_operator, deferrable, nothing):
    operator = steps_operator("{{ of_a_task }}", deferrable=deferrable)
    operator.job_flow_id = nothing  # as rendering does
    with pytest.raises(AirflowFailException, match=f"job_flow_id is {nothing!r}"):
        Task(operator).run()
    assert clocked.events.calls("DescribeCluster") == clocked.events.calls("AddJobFlowSteps") == []


@pytest.mark.parametrize("operator_class", [EipAssociateOperator, EipReleaseOperator])
@pytest.mark.parametrize("nothing", [None, "", "None"], ids=repr)
def test_a_target_that_rendered_to_nothing_is_refused(clocked, allocation_id, deferrable, nothing, operator_class):
    given = {"allocation_id": allocation_id, "aws_conn_id": None, "deferrable": deferrable}
    operator = operator_class(task_id="target", job_flow_id="{{ of_a_task }}", **given)
    operator.job_flow_id = nothing
    with pytest.raises(AirflowFailException, match=f"job_flow_id is {nothing!r} and instance_id is None"):
        Task(operator).run()
