"""``airflow-eip associate``: a cluster that no task launched waits for the address and gets it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from botocore.parsers import ResponseParserError

from airflow_eip_provider.cli import associate, waiting
from airflow_eip_provider.cli.command import INTERRUPTED
from airflow_eip_provider.cli.signals import StoppedOnce
from airflow_eip_provider.lease_client.client import StoreLeaseClient


def test_running_primary_with_the_tag_gets_the_address(elsewhere):
    elsewhere.launch("Other")
    job_flow_id = elsewhere.launch()
    said = elsewhere.associate(json=False)
    assert said.status == 0
    assert f"is on cluster {job_flow_id} (instance i-" in said.out
    assert elsewhere.cluster_of_address() == job_flow_id
    (sent,) = [c["request"] for c in elsewhere.aws.events.calls("AssociateAddress") if "DryRun" not in c["request"]]
    assert str(sent["AllowReassociation"]).lower() == "false"


def test_account_and_region_are_printed_before_anything_is_changed(elsewhere, capsys, monkeypatch):
    elsewhere.launch()
    said_first: list[str] = []
    bind = associate._Association._bind
    monkeypatch.setattr(
        associate._Association, "_bind", lambda *a: said_first.append(capsys.readouterr().err) or bind(*a)
    )
    where = elsewhere.associate().result
    assert f"AWS account {where['account']}, region {elsewhere.aws.region}\n" in said_first[0]


def test_an_address_that_is_there_already_is_a_success_and_nothing_is_changed(elsewhere):
    elsewhere.launch()
    first = elsewhere.associate()
    before = elsewhere.mark()
    assert elsewhere.associate().result == first.result
    assert elsewhere.changes(before) == []


def test_two_that_match_are_refused_and_both_are_named(elsewhere):
    ids = [elsewhere.launch(), elsewhere.launch()]
    before = elsewhere.mark()
    said = elsewhere.associate()
    assert said.status == 1
    assert all(f"of cluster '{job_flow_id}'" in said.err for job_flow_id in ids)
    assert "name the cluster: --job-flow-id" in said.err
    assert elsewhere.changes(before) == []
    assert elsewhere.associate("--job-flow-id", ids[0]).result["job_flow_id"] == ids[0]


def test_without_a_tag_value_the_vpc_alone_decides(elsewhere):
    job_flow_id = elsewhere.launch(None)
    assert elsewhere.associate().status == 1
    said = elsewhere.run("associate", "--parameters", elsewhere.parameters(clusterFunctionTagValue=...))
    assert said.result["job_flow_id"] == job_flow_id


def test_core_nodes_and_clusters_that_have_ended_do_not_match(elsewhere):
    ended = elsewhere.launch()
    elsewhere.emr.terminate_job_flows(JobFlowIds=[ended])
    elsewhere.aws.clock.advance(900)
    groups = elsewhere.overrides["Instances"]["InstanceGroups"]
    groups.append({"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2})
    job_flow_id = elsewhere.launch()
    assert elsewhere.associate().result["job_flow_id"] == job_flow_id


def test_without_a_match_the_error_names_the_remedy(elsewhere):
    said = elsewhere.associate()
    assert said.status == 1
    assert "no primary node of an EMR cluster is running there; launch it first" in said.err


def test_a_named_cluster_is_waited_for_and_its_vpc_is_checked(elsewhere):
    job_flow_id = elsewhere.launch(None, running=False)
    assert elsewhere.associate("--job-flow-id", job_flow_id).result["job_flow_id"] == job_flow_id
    wrong = elsewhere.parameters(clusterVPCID="vpc-0123456789abcdef0")
    before = elsewhere.mark()
    said = elsewhere.run("associate", "--parameters", wrong, "--job-flow-id", job_flow_id)
    assert said.status == 1
    assert f"is in VPC '{elsewhere.vpc_id}', not in 'vpc-0123456789abcdef0'" in said.err
    assert elsewhere.changes(before) == []


def test_an_address_that_another_has_is_waited_for_and_never_taken(elsewhere):
    holding, waiting = elsewhere.launch("Other"), elsewhere.launch()
    assert elsewhere.associate("--job-flow-id", holding).status == 0
    said = elsewhere.associate("--wait", "5m")
    assert said.status == 1
    assert f"after 300 s it is held by cluster '{holding}'" in said.err
    assert elsewhere.cluster_of_address() == holding
    end = lambda: elsewhere.emr.terminate_job_flows(JobFlowIds=[holding])  # noqa: E731
    elsewhere.meanwhile(100, end)
    assert elsewhere.associate("--wait", "1h").result["job_flow_id"] == waiting


BAD = [
    ("{'allocationID'", "it is not JSON"),
    ({"allocationID": ...}, "key 'allocationID' is missing"),
    ({"clusterVPCID": ...}, "key 'clusterVPCID' is missing"),
    ({"allocationId": "eipalloc-0123456789abcdef0"}, "unknown key 'allocationId'"),
    ({"allocationID": 7}, "key 'allocationID' is a number, not a string"),
    ({"clusterFunctionTagValue": ["Signals"]}, "key 'clusterFunctionTagValue' is a list, not a string"),
]


@pytest.mark.parametrize("command", [["associate"], ["status"], ["wait", "--free"], ["release"]])
def test_bad_parameters_end_with_status_2_and_change_nothing(command, elsewhere):
    elsewhere.launch()
    for changed, said in BAD:
        path = elsewhere.parameters(changed) if isinstance(changed, str) else elsewhere.parameters(**changed)
        before = elsewhere.mark()
        ended = elsewhere.run(*command, "--parameters", path)
        assert (ended.status, ended.out) == (2, "")
        assert f"parametersValues.json': {said}" in ended.err
        # No call at all, so none that changes anything.
        assert elsewhere.aws.events.read(after=before, kind="call") == []


def test_missing_file_ends_with_status_2(elsewhere):
    said = elsewhere.run("associate", "--parameters", str(elsewhere.directory / "none.json"))
    assert said.status == 2
    assert "none.json': it cannot be read" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--job-flow-id", "i-0123"], "reading --job-flow-id: 'i-0123' is not a cluster ID"),
        (["--lock-store", "redis://x"], "reading --lock-store: its scheme is 'redis'"),
    ],
)
def test_wrong_arguments_end_with_status_2(arguments, said, elsewhere):
    ended = elsewhere.associate(*arguments)
    assert ended.status == 2
    assert said in ended.err
    assert elsewhere.changes() == ["AllocateAddress"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_binds_leaves_nothing_behind(elsewhere, record, lock_store, monkeypatch, number):
    elsewhere.launch()
    bind, undo = associate._Association._bind, StoreLeaseClient.undo

    def killed(*arguments: Any) -> Any:
        bind(*arguments)
        os.kill(os.getpid(), number)

    def killed_again(*arguments: Any, **more: Any) -> None:
        os.kill(os.getpid(), number)
        undo(*arguments, **more)

    monkeypatch.setattr(associate._Association, "_bind", killed)
    monkeypatch.setattr(StoreLeaseClient, "undo", killed_again)
    before = signal.signal(number, signal.SIG_DFL)  # it may be ignored where these tests run
    try:
        said = elsewhere.associate("--lock-store", lock_store)
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before)
    assert said.status == 128 + number
    assert after is signal.SIG_DFL
    assert record().lease is None
    assert elsewhere.cluster_of_address() is None


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StoppedOnce("undoing what was changed"):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("environment", ["", "a b", "a/b"])
def test_an_environment_that_is_no_part_of_a_name_is_refused_before_aws_is_asked(elsewhere, environment):
    parameters = elsewhere.parameters()
    before = elsewhere.aws.events.calls()
    said = elsewhere.run("associate", "--parameters", parameters, "--environment", environment)
    assert said.status == 2
    assert f"{environment!r} is not a name of 1 to 64 letters" in said.err
    assert elsewhere.aws.events.calls() == before


def test_ctrl_c_undoes_and_ends_without_a_traceback(elsewhere, monkeypatch):
    elsewhere.launch()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "wait_until", interrupted)
    said = elsewhere.associate(json=False)
    assert said.status == INTERRUPTED
    assert said.err.endswith("stopped\n")
    assert said.out == ""


def test_an_answer_that_is_not_aws_s_is_an_error_and_no_traceback(elsewhere, monkeypatch):
    def answered(*_, **__):
        raise ResponseParserError("Unable to parse response, invalid XML received: <html>proxy</html>")

    monkeypatch.setattr(waiting, "wait_until", answered)
    elsewhere.launch()
    said = elsewhere.associate()
    assert said.status == 1
    assert said.err.endswith("error: Unable to parse response, invalid XML received: <html>proxy</html>\n")


def test_missing_credentials_name_the_two_ways_to_give_them(elsewhere, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    said = elsewhere.associate()
    assert said.status == 1
    assert "connecting to AWS: Unable to locate credentials" in said.err
    assert "--aws-conn-id" in said.err


def test_an_address_and_a_cluster_are_enough(elsewhere):
    job_flow_id = elsewhere.launch(None)
    said = elsewhere.about("associate", "--job-flow-id", job_flow_id)
    assert said.status == 0, said.err
    assert elsewhere.cluster_of_address() == job_flow_id


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "no Elastic IP is named"),
        (["--allocation-id", "eipalloc-0123456789abcdef0"], "no cluster is named"),
        (["--job-flow-id", "j-1ABC"], "no Elastic IP is named"),
    ],
)
def test_without_a_file_both_ids_are_needed(elsewhere, given, problem):
    said = elsewhere.run("associate", *given)
    assert said.status == 2
    assert said.err == f"error: {problem}; give --allocation-id and --job-flow-id, or --parameters\n"
