"""LivyBatchWithStaticIpOperator on the local EMR: the fence of a batch, and the source of its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import InvalidInputError, LockStoreUnavailableError, SubmissionCancelledError
from airflow_eip_provider.hooks.livy import LivyBatchHook
from airflow_eip_provider.operators.eip import EipReleaseOperator
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.operators.emr.fence import Fence
from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator
from harness.life import Task, on_clock
from local_emr import LocalAws, ManualClock
from local_emr.steps import ProcessStepRunner
from local_emr.testing import client_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JOB = """
import os, sys, urllib.request
print("seen from", urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/my-ip").read().decode())
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def livy_overrides(overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", '{"conn_type": "livy", "host": "nlb.invalid", "port": 8998}')
    return {**overrides, "Applications": [{"Name": "Spark"}, {"Name": "Livy"}]}


@pytest.fixture
def job_flow_id(clocked: Any, create_operator: Any, livy_overrides: dict[str, Any]) -> str:
    """A cluster with Livy that has the address, without a lock store."""
    created: str = Task(create_operator(job_flow_overrides=livy_overrides)).run()
    clocked.clock.advance(600)
    return created


@pytest.fixture
def leased_id(clocked: Any, create_operator: Any, livy_overrides: dict[str, Any], lock_store: str) -> str:
    """The same, with a lease."""
    created: str = Task(create_operator(job_flow_overrides=livy_overrides, lock_store=lock_store)).run()
    clocked.clock.advance(600)
    return created


@pytest.fixture
def operator(allocation_id: str) -> Callable[..., LivyBatchWithStaticIpOperator]:
    def make(job_flow_id: str, *args: str, **parameters: Any) -> LivyBatchWithStaticIpOperator:
        given = {
            "file": "s3://code/job.py",
            "args": list(args) or ["--sleep", "60"],
            "allocation_id": allocation_id,
            "job_flow_id": job_flow_id,
            "aws_conn_id": None,
            "polling_interval": 15,
            **parameters,
        }
        return LivyBatchWithStaticIpOperator(task_id="batch", **given)

    return make


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("polling_interval", "abc"),
        ("polling_interval", float("nan")),
        ("polling_interval", "0"),
        ("extra_headers", 1),
        ("extra_headers", "S3cr3t"),
        ("extra_options", 1),
        ("retry_args", ["a"]),
        ("deferrable", "False"),
    ],
)
def test_parameters_of_a_wrong_type_are_refused(clocked, operator, name, value):
    with pytest.raises(AirflowFailException, match=f"checking {name}") as error:
        Task(operator("j-1", **{name: value})).run()
    assert "S3cr3t" not in str(error.value)


@pytest.fixture
def while_posting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Call a function once between the check of the fence and the POST."""
    submit = LivyBatchHook.submit

    def plan(happen: Callable[[], Any]) -> None:
        left = [happen]

        def submit_then(self: Any, *args: Any) -> Any:
            if left:
                left.pop()()
            return submit(self, *args)

        monkeypatch.setattr(LivyBatchHook, "submit", submit_then)

    return plan


@pytest.fixture
def release(allocation_id: str) -> Callable[..., Any]:
    def run(job_flow_id: str, **parameters: Any) -> Any:
        given = {"allocation_id": allocation_id, "job_flow_id": job_flow_id, "aws_conn_id": None, **parameters}
        return Task(EipReleaseOperator(task_id="release", **given), dag_id="release").run()

    return run


def ends(aws: Any) -> list[str]:
    """Return the states of all batches, in order."""
    return [event["state"] for event in aws.events.read(kind="batch")]


def free_address(ec2: Any) -> None:
    ec2.disassociate_address(AssociationId=ec2.describe_addresses()["Addresses"][0]["AssociationId"])


def test_a_fenced_batch_runs_on_the_livy_of_its_cluster(clocked, leased_id, lock_store, operator, deferrable):
    """The host of the connection does not exist, so it is not used."""
    task = Task(operator(leased_id, lock_store=lock_store, deferrable=deferrable))
    assert task.run() == 0
    assert ends(clocked) == ["starting", "running", "success"]
    primary = clocked.cluster(leased_id).primary
    assert task.ti.xcoms["livy_server"] == f"http://{primary.private_ip_address}:8998"
    assert task.ti.xcoms["app_id"].startswith("application_")


def test_it_waits_for_a_starting_cluster(clocked, create_operator, livy_overrides, operator, deferrable):
    """The creating task returns when the address is bound, minutes before Livy answers."""
    created = Task(create_operator(job_flow_overrides=livy_overrides)).run()
    assert clocked.cluster(created).state in {"STARTING", "BOOTSTRAPPING"}
    task = Task(operator(created, deferrable=deferrable))
    assert task.run() == 0
    assert ends(clocked) == ["starting", "running", "success"]
    assert task.deferrals == (["EmrClusterTrigger", "LivyBatchTrigger"] if deferrable else [])


def test_a_cluster_that_ends_during_its_start_fails_the_task(clocked, create_operator, livy_overrides, operator, emr):
    created = Task(create_operator(job_flow_overrides=livy_overrides)).run()
    task = Task(operator(created, deferrable=True))
    task.start()
    emr.terminate_job_flows(JobFlowIds=[created])
    task.go_on()
    assert isinstance(task.error, AirflowFailException)
    assert ends(clocked) == []


def test_without_the_address_on_the_cluster_nothing_is_posted(clocked, job_flow_id, operator, ec2):
    free_address(ec2)
    with pytest.raises(AirflowFailException, match=r"submitting Livy batches to cluster .* is not associated"):
        Task(operator(job_flow_id)).run()
    assert ends(clocked) == []


def test_a_release_during_the_post_deletes_the_batch_at_once(
    clocked, leased_id, lock_store, operator, release, while_posting, deferrable
):
    while_posting(lambda: release(leased_id, lock_store=lock_store))
    task = Task(operator(leased_id, "--sleep", "900", lock_store=lock_store, deferrable=deferrable))
    with pytest.raises(AirflowFailException, match="cancelled the submitted Livy batches: batch-eip"):
        task.run()
    assert ends(clocked) == ["starting", "killed", "forgotten"]
    assert task.deferrals == []


def test_a_second_check_without_an_answer_is_repeated_without_another_post(
    clocked, job_flow_id, operator, release, while_posting, monkeypatch
):
    check, left = Fence.lost_since, [LockStoreUnavailableError("s3://leases", problem="503")]

    def unanswered_once(self: Any, **known: Any) -> Any:
        if left:
            raise left.pop()
        return check(self, **known)

    monkeypatch.setattr(Fence, "lost_since", unanswered_once)
    while_posting(lambda: release(job_flow_id))
    with pytest.raises(AirflowFailException, match="is not associated"):
        Task(operator(job_flow_id, "--sleep", "900")).run()
    assert ends(clocked).count("starting") == 1
    assert ends(clocked)[-2:] == ["killed", "forgotten"]


def test_without_a_lock_store_the_address_decides_after_the_post(
    clocked, job_flow_id, operator, release, while_posting, deferrable
):
    while_posting(lambda: release(job_flow_id))
    with pytest.raises(
        SubmissionCancelledError, match="left the cluster meanwhile and is now not associated; cancelled"
    ):
        Task(operator(job_flow_id, "--sleep", "900", deferrable=deferrable)).run()
    assert ends(clocked) == ["starting", "running", "killed", "forgotten"]


def test_a_running_batch_is_deleted_when_the_address_leaves(clocked, job_flow_id, operator, ec2, allocation_id):
    task = Task(operator(job_flow_id, "--sleep", "9000", deferrable=True))
    task.start()
    clocked.clock.advance(300)
    clocked.steal(allocation_id)
    task.go_on()
    assert isinstance(task.error, AirflowFailException)
    assert "it left the cluster and is now on instance" in str(task.error)
    assert "deleted the Livy batch that still needed it: batch-eip-" in str(task.error)
    assert ends(clocked)[-2:] == ["killed", "forgotten"]


@pytest.fixture
def told(clocked: Any) -> Callable[..., None]:
    """A notifier that records its facts, and the states of the batches at that time."""
    facts: list[tuple[dict[str, Any], list[str]]] = []

    def tell(context: Any) -> None:
        facts.append((context["eip"], ends(clocked)))

    tell.facts = facts  # type: ignore[attr-defined]
    return tell


def test_a_lost_address_is_notified_once_after_the_batch_is_deleted(
    clocked, create_operator, livy_overrides, store, operator, told, allocation_id, deferrable
):
    cluster = Task(create_operator(job_flow_overrides=livy_overrides, lock_store=store)).run()
    clocked.clock.advance(600)
    clocked.clock.call_later(300, lambda: clocked.steal(allocation_id), name="the address is stolen")
    given = {"lock_store": store, "deferrable": deferrable, "on_lost": told}
    with pytest.raises(AirflowFailException):
        Task(operator(cluster, "--sleep", "9000", **given)).run()
    ((facts, states),) = told.facts
    assert (facts["event"], facts["allocation_id"]) == ("lost", allocation_id)
    assert "it left the cluster and is now on instance" in facts["message"]
    assert states[-2:] == ["killed", "forgotten"]


def test_a_lost_lease_is_notified_once(
    clocked, leased_id, lock_store, operator, release, while_posting, told, deferrable
):
    while_posting(lambda: release(leased_id, lock_store=lock_store))
    given = {"lock_store": lock_store, "deferrable": deferrable, "on_lost": told}
    with pytest.raises(AirflowFailException):
        Task(operator(leased_id, "--sleep", "900", **given)).run()
    ((facts, states),) = told.facts
    assert "cancelled the submitted Livy batches" in facts["message"]
    assert states == ["starting", "killed", "forgotten"]


def test_a_missing_address_before_the_post_is_notified_once(clocked, job_flow_id, operator, ec2, told, deferrable):
    free_address(ec2)
    with pytest.raises(AirflowFailException):
        Task(operator(job_flow_id, deferrable=deferrable, on_lost=told)).run()
    assert [(facts["event"], states) for facts, states in told.facts] == [("lost", [])]


@pytest.mark.parametrize(("remembered", "calls"), [({}, 1), (None, 2)], ids=["Airflow 3.3", "before"])
def test_a_retry_notifies_of_a_loss_again_only_before_airflow_3_3(
    clocked, job_flow_id, operator, ec2, while_posting, allocation_id, told, remembered, calls
):
    interface = ec2.describe_addresses()["Addresses"][0]["NetworkInterfaceId"]
    for try_number in (1, 2):
        while_posting(lambda: free_address(ec2))
        batch = operator(job_flow_id, "--sleep", "900", deferrable=True, retries=1, on_lost=told)
        with pytest.raises(SubmissionCancelledError):
            Task(batch, try_number=try_number, remembered=remembered).run()
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface)
        clocked.clock.advance(300)
    assert len(told.facts) == calls


def test_a_batch_that_fails_for_another_reason_is_not_notified(clocked, job_flow_id, operator, emr, told, deferrable):
    clocked.clock.call_later(300, lambda: emr.terminate_job_flows(JobFlowIds=[job_flow_id]), name="the cluster ends")
    with pytest.raises(AirflowFailException):
        Task(operator(job_flow_id, "--sleep", "9000", deferrable=deferrable, on_lost=told)).run()
    assert told.facts == []


def test_a_wrong_notifier_is_refused(operator):
    with pytest.raises(InvalidInputError, match="on_lost 'mail'"):
        operator("j-1", on_lost="mail")


def test_an_address_that_left_before_the_end_of_the_batch_is_reported(clocked, job_flow_id, operator, ec2):
    task = Task(operator(job_flow_id, deferrable=True))
    task.start()
    clocked.clock.advance(120)
    free_address(ec2)
    task.go_on()
    assert task.result == 0
    assert task.ti.xcoms["address_left"]["place"] == "not associated"


def test_a_cluster_that_ends_fails_the_task(clocked, job_flow_id, operator, emr):
    task = Task(operator(job_flow_id, "--sleep", "9000", deferrable=True))
    task.start()
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    task.go_on()
    assert isinstance(task.error, AirflowFailException)
    assert job_flow_id in str(task.error)
    assert "TERMINATING" in str(task.error) or "TERMINATED" in str(task.error)


def test_a_kill_deletes_the_batch(clocked, job_flow_id, operator):
    task = Task(operator(job_flow_id, "--sleep", "9000", deferrable=True))
    task.start()
    killed = operator(job_flow_id, deferrable=True)
    killed.pre_execute(task.context)
    killed.on_kill()
    assert ends(clocked)[-2:] == ["killed", "forgotten"]


@pytest.mark.parametrize("trouble", ["errors", "refuses"])
def test_a_temporary_outage_of_livy_does_not_fail_the_task(clocked, job_flow_id, operator, trouble):
    task = Task(operator(job_flow_id, "--sleep", "900", deferrable=True))
    task.start()
    clocked.trouble_service(job_flow_id, "livy", trouble)
    clocked.clock.call_later(400, lambda: clocked.mend_service(job_flow_id, "livy"), name="Livy is well again")
    task.go_on()
    assert task.result == 0
    assert ends(clocked) == ["starting", "running", "success"]


def test_a_cluster_can_be_given_without_an_address(clocked, job_flow_id, operator, ec2, emr):
    free_address(ec2)
    assert Task(operator(job_flow_id, allocation_id=None)).run() == 0
    task = Task(operator(job_flow_id, "--sleep", "9000", allocation_id=None, deferrable=True))
    task.start()
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    task.go_on()
    assert isinstance(task.error, AirflowFailException)


def test_polls_of_a_fenced_batch_change_nothing_in_aws(clocked, leased_id, lock_store, operator):
    before = len(clocked.events.calls())
    Task(operator(leased_id, lock_store=lock_store, deferrable=True)).run()
    made = {event["operation"] for event in clocked.events.calls()[before:]}
    assert not {name for name in made if name.startswith(("Associate", "Disassociate", "Terminate", "Put", "Update"))}


@pytest.fixture
def running_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """A local EMR whose batches are processes; a script replaces ``spark-submit``."""

    def runner(made: LocalAws) -> ProcessStepRunner:
        return ProcessStepRunner(
            endpoint_url=lambda: made.endpoint_url, state_dir=tmp_path / "state", grace_seconds=1, views=False
        )

    with LocalAws(clock=ManualClock(), step_runner=runner) as made:
        for name, value in client_environment(made).items():
            monkeypatch.setenv(name, value)
        with on_clock(made):
            yield made


def test_the_connections_of_a_batch_come_from_the_address(running_aws, livy_job, deferrable):
    job_flow_id, batch, public_ip = livy_job
    assert Task(batch("0", deferrable=deferrable)).run() == 0
    (seen,) = running_aws.events.read(kind="connection")
    assert (seen["from_ip"], seen["job_flow_id"]) == (public_ip, job_flow_id)


@pytest.fixture
def livy_job(running_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3  # noqa: PLC0415 - slow

    monkeypatch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", '{"conn_type": "livy", "host": "nlb.invalid"}')
    ec2 = boto3.client("ec2")
    address = ec2.allocate_address(Domain="vpc")
    subnet_id = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    ec2.close()
    overrides = {
        "Name": "long",
        "ReleaseLabel": "emr-7.5.0",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "Applications": [{"Name": "Livy"}],
        "Instances": {
            "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
            "KeepJobFlowAliveWhenNoSteps": True,
            "Ec2SubnetId": subnet_id,
        },
    }
    given = {"allocation_id": address["AllocationId"], "aws_conn_id": None}
    create = EmrCreateWithStaticIpOperator(task_id="create", job_flow_overrides=overrides, emr_conn_id=None, **given)
    job_flow_id = Task(create).run()
    running_aws.clock.advance(600)
    job = tmp_path / "job.py"
    job.write_text(JOB, encoding="utf-8")
    primary = running_aws.cluster(job_flow_id).primary.id
    submit = tmp_path / "state" / "node" / primary / "python/bin/spark-submit"
    submit.parent.mkdir(parents=True)
    submit.write_text('#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift 2; done\nexec python3 "$@"\n', encoding="utf-8")
    submit.chmod(0o755)

    def batch(*args: str, **parameters: Any) -> LivyBatchWithStaticIpOperator:
        known = {"file": str(job), "args": list(args), "job_flow_id": job_flow_id, "polling_interval": 15, **given}
        return LivyBatchWithStaticIpOperator(task_id="batch", **known, **parameters)

    return job_flow_id, batch, address["PublicIp"]
