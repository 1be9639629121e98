"""``airflow-eip drill`` without --execute: what would keep the standby from taking over; it changes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.cli.drill import targets
from airflow_eip_provider.cli.drill.plan import Plan
from airflow_eip_provider.cli.drill.resources import Resources
from airflow_eip_provider.hooks.aws import AwsHooks
from local_emr.azure_sql.firewall import Rule
from local_emr.quotas import STANDARD_VCPUS
from tests.azure_fixtures import SERVER_ID, azure
from tests.integration.cli.drills import ZONES, Pair, pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.cli.conftest import Said

__all__ = ["azure", "pair"]

CHANGES = {
    "AddTags",
    "AssociateAddress",
    "DeregisterTargets",
    "DisassociateAddress",
    "PutItem",
    "RegisterTargets",
    "RunJobFlow",
    "TerminateInstances",
    "TerminateJobFlows",
}


@pytest.fixture
def plan(pair: Pair, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command; it must not change anything."""

    def run(*arguments: str, **options: bool) -> Said:
        before = pair.stage.aws.events.read()[-1]["seq"]
        said = pair.drill(capsys, *arguments, **options)
        for event in pair.stage.aws.events.read(after=before, kind="call"):
            asked = str(event["request"].get("DryRun")).lower() == "true"
            assert asked or event["operation"] not in CHANGES, event
        return said

    return run


@pytest.fixture
def cold(pair: Pair, tmp_path: Any) -> list[str]:
    """The arguments for a standby that is launched in the other zone."""
    return ["--job-flow-overrides", pair.file(tmp_path, pair.overrides(ZONES[1]))]


def found(said: Said) -> dict[str, list[str]]:
    return {c["check"]: [f["what"] for f in c["findings"]] for c in said.result["checks"] if c["findings"]}


def passed(said: Said) -> set[str]:
    return {c["check"] for c in said.result["checks"] if not c["findings"] and not c["skipped"]}


def test_a_cold_standby_that_would_take_over(plan, pair, cold):
    said = plan(*cold)
    assert (said.status, found(said)) == (0, {}), said.out + said.err
    wanted = {"primary", "primary-services", "stop", "lease", "subnet", "zone", "instance-types", "standby-zone"}
    assert passed(said) >= wanted | {"quota", "target-groups", "security-groups", "permission"}
    assert said.result["ready"] is True
    assert pair.stage.refusals() == []


def test_a_warm_standby_that_would_take_over(plan, pair):
    said = plan("--standby-job-flow-id", pair.launch_standby())
    assert (said.status, found(said)) == (0, {}), said.out + said.err
    assert passed(said) >= {"standby", "standby-services", "target-groups"}
    assert pair.stage.refusals() == []


def test_people_get_a_table_and_the_steps(plan, pair, cold):
    said = plan(*cold, as_json=False)
    assert said.out.splitlines()[0].split() == ["RESULT", "CHECK", "FINDING"]
    assert f"stop the primary {pair.primary}: terminate its primary instance" in said.out
    assert "errors: 0, warnings: 0" in said.err


def test_every_problem_of_a_cold_standby_is_reported_at_once(plan, pair, tmp_path):
    aws = pair.stage.aws
    overrides = pair.overrides("eu-west-1c")
    overrides["Instances"]["AdditionalMasterSecurityGroups"] = []
    overrides["Instances"]["InstanceGroups"][0]["InstanceType"] = "m5.24xlarge"
    aws.quotas.values[STANDARD_VCPUS] = 32.0
    said = plan("--job-flow-overrides", pair.file(tmp_path, overrides))
    wrong = found(said)
    assert said.status == 3
    assert said.result["ready"] is False
    assert any("names no security groups" in text for text in wrong["target-groups"])
    assert any("launched in eu-west-1c" in text for text in wrong["target-groups"])
    assert wrong["quota"] == ["it is 32; 4 run, and the standby needs 96"]


def test_the_quota_counts_the_nodes_of_the_two_old_parameters(plan, pair, tmp_path):
    overrides = pair.overrides(ZONES[1])
    groups = overrides["Instances"].pop("InstanceGroups")
    (primary,) = {group["InstanceType"] for group in groups}
    old = {"MasterInstanceType": primary, "SlaveInstanceType": "m5.24xlarge", "InstanceCount": 3}
    pair.stage.aws.quotas.values[STANDARD_VCPUS] = 32.0
    overrides["Instances"].update(old)
    said = plan("--job-flow-overrides", pair.file(tmp_path, overrides))
    assert found(said)["quota"] == ["it is 32; 4 run, and the standby needs 196"]


def test_a_standby_without_an_address_has_the_checks_that_the_failover_makes_before_its_launch(plan, pair, tmp_path):
    many = [{"Key": f"team-{number}", "Value": "x"} for number in range(45)]
    overrides = pair.overrides(ZONES[1], Tags=many)
    overrides["Instances"]["InstanceGroups"][0]["InstanceCount"] = 3
    said = plan("--job-flow-overrides", pair.file(tmp_path, overrides), with_address=False)
    assert said.status == 3
    assert found(said)["tags"] == ["Tags has 45 tags, and this provider adds up to 10"]
    assert found(said)["primary"] == ["they ask for 3 primary nodes"]


def test_the_port_of_a_target_group_is_checked_for_a_cold_standby(pair):
    hooks = AwsHooks(aws_conn_id=None, region_name="eu-west-1")
    given = {"job_flow_id": pair.primary, "job_flow_overrides": pair.overrides(ZONES[1])}

    def problems(port: int | None) -> list[str]:
        plan = Plan(**given, target_groups=[{"target_group": "emr-livy", "port": port}])
        resources = Resources(SimpleNamespace(hooks=hooks, region="eu-west-1"), plan)
        return [finding.what for finding in targets._find_cold_problems(resources, resources.groups["emr-livy"], port)]

    assert problems(None) == problems(8998) == []
    assert any("9999" in problem for problem in problems(9999))


def test_a_quota_that_has_room_only_when_the_primary_has_ended_is_a_warning(plan, pair, cold):
    pair.stage.aws.quotas.values[STANDARD_VCPUS] = 7.0
    said = plan(*cold)
    assert said.status == 0
    assert found(said)["quota"] == [
        "it is 7; 4 run, and the standby needs 4; it fits when the primary has ended",
    ]


def test_a_quota_without_read_permission_is_a_warning(plan, pair, cold):
    pair.stage.taken_away = ("LookAtQuota", "servicequotas:GetServiceQuota")
    pair.enforce()
    said = plan(*cold)
    assert said.status == 0
    assert found(said) == {"quota": ["it could not be read: servicequotas:GetServiceQuota is not permitted"]}


def test_a_stop_that_is_not_permitted_is_an_error(plan, pair, cold):
    pair.stage.taken_away = ("StopPrimary", "ec2:TerminateInstances")
    pair.enforce()
    said = plan(*cold)
    assert said.status == 3
    assert found(said) == {"stop": ["ec2:TerminateInstances is not permitted (according to a DryRun)"]}
    assert plan(*cold, "--stop", "cluster").status == 0


def test_a_standby_in_the_same_zone_with_a_sick_service_is_a_warning(plan, pair):
    standby = pair.launch_standby(ZONES[0])
    pair.stage.aws.services.trouble(standby, "livy", "errors")
    said = plan("--standby-job-flow-id", standby)
    assert said.status == 0
    assert found(said)["standby"] == ["it is in eu-west-1a, as the primary is"]
    (problem,) = found(said)["standby-services"]
    assert "HTTP status 500" in problem


def test_an_ended_standby_and_a_missing_group_are_errors(plan, pair):
    standby = pair.launch_standby()
    pair.stage.client("emr").terminate_job_flows(JobFlowIds=[standby])
    pair.stage.aws.clock.advance(600)
    said = plan("--standby-job-flow-id", standby, "--target-group", "nothing")
    assert said.status == 3
    assert found(said)["standby"] == ["it is TERMINATED"]
    assert found(said)["target-groups"] == ["there is none in region 'eu-west-1'"]


def test_an_address_on_another_cluster_is_an_error(plan, pair, cold):
    other = pair.launch_standby()
    pair.move_address(other)
    said = plan(*cold)
    assert said.status == 3
    assert any(f"it is on cluster '{other}'" in text for text in found(said)["lease"])


def test_a_standby_without_the_tag_is_a_warning(plan, pair):
    standby = pair.launch_standby()
    pair.stage.client("emr").remove_tags(ResourceId=standby, TagKeys=[ALLOCATION_TAG])
    said = plan("--standby-job-flow-id", standby)
    assert said.status == 0
    assert found(said) == {"standby": [f"it has no tag {ALLOCATION_TAG}={pair.stage.allocation_id}"]}


def test_a_firewall_that_does_not_admit_the_address_is_an_error(azure, plan, pair, cold):
    said = plan(*cold, "--server", SERVER_ID)
    (ip,) = [address["PublicIp"] for address in pair.stage.client("ec2").describe_addresses()["Addresses"]]
    assert said.status == 3
    (problem,) = found(said)["firewall"]
    assert ip in problem
    azure.firewall.put(Rule("emr", ip, ip))
    said = plan(*cold, "--server", SERVER_ID)
    assert (said.status, found(said)) == (0, {})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "one of --standby-job-flow-id and --job-flow-overrides is needed"),
        (["--standby-job-flow-id", "x"], "is not a cluster ID"),
        (
            ["--standby-job-flow-id", "j-1", "--fallbacks", "f.json"],
            "--job-flow-overrides, which is missing",
        ),
        (["--standby-job-flow-id", "j-1", "--rto", "0"], "reading the RTO: it is 0"),
        (["--standby-job-flow-id", "j-1", "--rto", "9m", "--limit", "8m"], "it is shorter than the RTO"),
    ],
)
def test_wrong_arguments_are_refused_before_aws_is_called(monkeypatch, capsys, arguments, text):
    monkeypatch.setattr("airflow_eip_provider.cli.session.open_session", None)
    assert main(["drill", "--job-flow-id", "j-2", "--lock-store", "none", *arguments]) == 2
    assert text in capsys.readouterr().err
