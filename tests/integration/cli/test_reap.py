"""``airflow-eip reap``, on the local EMR."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cli.conftest import last_event


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in another environment, without a lock store unless a test has one."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")


def state_of(emr: Any, job_flow_id: str) -> str:
    return str(emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"])


def is_bound(ec2: Any, allocation_id: str) -> bool:
    return "AssociationId" in ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]


def test_dry_run_lists_what_a_gone_environment_left_and_changes_nothing(
    clocked, left, reap, only_looked, allocation_id
):
    job_flow_id = left("gone")
    before = last_event(clocked)
    said = reap("--environment", "gone")
    only_looked(before)
    (found,) = said.result["clusters"]
    assert said.status == 3
    assert found["job_flow_id"] == job_flow_id
    assert found["decision"] == "reap"
    assert found["owner"] == "gone/daily/run-1/create/-1"
    assert found["allocation_id"] == allocation_id
    assert found["reason"] == "its environment 'gone' is declared gone"
    assert said.result["dry_run"] is True
    assert said.result["outcomes"] == []


def test_account_and_region_are_printed_first(clocked, left, reap):
    job_flow_id = left("gone")
    said = reap("--environment", "gone", "--yes")
    where = f"AWS account {said.result['account']}, region {clocked.region}\n"
    assert said.err.index(where) < said.err.index(job_flow_id)


def test_yes_ends_cluster_and_association_though_it_is_protected(left, reap, emr, ec2, allocation_id):
    job_flow_id = left("gone")
    emr.set_termination_protection(JobFlowIds=[job_flow_id], TerminationProtected=True)
    said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert said.result["outcomes"][0]["reaped"] is True
    assert state_of(emr, job_flow_id) in {"TERMINATING", "TERMINATED"}
    assert not is_bound(ec2, allocation_id)


def test_only_the_association_that_was_seen_is_undone(clocked, left, reap):
    left("gone")
    before = last_event(clocked)
    reap("--environment", "gone", "--yes")
    calls = clocked.events.read(after=before, kind="call")
    (undone,) = [event for event in calls if event["operation"] == "DisassociateAddress"]
    assert set(undone["request"]) - {"Action", "Version"} == {"AssociationId"}


def test_a_second_time_nothing_is_left_to_do(clocked, left, reap, only_looked):
    left("gone")
    reap("--environment", "gone", "--yes")
    before = last_event(clocked)
    again = reap("--environment", "gone", "--yes")
    only_looked(before)
    assert again.status == 0
    assert again.result["clusters"] == again.result["outcomes"] == []


def test_an_address_that_has_moved_on_is_left_alone(left, reap, emr, ec2, allocation_id):
    job_flow_id = left("gone")
    association_id = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]["AssociationId"]
    ec2.disassociate_address(AssociationId=association_id)
    following = left("production", run_id="run-2", age=0)
    reap("--environment", "gone", "--yes")
    assert state_of(emr, job_flow_id) in {"TERMINATING", "TERMINATED"}
    assert state_of(emr, following) not in {"TERMINATING", "TERMINATED"}
    assert is_bound(ec2, allocation_id)


def test_a_step_that_still_runs_keeps_the_address_until_it_has_ended(
    clocked, left, reap, ec2, emr, running_step, allocation_id
):
    running_step(left("gone"))
    said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert "stays on it until its steps have ended" in said.err
    clocked.clock.advance(3600)
    assert not is_bound(ec2, allocation_id)


def test_a_young_cluster_is_kept(left, reap, emr):
    job_flow_id = left("gone", age=0)
    said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert said.decisions == {job_flow_id: "keep"}
    assert said.reasons[job_flow_id] == "it is younger than 1 h: it may have been launched just now"
    assert reap("--environment", "gone", "--min-age", "0").status == 3


def test_a_cluster_that_is_to_outlive_its_run_is_reaped_only_when_it_is_named(left, reap, emr):
    job_flow_id = left("gone")
    emr.add_tags(ResourceId=job_flow_id, Tags=[{"Key": "airflow-eip:keep", "Value": "until it is replaced"}])
    said = reap("--environment", "gone", "--yes")
    (found,) = said.result["clusters"]
    assert (said.status, found["decision"], said.result["outcomes"]) == (0, "keep", [])
    assert found["reason"] == "its tag 'airflow-eip:keep' says that it outlives its DAG run; name its id to reap it"
    assert state_of(emr, job_flow_id) == "WAITING"

    assert reap("--environment", "gone", "--job-flow-id", job_flow_id, "--yes").result["outcomes"][0]["reaped"] is True


def test_clusters_without_our_tags_are_never_listed(clocked, overrides, reap, emr):
    foreign = emr.run_job_flow(**overrides)["JobFlowId"]
    emr.run_job_flow(**overrides, Tags=[{"Key": "airflow-eip:owner-name", "Value": "gone/daily/run-1/create/-1"}])
    clocked.clock.advance(7200)
    said = reap("--environment", "gone", "--job-flow-id", foreign, "--yes")
    assert said.status == 0
    assert said.result["clusters"] == []
    assert said.result["absent"] == [foreign]
    assert state_of(emr, foreign) == "WAITING"


@pytest.mark.parametrize("environment", ["elsewhere", None])
def test_a_cluster_of_an_unknown_owner_is_listed_and_reaped_only_when_it_is_named(left, reap, emr, environment):
    job_flow_id = left(environment)
    said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert said.decisions == {job_flow_id: "unknown"}
    assert state_of(emr, job_flow_id) == "WAITING"
    assert reap("--job-flow-id", job_flow_id).status == 3
    assert reap("--job-flow-id", job_flow_id, "--yes").status == 0
    assert state_of(emr, job_flow_id) in {"TERMINATING", "TERMINATED"}


def test_a_named_cluster_that_runs_a_step_is_kept(left, reap, running_step):
    job_flow_id = left("elsewhere")
    step_id = running_step(job_flow_id)
    said = reap("--job-flow-id", job_flow_id, "--yes")
    assert said.decisions == {job_flow_id: "keep"}
    assert f"it runs step {step_id}" in said.reasons[job_flow_id]


def test_an_owner_that_is_too_long_for_a_tag_is_unknown(left, reap):
    job_flow_id = left("gone", run_id="r" * 250)
    assert reap("--environment", "gone").decisions == {job_flow_id: "unknown"}


def test_a_tag_that_does_not_fit_its_digest_is_not_believed(left, reap, emr):
    job_flow_id = left("elsewhere")
    emr.add_tags(
        ResourceId=job_flow_id, Tags=[{"Key": "airflow-eip:owner-name", "Value": "gone/daily/run-1/create/-1"}]
    )
    assert reap("--environment", "gone").decisions == {job_flow_id: "unknown"}


def test_an_address_on_an_instance_whose_cluster_has_ended_is_found(
    clocked, left, reap, emr, allocation_id, only_looked
):
    job_flow_id = left("gone")
    cluster = clocked.cluster(job_flow_id)
    cluster.state = "TERMINATED"
    before = last_event(clocked)
    said = reap("--environment", "gone", "--yes")
    only_looked(before)
    (finding,) = said.result["findings"]
    assert (finding["allocation_id"], finding["job_flow_id"]) == (allocation_id, job_flow_id)
    assert finding["instance_state"] == "running"


def test_throttling_is_waited_out(clocked, left, reap):
    job_flow_id = left("gone")
    clocked.faults.add(operation="DescribeCluster", kind="throttle", times=3)
    assert reap("--environment", "gone").decisions == {job_flow_id: "reap"}


def test_an_error_with_one_cluster_is_reported_and_the_others_are_reaped(clocked, left, reap, emr, ec2):
    first = left("gone")
    other = str(ec2.allocate_address(Domain="vpc")["AllocationId"])
    second = left("gone", run_id="run-2", allocation_id=other)
    clocked.faults.add(operation="TerminateJobFlows", kind="error", code="AccessDeniedException", status=400)
    said = reap("--environment", "gone", "--yes")
    assert said.status == 1
    assert [outcome["failed"] for outcome in said.result["outcomes"]].count(True) == 1
    assert {state_of(emr, first), state_of(emr, second)} & {"WAITING"}
    assert reap("--environment", "gone", "--yes").status == 0


def test_people_see_a_table(left, reap, emr):
    job_flow_id = left("gone")
    said = reap("--environment", "gone", json=False)
    header, row = said.out.splitlines()
    assert header.split() == ["DECISION", "CLUSTER", "STATE", "AGE", "ADDRESS", "OWNER", "REASON"]
    assert row.split()[:3] == ["reap", job_flow_id, "WAITING"]
    assert row.index("its environment") == header.index("REASON")
    assert "1 of 1 clusters would be terminated with --yes" in said.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--aws-conn-id", "nowhere"], "reading Airflow connection 'nowhere': it does not exist"),
        (["--environment", "production"], "this is the environment of this command"),
        (["--job-flow-id", "i-1"], "'i-1' is not a cluster ID"),
        (["--lock-store", "redis://x"], "its scheme is 'redis'"),
        (["--lock-store", "dynamodb://missing?create=true"], "no task has used it yet in region 'eu-west-1'"),
    ],
)
def test_what_is_wrong_is_an_error_before_anything_is_changed(clocked, left, reap, only_looked, arguments, problem):
    left("gone")
    before = last_event(clocked)
    said = reap("--yes", "--environment", "gone", *arguments)
    if clocked.events.read(after=before, kind="call"):
        only_looked(before)
    assert said.status == (2 if arguments[1] in {"i-1", "redis://x"} else 1)
    assert said.out == ""
    of_airflow, _, of_ours = said.err.rpartition("error: ")
    assert problem in of_ours
    assert "Traceback" not in of_ours
    assert "Traceback" not in of_airflow or arguments[0] == "--aws-conn-id", "Airflow 2's own, having no database here"


def test_a_connection_is_read_from_wherever_airflow_keeps_it(left, reap, monkeypatch):
    job_flow_id = left("gone")
    monkeypatch.setenv("AIRFLOW_CONN_STORED", '{"conn_type": "aws", "extra": {"region_name": "eu-west-1"}}')
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert reap("--environment", "gone", "--aws-conn-id", "stored").decisions == {job_flow_id: "reap"}
    assert "no region is set; give --region" in reap().err


@pytest.mark.parametrize("arguments", [["--min-age", "soon"], ["--min-age", "-1h"], ["reap"]])
def test_wrong_arguments_end_with_2(reap, arguments):
    assert reap(*arguments).status == 2


def test_a_cluster_id_that_emr_does_not_know_is_an_error(left, reap):
    job_flow_id = left("gone")
    said = reap("--yes", "--job-flow-id", "j-UNKNOWN1", "--environment", "gone")
    assert said.status == 1
    assert "error: EMR does not know cluster j-UNKNOWN1 in region eu-west-1" in said.err
    assert said.result["not_known"] == ["j-UNKNOWN1"]
    assert job_flow_id in {outcome["job_flow_id"] for outcome in said.result["outcomes"]}
