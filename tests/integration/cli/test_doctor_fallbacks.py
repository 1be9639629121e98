"""``airflow-eip doctor --fallbacks``: findings name the candidates, and everything is read once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONLY_IN_A = "h1.2xlarge"  # EC2 offers it in eu-west-1a, not in eu-west-1b


@pytest.fixture
def subnets(ec2: Any) -> dict[str, str]:
    """The default VPC's subnets, by the last letter of their zones."""
    return {found["AvailabilityZone"][-1]: found["SubnetId"] for found in ec2.describe_subnets()["Subnets"]}


@pytest.fixture(autouse=True)
def _in_zone_a(overrides: dict[str, Any], subnets: dict[str, str]) -> None:
    overrides["Instances"]["Ec2SubnetId"] = subnets["a"]


@pytest.fixture
def examine_with(examine: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Check the overrides with these fallbacks."""

    def run(*fallbacks: Any, more: tuple[str, ...] = ()) -> Any:
        path = tmp_path / "fallbacks.json"
        path.write_text(json.dumps(list(fallbacks)), encoding="utf-8")
        return examine("--fallbacks", str(path), *more)

    return run


def into(subnet_id: str, **instances: Any) -> dict[str, Any]:
    return {"Instances": {"Ec2SubnetId": subnet_id, **instances}}


def group(instance_type: str, **given: Any) -> list[dict[str, Any]]:
    return [{"InstanceRole": "MASTER", "InstanceType": instance_type, "InstanceCount": 1, **given}]


def fleet(*types: str, **given: Any) -> list[dict[str, Any]]:
    configs = [{"InstanceType": name} for name in types]
    return [{"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": configs, **given}]


def private(ec2: Any) -> str:
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24", AvailabilityZone="eu-west-1b")
    return str(made["Subnet"]["SubnetId"])


def test_a_fallback_in_another_zone_has_no_findings(examine_with, subnets):
    said = examine_with(into(subnets["b"]))
    assert said.status == 0
    assert said.all_found == {}
    assert said.result["hints"] == []
    assert said.result["checks"][-1]["check"] == "fallbacks"


def test_a_job_without_fallbacks_gets_a_hint_and_no_finding(examine, overrides):
    said = examine()
    assert said.all_found == {}
    assert "no fallbacks" in said.result["hints"][0]
    overrides["Instances"]["InstanceGroups"][0]["Market"] = "SPOT"
    said = examine()
    assert said.all_found == {}
    assert "Spot Instance" in said.result["hints"][0]


def test_each_finding_names_its_candidate(examine_with, subnets, ec2):
    said = examine_with(into(subnets["b"]), into("subnet-0123456789abcdef0"), into(private(ec2)))
    assert said.status == 3
    (missing,) = [f for c in said.result["checks"] if c["check"] == "subnet" for f in c["findings"]]
    (route,) = [f for c in said.result["checks"] if c["check"] == "route" for f in c["findings"]]
    assert (missing["candidate"], route["candidate"]) == ("fallbacks[1]", "fallbacks[2]")
    assert said.skipped["route"] == "fallbacks[1]: it depends on 'subnet', see above"


def test_a_problem_of_every_candidate_is_reported_once(examine_with, overrides, subnets):
    del overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]
    said = examine_with(into(subnets["b"]), into(subnets["c"]))
    assert said.found("lifetime")["candidate"] == "every candidate"


def test_everything_is_read_once_for_all_candidates(examine_with, clocked, subnets):
    before = clocked.events.last
    examine_with(into(subnets["b"]), into(subnets["c"]), into(subnets["b"], InstanceGroups=group("r5.xlarge")))
    calls = Counter(event["operation"] for event in clocked.events.read(after=before, kind="call"))
    once = ("DescribeAddresses", "DescribeSubnets", "DescribeRouteTables", "DescribeInstanceTypeOfferings")
    assert [calls[name] for name in (*once, "DescribeAvailabilityZones", "AssociateAddress")] == [1] * 6


@pytest.mark.parametrize("nodes", [{"InstanceGroups": group(ONLY_IN_A)}, {"InstanceFleets": fleet(ONLY_IN_A)}])
def test_an_instance_type_that_the_zone_of_a_fallback_does_not_offer(examine_with, overrides, subnets, nodes):
    overrides["Instances"] = {k: v for k, v in overrides["Instances"].items() if k != "InstanceGroups"} | nodes
    found = examine_with(into(subnets["b"])).found("instance-types")
    assert found["severity"] == "error"
    assert found["candidate"] == "fallbacks[0]"
    assert found["what"] == f"EC2 does not offer {ONLY_IN_A} there, for MASTER"
    assert "eu-west-1b" in found["subject"]


def test_one_type_of_a_fleet_that_is_offered_is_enough(examine_with, overrides, subnets):
    del overrides["Instances"]["InstanceGroups"]
    overrides["Instances"]["InstanceFleets"] = fleet(ONLY_IN_A, "m5.xlarge")
    assert examine_with(into(subnets["b"])).all_found == {}


def test_one_zone_that_offers_the_type_is_enough_where_emr_chooses(examine, overrides, subnets):
    del overrides["Instances"]["InstanceGroups"], overrides["Instances"]["Ec2SubnetId"]
    overrides["Instances"].update(InstanceFleets=fleet(ONLY_IN_A), Ec2SubnetIds=[subnets["a"], subnets["b"]])
    assert examine().found("instance-types")["severity"] == "warning"


def test_a_zone_that_is_down_is_a_warning(examine_with, clocked, subnets):
    clocked.take_zone_down("eu-west-1b")
    found = examine_with(into(subnets["b"])).found("zone")
    assert (found["severity"], found["candidate"]) == ("warning", "fallbacks[0]")
    assert "unavailable" in found["what"]


@pytest.mark.parametrize("parameter", ["EmrManagedSlaveSecurityGroup", "EmrManagedMasterSecurityGroup"])
def test_a_security_group_of_another_vpc(examine_with, ec2, subnets, parameter):
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = ec2.create_security_group(GroupName="other", Description="x", VpcId=vpc_id)["GroupId"]
    found = examine_with(into(subnets["b"], **{parameter: made})).found("security-groups")
    assert found["candidate"] == "fallbacks[0]"
    assert vpc_id in found["what"]


def test_a_security_group_that_does_not_exist(examine, overrides):
    overrides["Instances"]["ServiceAccessSecurityGroup"] = "sg-0123456789abcdef0"
    assert "does not exist" in examine().found("security-groups")["what"]


@pytest.mark.parametrize(
    ("fallback", "where"),
    [({"ReleaseLabel": "emr-7.4.0"}, "subnet"), ({"Instances": {"InstanceGroups": group("r5.xlarge")}}, "subnet")],
)
def test_candidates_that_are_all_in_one_place_do_not_help_against_its_outage(examine_with, fallback, where):
    found = examine_with(fallback).found("fallbacks")
    assert found["severity"] == "warning"
    assert f"every candidate is in {where}" in found["what"]
    assert "another zone" in found["mend"]


def test_other_subnets_of_the_same_zone_do_not_help_either(examine_with, ec2, subnets):
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    block = {"VpcId": vpc["VpcId"], "CidrBlock": "172.31.200.0/24", "AvailabilityZone": "eu-west-1a"}
    other = ec2.create_subnet(**block)["Subnet"]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=other, MapPublicIpOnLaunch={"Value": True})
    assert "Availability Zone 'eu-west-1a'" in examine_with(into(other)).found("fallbacks")["what"]


@pytest.mark.parametrize("nodes", [group("m5.xlarge", Market="SPOT"), group("m5.xlarge", BidPrice="0.10")])
def test_a_spot_primary(examine_with, subnets, nodes):
    found = examine_with(into(subnets["b"], InstanceGroups=nodes)).found("fallbacks")
    assert (found["severity"], found["candidate"]) == ("warning", "fallbacks[0]")
    assert "Spot Instance" in found["what"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("subnet-b", "it is not a mapping"),
        ({}, "it is not a mapping, or it is empty"),
        ({"Instnaces": {}}, "unknown parameter 'Instnaces'"),
        ({"Instances": {"Ec2SubnetID": "x"}}, 'Unknown parameter in Instances: "Ec2SubnetID"'),
        ({"Instances": {"InstanceCount": "three"}}, "Invalid type for parameter Instances.InstanceCount"),
        ({"Instances": {"Ec2SubnetId": " "}}, "Instances.Ec2SubnetId is empty"),
        ({"binding": {"public_subnet_id": ""}}, "binding.public_subnet_id is empty"),
        ({"binding": {"subnet": "x"}}, "not a binding"),
    ],
    ids=lambda value: f"{value!s:.40}",
)
def test_a_fallback_of_the_wrong_form_is_a_wrong_argument_that_is_named(examine_with, subnets, wrong, said):
    ended = examine_with(into(subnets["b"]), wrong)
    assert ended.status == 2
    assert ended.out == ""
    assert "fallbacks[1]" in ended.err
    assert said in ended.err


def test_templates_in_a_fallback_are_left_to_the_task(examine_with, subnets):
    said = examine_with(into("{{ var.value.subnet }}"), into(subnets["b"], InstanceCount="{{ n }}"))
    assert said.status == 0
    assert said.result["templates"] == ["Instances.Ec2SubnetId", "Instances.InstanceCount"]
    assert "fallbacks[0]" in said.skipped["subnet"]


def test_a_fallback_behind_a_gateway_of_its_own(examine_with, ec2, subnets):
    unknown = {"public_subnet_id": "subnet-0123456789abcdef0", "route_table_ids": ["rtb-0123456789abcdef0"]}
    said = examine_with({**into(private(ec2)), "binding": unknown})
    assert said.status == 3
    (found,) = [f for c in said.result["checks"] if c["check"] == "public-subnet" for f in c["findings"]]
    assert found["candidate"] == "fallbacks[0]"
    assert not [c for c in said.result["checks"] if c["check"] == "route" and c["findings"]]


def test_fallbacks_without_a_cluster(examine, tmp_path):
    (tmp_path / "fallbacks.json").write_text("[]")
    said = examine("--fallbacks", str(tmp_path / "fallbacks.json"), file=False)
    assert said.status == 2
    assert "--job-flow-overrides" in said.err
