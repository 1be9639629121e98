"""A teardown ends what it was made for: before it reads, with throttled reads, and never by a wrong id."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws import endings
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS
from airflow_eip_provider.aws.tags import OWNER_TAG
from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator
from airflow_eip_provider.operators.owner import Owner, task_of_run
from harness.life import Task
from harness.simulated_clock import SimulatedClock
from local_emr.faults import Fault
from tests.integration.operators.aws_state import STORE, cluster_state, dynamodb_only, is_associated
from tests.unit.task_groups.conftest import make_dag

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = "j-0123456789ABC"
LOOKS = READS_LAG_SECONDS // 5 + 1  # every five seconds, until a new cluster must be known


@pytest.fixture
def job_flow_id(clocked: Any, create_operator: Any) -> str:
    return str(Task(create_operator()).run())


@pytest.fixture
def throttle(clocked: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let EMR answer one operation so often a second, and throttle what comes between."""

    def limit(operation: str, *, per_second: float) -> None:
        take, answered = clocked.faults.take, [0.0]

        def take_or_throttle(called: str) -> Fault | None:
            now = clocked.clock.now().timestamp()
            if called != operation:
                return take(called)
            if now - answered[0] < 1 / per_second:
                return Fault(operation=operation, kind="throttle")
            answered[0] = now
            return None

        monkeypatch.setattr(clocked.faults, "take", take_or_throttle)

    return limit


def test_terminate_job_flows_is_the_first_call(clocked, job_flow_id, terminate_operator, deferrable):
    clocked.events.clear()
    Task(terminate_operator(job_flow_id, deferrable=deferrable)).run()
    assert clocked.events.calls()[0]["operation"] == "TerminateJobFlows"


@pytest.mark.parametrize("first", ["answered", "throttled"])
def test_a_teardown_succeeds_while_describe_cluster_is_throttled(
    clocked, job_flow_id, terminate_operator, deferrable, throttle, ec2, emr, first
):
    throttle("DescribeCluster", per_second=0.05)
    if first == "throttled":
        cluster_state(emr, job_flow_id)
    began = clocked.clock.now()
    Task(terminate_operator(job_flow_id, deferrable=deferrable)).run()
    freed = next(e for e in clocked.events.read(kind="address") if e["change"] == "disassociated")
    assert (clocked.clock.now() - began).total_seconds() < 600
    assert not is_associated(ec2)
    assert freed["seq"] < next(e["seq"] for e in clocked.events.read(kind="cluster") if e["to"] == "TERMINATED")


@pytest.mark.parametrize("operation", ["DescribeCluster", "ListSteps", "DescribeAddresses", "DisassociateAddress"])
def test_a_call_that_is_throttled_for_minutes_is_made_again_on_its_own(
    clocked, job_flow_id, terminate_operator, deferrable, operation, ec2
):
    clocked.faults.add(operation=operation, kind="throttle", times=60)
    clocked.events.clear()
    Task(terminate_operator(job_flow_id, deferrable=deferrable)).run()
    assert not is_associated(ec2)
    assert len(clocked.events.calls("TerminateJobFlows")) == 1, "the teardown does not begin anew"


@dynamodb_only
def test_a_lock_store_that_is_down_does_not_keep_the_cluster_alive(
    clocked, create_operator, terminate_operator, deferrable, lock_store, emr, ec2
):
    job_flow_id = Task(create_operator(lock_store=lock_store)).run()
    clocked.faults.add(operation="GetItem", kind="error", status=500, times=10_000)
    with pytest.raises(Exception, match="does not respond"):
        Task(
            terminate_operator(job_flow_id, lock_store=lock_store, deferrable=deferrable, waiter_max_attempts=10)
        ).run()
    assert cluster_state(emr, job_flow_id) == "TERMINATED"
    assert not is_associated(ec2)


@dynamodb_only
def test_the_lease_is_closed_before_a_teardown_waits_for_steps(
    clocked, create_operator, terminate_operator, lock_store, record, monkeypatch
):
    job_flow_id = Task(create_operator(lock_store=lock_store)).run()
    active = SimpleNamespace(step_id="s-1", name="read", state="RUNNING")
    monkeypatch.setattr("airflow_eip_provider.aws.clusters.read_active_steps", lambda *_: [active])
    task = Task(terminate_operator(job_flow_id, lock_store=lock_store, deferrable=True))
    task.start()
    assert task.deferrals == ["EmrStepsEndedTrigger"]
    assert record().lease.phase is Phase.RELEASING


def test_a_step_that_list_steps_hides_is_ended_before_the_teardown_frees_the_address(
    clocked, job_flow_id, terminate_operator, step, deferrable, emr, ec2
):
    """TerminateJobFlows, which is sent first, cancels what a stale ListSteps does not show."""
    clocked.clock.advance(600)
    clocked.faults.add(operation="ListSteps", kind="stale", seconds=60, times=None)
    emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=[step("--sleep", "9000")])
    clocked.clock.advance(20)
    Task(terminate_operator(job_flow_id, deferrable=deferrable)).run()
    clocked.faults.clear()
    (hidden,) = emr.list_steps(ClusterId=job_flow_id)["Steps"]
    assert hidden["Status"]["State"] == "CANCELLED"
    freed = datetime.fromisoformat(clocked.events.calls("DisassociateAddress")[0]["time"])
    assert hidden["Status"]["Timeline"]["EndDateTime"].timestamp() <= freed.timestamp()


class Emr:
    """A client with configured answers that records its calls."""

    def __init__(self, *, protected: bool = False, state: str | None = "WAITING", refuses: str = "") -> None:
        self.protected, self.state, self.refuses = protected, state, refuses
        self.calls: list[str] = []

    def _error(self, code: str, status: int = 400) -> ClientError:
        return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "x")

    def terminate_job_flows(self, **_given: Any) -> None:
        self.calls.append("terminate")
        if self.refuses or self.protected or self.state is None:
            raise self._error(self.refuses or "ValidationException")

    def set_termination_protection(self, **_given: Any) -> None:
        self.calls.append("unprotect")
        if self.state in {None, "TERMINATING", "TERMINATED"}:
            raise self._error("ValidationException")
        self.protected = False

    def describe_cluster(self, **_given: Any) -> Any:
        self.calls.append("describe")
        if self.state is None:
            raise self._error("InvalidRequestException")
        return {"Cluster": {"Id": "j-1", "Name": "daily", "Status": {"State": self.state}}}


@pytest.fixture
def slept() -> Iterator[list[float]]:
    """Let pauses pass at once, and list their lengths."""
    pauses: list[float] = []
    with clock.used(SimulatedClock(lambda: sum(pauses), pauses.append)):
        yield pauses


@pytest.mark.parametrize(
    ("emr", "known", "calls"),
    [
        (Emr(), True, ["terminate"]),
        (Emr(protected=True), True, ["terminate", "unprotect", "terminate"]),
        (Emr(state="TERMINATED"), True, ["terminate"]),
        (Emr(state="TERMINATED", refuses="ValidationException"), True, ["terminate", "unprotect", "describe"]),
        (Emr(state="TERMINATING", refuses="AccessDeniedException"), True, ["terminate", "describe"]),
        (Emr(state=None), False, ["terminate", "unprotect", "describe"] * LOOKS),
        (Emr(state=None, refuses="AccessDeniedException"), False, ["terminate", "describe"] * LOOKS),
    ],
    ids=["live", "protected", "ended", "ended, refused", "denied", "unknown", "unknown, denied"],
)
def test_whatever_emr_answers_the_cluster_is_ended_or_known_to_be_unknown(slept, emr, known, calls):
    assert endings.end(emr, "j-1") is known
    assert emr.calls == calls
    assert sum(slept) == (0 if known else READS_LAG_SECONDS)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException"])
def test_a_live_cluster_that_cannot_be_terminated_is_an_error(slept, code):
    with pytest.raises(ClientError, match=code):
        endings.end(Emr(refuses=code), "j-1")


WRONG = ["daily", "{ task_instance.xcom_pull('create') }", "['j-1']", "J-1", "j-", " j-1 ", ["j-1"], 7]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_is_no_clusters_id_fails_and_is_named(clocked, terminate_operator, wrong):
    clocked.events.clear()
    with pytest.raises(AirflowFailException, match="not the ID of an EMR cluster") as failed:
        Task(terminate_operator(wrong)).run()
    assert repr(wrong) in str(failed.value)
    assert clocked.events.calls() == []


@pytest.mark.parametrize("cls", [EipReleaseOperator, EipAssociateOperator])
@pytest.mark.parametrize("parameter", ["job_flow_id", "instance_id"])
def test_so_it_does_where_the_address_is_bound_and_released(clocked, allocation_id, cls, parameter):
    given = {parameter: "daily", "allocation_id": allocation_id, "aws_conn_id": None}
    with pytest.raises(AirflowFailException, match=r"'daily'.*not the ID"):
        Task(cls(task_id="x", **given)).run()


def test_steps_refuse_what_is_no_clusters_id(clocked, steps_operator):
    with pytest.raises(AirflowFailException, match=r"'\[\]'.*not the ID"):
        Task(steps_operator("[]")).run()


def test_an_unknown_id_fails_while_a_cluster_of_the_same_run_is_there(
    clocked, create_operator, terminate_operator, deferrable, store, emr, ec2
):
    job_flow_id = Task(create_operator(lock_store=store)).run()
    with pytest.raises(AirflowFailException, match=f"{UNKNOWN}.*{job_flow_id}"):
        Task(terminate_operator(UNKNOWN, lock_store=store, deferrable=deferrable)).run()
    assert cluster_state(emr, job_flow_id) not in {"TERMINATING", "TERMINATED"}
    assert is_associated(ec2)


def test_an_unknown_id_fails_while_a_cluster_of_the_run_only_waits_for_the_address(
    clocked, create_operator, terminate_operator, emr
):
    task = Task(create_operator(deferrable=True))
    task.start()
    job_flow_id = task.ti.xcoms["job_flow_id"]
    with pytest.raises(AirflowFailException, match=job_flow_id):
        Task(terminate_operator(UNKNOWN)).run()


def test_an_unknown_id_fails_while_the_runs_lease_is_on_a_cluster_that_was_made_elsewhere(
    clocked, create_operator, terminate_operator, associate, emr, ec2, overrides
):
    elsewhere = emr.run_job_flow(**overrides)["JobFlowId"]
    Task(associate(task_id="bind", job_flow_id=elsewhere, lock_store=STORE)).run()
    with pytest.raises(AirflowFailException, match=elsewhere):
        Task(terminate_operator(UNKNOWN, lock_store=STORE)).run()


@pytest.mark.parametrize("other", [{"dag_id": "other"}, {"run_id": "run-2"}, {"run_id": "run-"}], ids=str)
def test_an_unknown_id_is_a_success_while_only_others_use_the_address(
    clocked, job_flow_id, terminate_operator, other, emr
):
    assert Task(terminate_operator(UNKNOWN), **other).run() is None
    assert cluster_state(emr, job_flow_id) not in {"TERMINATING", "TERMINATED"}


def test_a_release_of_an_unknown_id_fails_while_the_run_has_the_address(clocked, job_flow_id, release, ec2):
    with pytest.raises(AirflowFailException, match=job_flow_id):
        Task(release(job_flow_id=UNKNOWN)).run()
    assert is_associated(ec2)


@pytest.mark.parametrize("missing", [None, "", "None"])
def test_no_id_fails_while_a_cluster_of_the_run_has_the_address(clocked, job_flow_id, terminate_operator, missing):
    with pytest.raises(AirflowFailException, match=job_flow_id):
        Task(terminate_operator(missing)).run()


def test_without_an_id_one_call_is_made_when_the_address_is_free(clocked, terminate_operator):
    clocked.events.clear()
    assert Task(terminate_operator(None)).run() is None
    assert [call["operation"] for call in clocked.events.calls()] == ["DescribeAddresses"]


@pytest.mark.parametrize("run_id", ["manual__2026-01-01T00:00:00+00:00", "käse [1]", "r" * 300])
def test_the_owners_tag_is_compared_as_it_is_cut_and_cleaned(run_id):
    def context(**ti: Any) -> Any:
        task = {"dag_id": "daily", "run_id": run_id, "task_id": "create", "map_index": -1, **ti}
        return {"ti": SimpleNamespace(**task)}

    tag = Owner.of(context()).tags(allocation_id="eipalloc-1")[OWNER_TAG]
    assert task_of_run(tag, context(task_id="terminate")) is not None
    assert task_of_run(tag, context(run_id="another")) is None
    assert task_of_run(tag, context(dag_id="dail")) is None


def test_a_group_without_a_cluster_leaves_that_of_a_sibling_group_alone(
    clocked, create_operator, terminate_operator, deferrable
):
    Task(create_operator(task_id="first.create")).run()
    operator = terminate_operator(None, deferrable=deferrable)
    operator.task_id = "second.terminate"
    assert Task(operator).run() is None
    assert clocked.events.calls("TerminateJobFlows") == []


@pytest.mark.parametrize("job_flow_id", [None, "j-UNKNOWN"])
def test_a_group_does_not_overlook_its_own_cluster(
    clocked, create_operator, terminate_operator, deferrable, job_flow_id
):
    created = Task(create_operator(task_id="first.create")).run()
    operator = terminate_operator(job_flow_id, deferrable=deferrable)
    operator.task_id = "first.terminate"
    with pytest.raises(AirflowFailException, match=created):
        Task(operator).run()


@pytest.mark.parametrize(("creating", "fails"), [("create", True), ("other", False)])
def test_outside_of_groups_it_is_an_upstream_task_that_counts(
    clocked, create_operator, terminate_operator, step, steps_operator, creating, fails
):
    with make_dag("azure_daily"):
        tasks = {name: create_operator(task_id=name) for name in ("create", "other")}
        steps, terminate = steps_operator("j-1"), terminate_operator(None)
        tasks["create"].set_downstream(steps)
        steps.set_downstream(terminate)
    created = Task(tasks[creating]).run()
    teardown = Task(terminate)
    teardown.start()
    assert (teardown.error is not None and created in str(teardown.error)) is fails
