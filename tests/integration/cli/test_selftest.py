"""``airflow-eip selftest`` under the minimal policy: what it finds, what it measures, and that it always cleans up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.cli.selftest.tasks import Tasks
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.iam_policy import policy_document
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.stored_hooks import StoredHooks
from airflow_eip_provider.stores.uri import open_store
from tests.integration.cli.conftest import Said
from tests.integration.iam.stage import AIRFLOW, DENIED, DYNAMODB, configuration, staged
from tests.local_emr_process import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws
    from tests.integration.iam.stage import Stage
    from tests.local_emr_process import Served

pytestmark = pytest.mark.usefixtures("default_signals")

CLAIMS = [
    "preflight",
    "tags",
    "lease",
    "egress",
    "fenced",
    "binds-early",
    "never-steals",
    "one-launch",
    "frees-early",
    "ended",
    "free",
    "lease-history",
]
CHANGES = {"RunJobFlow", "AssociateAddress", "AddJobFlowSteps", "TerminateJobFlows", "DisassociateAddress", "PutItem"}


@pytest.fixture
def stage(served_aws: LocalAws) -> Iterator[Stage]:
    """A local EMR whose clock the command turns, and which allows what the policy for a lock store does."""
    with staged(served_aws) as made:
        made.enforce(DYNAMODB, log_uri=None, execution_roles=())
        yield made


@pytest.fixture
def selftest(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Give the command, with a lock store unless it is told otherwise."""

    def run(*arguments: str, lock_store: str = DYNAMODB, as_json: bool = True) -> Said:
        capsys.readouterr()
        given = ["--subnet-id", stage.subnet_id, "--lock-store", lock_store]
        if "--allocation-id" not in arguments:
            given += ["--allocation-id", stage.allocation_id]
        try:
            status: Any = main(["selftest", *given, *arguments, *(["--json"] if as_json else [])])
        except SystemExit as ended:
            status = ended.code
        return Said(status, *capsys.readouterr())

    return run


def results(said: Said) -> dict[str, str]:
    return {claim["claim"]: claim["result"] for claim in said.result["claims"]}


def changes(stage: Stage) -> list[str]:
    calls = [e for e in stage.aws.events.calls() if str(e["request"].get("DryRun", "")).lower() != "true"]
    return [event["operation"] for event in calls if event["operation"] in CHANGES and not event["error_code"]]


def assert_clean(stage: Stage, *, launched: int = 1) -> None:
    """Check from outside that nothing is left: no cluster, no association, no lease and no place in the queue."""
    assert stage.is_free()
    stage.aws.clock.advance(600)
    states = [cluster.state for cluster in stage.aws.emr.life.clusters]
    assert len(states) == launched
    assert set(states) <= {"TERMINATED", "TERMINATED_WITH_ERRORS"}
    record = stage.record(DYNAMODB)
    assert (record.lease, record.queue) == (None, ())


def test_everything_is_as_promised_and_nothing_is_left(stage, selftest):
    said = selftest()
    assert said.status == 0, said.err
    assert results(said) == dict.fromkeys(CLAIMS, "ok")
    assert said.result["passed"] is True
    assert said.result["error"] is None
    assert stage.refusals() == []
    assert_clean(stage)
    (ended,) = stage.record(DYNAMODB).history
    assert ended.resource_id == said.result["job_flow_id"]
    assert ended.owner.startswith("testing/airflow-eip-selftest/")
    # The command says what it saw on the wire; the other end of the wire agrees.
    sent = [event["request"]["AllowReassociation"] for event in stage.aws.events.calls("AssociateAddress")]
    assert {str(value).lower() for value in sent} == {"false"}


def test_what_it_cost_is_what_the_instance_ran(stage, selftest):
    said = selftest()
    (node,) = [node for cluster in stage.aws.emr.life.clusters for node in cluster.nodes()]
    ran = (node.ended - node.created).total_seconds()
    assert said.result["cost"]["instance_seconds"] == pytest.approx(ran, abs=1)
    assert said.result["cost"]["instance_seconds"] < said.result["plan"]["highest_cost"]["instance_seconds"]


def test_without_a_lock_store_the_rest_holds(stage, selftest):
    stage.enforce(None, log_uri=None)
    said = selftest(lock_store="none")
    assert said.status == 0, said.err
    assert results(said) == {**dict.fromkeys(CLAIMS, "ok"), "lease": "skipped", "lease-history": "skipped"}
    assert stage.refusals() == []
    assert stage.is_free()


def test_people_get_tables(selftest):
    said = selftest(as_json=False)
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].split() == ["RESULT", "PROMISE", "EVIDENCE"]
    assert sum(line.startswith("ok ") for line in lines) == len(CLAIMS)
    assert any(line.startswith("ec2 instance id after launch") for line in lines)
    assert lines[-1].startswith("cost: ")


def test_a_report_to_attach_has_neither_account_nor_address(selftest, tmp_path):
    said = selftest("--report", str(tmp_path / "report.json"))
    text = (tmp_path / "report.json").read_text()
    account, address = said.result["account"], said.result["public_ip"]
    assert address in json.dumps(said.result)
    assert account not in text
    assert address not in text
    assert json.loads(text)["measurements"] == said.result["measurements"]


# What is measured


def test_it_measures_when_the_instance_id_appears(stage, selftest):
    measured = selftest().result["measurements"]["ec2_instance_id_after_launch"]
    low, high = measured["seconds"]
    assert low <= stage.aws.durations.fulfilment <= high


def test_it_measures_how_late_addresses_are(stage, selftest):
    def go_stale() -> None:
        stage.aws.faults.add(operation="DescribeAddresses", kind="stale", seconds=20, times=8)

    stage.aws.faults.add(operation="AssociateAddress", kind="hold", times=2, seconds=0.0, during=go_stale)
    said = selftest()
    measured = said.result["measurements"]["describe_addresses_after_associate"]
    assert said.status == 0, said.err
    assert measured["stale_reads"] > 0
    assert measured["last_stale_at"] is not None


def test_it_measures_when_ec2_removes_the_address_from_a_terminated_instance(stage, selftest):
    said = selftest("--measure-drop", "--poll", "1")
    assert said.status == 0, said.err
    assert "DisassociateAddress" not in changes(stage)
    measured = said.result["measurements"]["address_after_terminate"]
    durations = stage.aws.durations
    assert measured["by"] == "EC2"
    assert measured["seconds"] == pytest.approx(durations.instance_shutdown + durations.address_drop, abs=3)
    assert results(said)["frees-early"] == "skipped"
    assert_clean(stage)


# What is not as promised


def test_an_association_that_allows_reassociation_is_found(stage, selftest, monkeypatch):
    def careless(hook: Any, *, allocation_id: str, network_interface_id: str) -> str:
        made = hook.conn.associate_address(AllocationId=allocation_id, NetworkInterfaceId=network_interface_id)
        return str(made["AssociationId"])

    monkeypatch.setattr(ElasticIpHook, "associate", careless)
    said = selftest()
    assert said.status == 3
    assert [name for name, result in results(said).items() if result == "broken"] == ["never-steals"]
    assert said.result["passed"] is False
    assert_clean(stage)


def test_a_cluster_that_does_not_leave_from_the_address_is_found(stage, selftest, monkeypatch):
    monkeypatch.setattr("airflow_eip_provider.egress_probe._SPARK", "")
    monkeypatch.setattr("airflow_eip_provider.egress_probe._UNPACK", "--exit")
    monkeypatch.setattr("airflow_eip_provider.egress_probe._packed_script", lambda: "7")
    said = selftest()
    assert said.status == 3
    assert results(said)["egress"] == "broken"
    assert_clean(stage)


def test_the_logs_of_a_failed_probe_are_read(stage, selftest, monkeypatch):
    stage.enforce(DYNAMODB, execution_roles=())
    monkeypatch.setattr("airflow_eip_provider.egress_probe._UNPACK", "--exit")
    monkeypatch.setattr("airflow_eip_provider.egress_probe._packed_script", lambda: "7")
    said = selftest("--log-uri", "s3://logs/emr/")
    assert said.status == 3
    assert stage.aws.events.calls("HeadObject")
    assert stage.refusals() == []
    assert_clean(stage)


def test_logs_are_read_with_connections_that_airflow_stores():
    # From Airflow 3.2 on, the stock hooks do not see those outside of tasks.
    (stored,) = {base for base in StoredHooks.eip_class.__bases__ if base is not ElasticIpHook}
    assert issubclass(StoredHooks.logs_class, stored)


# It refuses


def test_an_address_in_use_is_not_moved(stage, selftest):
    emr = stage.client("emr")
    other = emr.run_job_flow(**stage.overrides())["JobFlowId"]
    stage.aws.clock.advance(600)
    stage.client("ec2").associate_address(
        AllocationId=stage.allocation_id,
        NetworkInterfaceId=stage.aws.cluster(other).primary.nics[0].id,
        AllowReassociation=False,
    )
    before = changes(stage)
    said = selftest()
    assert said.status == 1
    assert f"it is on cluster '{other}'" in said.err
    assert "nothing was changed" in said.err
    assert changes(stage) == before
    assert not stage.is_free()


def test_the_lease_of_another_owner_is_not_changed(stage, selftest):
    job_flow_id = stage.create(lock_store=DYNAMODB).run()
    stage.client("ec2").disassociate_address(
        AssociationId=stage.client("ec2").describe_addresses()["Addresses"][0]["AssociationId"]
    )
    before, lease = changes(stage), stage.record(DYNAMODB).lease
    said = selftest()
    assert said.status == 1
    assert f"its lease is held by 'testing/daily/run-1/create/-1' on {job_flow_id}" in said.err
    assert changes(stage) == before
    assert stage.record(DYNAMODB).lease == lease


@pytest.mark.parametrize("lock_store", [DYNAMODB, "none"])
def test_a_job_that_gets_the_address_after_the_check_keeps_it(stage, selftest, monkeypatch, lock_store):
    daily = stage.create(lock_store=None if lock_store == "none" else lock_store)
    create = Tasks.create

    def late(tasks: Tasks) -> None:
        daily.run()
        create(tasks)

    monkeypatch.setattr(Tasks, "create", late)
    said = selftest(lock_store=lock_store)
    assert said.status == 1
    assert said.result["error"]["type"] == "AddressBusyError"
    assert [cluster.id for cluster in stage.aws.emr.life.clusters] == [daily.result]
    assert not stage.is_free()
    if lock_store != "none":
        record = stage.record(lock_store)
        assert (record.queue, record.lease.resource_id) == ((), daily.result)


def test_a_daily_job_that_starts_during_the_test_waits_for_its_end(stage, selftest):
    daily = stage.create(dag_id="daily", lock_store=DYNAMODB, deferrable=True)
    stage.aws.clock.call_later(200, daily.start, name="the daily job begins")
    said = selftest()
    assert said.status == 0, said.err
    assert daily.deferrals == ["EipLeaseTrigger"]
    stage.queue().until(lambda: daily.ended, daily)
    assert daily.error is None
    assert stage.record(DYNAMODB).lease.resource_id == daily.result


def test_a_missing_permission_that_dry_run_shows_prevents_the_launch(stage, selftest):
    stage.aws.faults.deny("AssociateAddress")
    said = selftest()
    assert said.status == 3
    assert "ec2:AssociateAddress" in said.err
    assert said.result["error"]["type"] == "PreflightError"
    assert changes(stage) == []


@pytest.mark.parametrize(("operation", "launched"), [("RunJobFlow", 0), ("AddJobFlowSteps", 1)])
def test_a_permission_that_is_missing_later_ends_clean(stage, selftest, operation, launched):
    stage.aws.faults.deny(operation)
    said = selftest()
    assert said.status == 1
    assert operation in said.err
    assert said.result["left"] == []
    assert_clean(stage, launched=launched)


def test_without_capacity_it_reports_that_and_leaves_nothing(stage, selftest):
    why = "There is not enough capacity for m5.xlarge"
    stage.aws.fail_next_cluster(state="STARTING", code="VALIDATION_ERROR", message=why)
    said = selftest()
    assert said.status == 1
    assert why in said.err
    assert said.result["left"] == []
    assert results(said)["free"] == "ok"
    assert_clean(stage)


def test_a_cluster_that_cannot_be_terminated_is_reported(stage, selftest):
    stage.aws.faults.deny("TerminateJobFlows")
    said = selftest()
    assert said.status == 1
    (line,) = [line for line in said.result["left"] if line.startswith("cluster")]
    assert f"aws emr terminate-clusters --region eu-west-1 --cluster-ids {said.result['job_flow_id']}" in line
    assert f"left behind: {line}" in said.err or line in said.out


# It is stopped


def stop(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("seconds", [7, 40, 120, 230, 260])
def test_ctrl_c_at_any_time_ends_clean(stage, selftest, seconds):
    stage.aws.clock.call_later(seconds, lambda: stop(signal.SIGINT), name="Ctrl-C")
    said = selftest()
    assert said.status == 130
    assert said.err.splitlines()[-1] == "stopped"
    assert "stopping: ending the cluster and freeing the address" in said.err
    assert said.result["error"]["type"] == "KeyboardInterrupt"
    assert said.result["left"] == []
    assert_clean(stage)


@pytest.mark.parametrize("operation", ["RunJobFlow", "AssociateAddress", "AddJobFlowSteps"])
def test_sigterm_while_a_request_is_in_flight_ends_clean(stage, selftest, operation):
    def during() -> None:
        if operation != "AssociateAddress" or stage.aws.emr.life.clusters:  # not the dry run
            stop(signal.SIGTERM)

    times = 3 if operation == "AssociateAddress" else 1
    stage.aws.faults.add(operation=operation, kind="hold", seconds=0.0, times=times, during=during)
    said = selftest()
    assert said.status == 143
    assert said.result["left"] == []
    assert_clean(stage)


def test_a_second_signal_does_not_disturb_the_cleanup(stage, selftest):
    stage.aws.clock.call_later(120, lambda: stop(signal.SIGINT), name="Ctrl-C")
    for operation in ("TerminateJobFlows", "DisassociateAddress"):
        hold = {"kind": "hold", "seconds": 0.0, "times": 2, "during": lambda: stop(signal.SIGINT)}
        stage.aws.faults.add(operation=operation, **hold)
    said = selftest()
    assert said.status == 130
    assert "already stopping" in said.err
    assert_clean(stage)


def test_a_signal_during_the_cleanup_counts_after_it(stage, selftest):
    hold = {"kind": "hold", "seconds": 0.0, "during": lambda: stop(signal.SIGTERM)}
    stage.aws.faults.add(operation="TerminateJobFlows", **hold)
    said = selftest()
    assert said.status == 143
    assert results(said) == dict.fromkeys(CLAIMS, "ok")
    assert_clean(stage)


# It plans


def test_ctrl_c_does_not_interrupt_the_undo_of_an_error(stage, selftest, monkeypatch):
    """Nor does it hide the error."""
    stage.aws.faults.deny("RunJobFlow")
    undo = EmrCreateWithStaticIpOperator.undo

    def undo_with_ctrl_c(*arguments: Any) -> None:
        monkeypatch.setattr(EmrCreateWithStaticIpOperator, "undo", undo)
        stop(signal.SIGINT)
        undo(*arguments)

    monkeypatch.setattr(EmrCreateWithStaticIpOperator, "undo", undo_with_ctrl_c)
    assert "RunJobFlow" in selftest().err
    assert_clean(stage, launched=0)


def test_the_plan_calls_nothing_and_shows_the_highest_cost(stage, selftest):
    before = len(stage.aws.events.calls())
    said = selftest("--plan", "--timeout", "20m", "--release-label", "emr-6.15.0")
    assert said.status == 0
    assert len(stage.aws.events.calls()) == before
    assert said.result["job_flow"]["ReleaseLabel"] == "emr-6.15.0"
    assert said.result["highest_cost"]["instance_seconds"] == 3 * 20 * 60 + 600
    text = selftest("--plan", "--measure-drop", as_json=False).out
    assert "Highest cost: 110 min of one m5.xlarge: 30 min each for start, probe and end, 10 min for delayed" in text
    assert "take the lease of" in text


def test_overrides_are_merged_into_the_smallest_cluster(selftest, tmp_path):
    path = tmp_path / "more.json"
    path.write_text(json.dumps({"LogUri": "s3://logs/", "Instances": {"Ec2KeyName": "mine"}}))
    made = selftest("--plan", "--job-flow-overrides", str(path)).result["job_flow"]
    assert (made["LogUri"], made["Instances"]["Ec2KeyName"]) == ("s3://logs/", "mine")
    assert made["Instances"]["KeepJobFlowAliveWhenNoSteps"] is True


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--poll", "0"], "waiter_delay 0.0"),
        (["--timeout", "0"], "--timeout"),
        (["--job-flow-overrides", "/nowhere.json"], "--job-flow-overrides '/nowhere.json'"),
        (["--server", "no server"], "servers[0]: this is not HOST"),
        (["--report", "/nonexistent/x.json"], "--report '/nonexistent/x.json'"),
        (["--subnet-id", "abc"], "--subnet-id"),
        (["--log-uri", "foo"], "--log-uri"),
        (["--subnet-id", "abc", "--plan"], "--subnet-id"),
        (["--log-uri", "foo", "--plan"], "--log-uri"),
        (["--allocation-id", "203.0.113.1"], "allocation_id '203.0.113.1'"),
    ],
)
def test_wrong_arguments_are_refused(stage, selftest, arguments, says):
    before = len(stage.aws.events.calls())
    said = selftest(*arguments)
    assert said.status == 2
    assert says in said.err
    assert len(stage.aws.events.calls()) == before


def test_a_lock_store_needs_the_name_of_an_environment(stage, selftest):
    stage.patch.delenv("AIRFLOW__EIP__ENVIRONMENT")
    said = selftest()
    assert said.status == 2
    assert "AIRFLOW__EIP__ENVIRONMENT" in said.err


# As people use it: a process of its own, and a step that really runs


class Real:
    """A self-test as a process, on a local EMR that is another one, under the minimal policy."""

    def __init__(self, aws: Served) -> None:
        self.aws = aws
        aws.enforce(policy_document(configuration(aws.allocation_id, log_uri=None, execution_roles=())))
        self.environment = {**aws.environment(access_key_id=AIRFLOW), "AIRFLOW__EIP__ENVIRONMENT": "testing"}

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "airflow_eip_provider.cli", "selftest", "--json", *arguments]
        where = {"--allocation-id": self.aws.allocation_id, "--subnet-id": self.aws.subnet_id}
        given = {"--lock-store": DYNAMODB, "--poll": "0.5", "--timeout": "3m", "--echo-url": f"{self.aws.url}/my-ip"}
        options = [text for option in {**where, **given}.items() for text in option]
        return subprocess.Popen(
            [*command, *options], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end_of(self, process: subprocess.Popen[str]) -> Said:
        out, err = process.communicate(timeout=240)
        return Said(process.returncode, out, err)

    def assert_clean(self) -> None:
        assert self.aws.is_free()
        assert set(self.aws.cluster_states()) <= {"TERMINATED", "TERMINATING"}
        dynamodb = self.aws.client("dynamodb")
        record = open_store(DYNAMODB, lambda *_: dynamodb).read(self.aws.allocation_id).record
        assert (record.lease, record.queue) == (None, ())


@pytest.fixture(scope="module")
def real_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with served(tmp_path_factory.mktemp("aws")) as aws:
        yield Real(aws)


@pytest.fixture
def real(real_of_all: Real) -> Real:
    real_of_all.aws.forget_calls()
    return real_of_all


def test_a_separate_process_passes_and_the_page_sees_the_address(real):
    ended = real.end_of(real.begin())
    assert ended.status == 0, ended.err
    assert results(ended) == dict.fromkeys(CLAIMS, "ok")
    calls = real.aws.calls()
    assert [call for call in calls if call["error_code"] in DENIED] == []
    sent = [call["request"]["AllowReassociation"] for call in calls if call["operation"] == "AssociateAddress"]
    assert {str(value).lower() for value in sent} == {"false"}
    real.assert_clean()


def test_ctrl_c_of_a_process_while_its_step_runs_ends_clean(real):
    process = real.begin()
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "AddJobFlowSteps" in line:
            process.send_signal(signal.SIGINT)
            break
    ended = real.end_of(process)
    assert ended.status == 130, "".join(said) + ended.err
    assert ended.result["left"] == []
    real.assert_clean()
