"""Wrong fallbacks are refused, by name, before any call that changes AWS."""

from __future__ import annotations

from typing import Any

import pytest

from harness.life import Task

ONLY_IN_A = "h1.2xlarge"  # EC2 offers it in eu-west-1a, not in eu-west-1b


@pytest.fixture(autouse=True)
def _in_zone_a(overrides: dict[str, Any], subnets: dict[str, str]) -> None:
    overrides["Instances"]["Ec2SubnetId"] = subnets["eu-west-1a"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("subnet-b", "it is not a mapping"),
        (7, "it is not a mapping"),
        ("", "it is not a mapping"),
        ({"Instnaces": {}}, "unknown parameter 'Instnaces'"),
        ({"Instances": {"Ec2SubnetID": "x"}}, "Ec2SubnetID"),
        ({"Instances": {"Ec2SubnetId": ""}}, "Instances.Ec2SubnetId is empty"),
        ({"Instances": {"Ec2SubnetId": "subnet-0123456789abcdef0"}}, "does not exist"),
        ({"Instances": {"KeepJobFlowAliveWhenNoSteps": None}}, "KeepJobFlowAliveWhenNoSteps is not true"),
        ({"Steps": [{"Name": "x", "HadoopJarStep": {"Jar": "x"}}]}, "they contain 'Steps'"),
        ({"binding": {"public_subnet_id": "public"}}, "subnet-…"),
    ],
    ids=lambda value: f"{value!s:.40}",
)
def test_a_fallback_that_could_never_start_is_named(refused, to_b, wrong, said):
    refused("fallbacks[1]", said, fallbacks=[to_b, wrong])


@pytest.mark.parametrize("fallbacks", ["subnet-b", {"Instances": {}}, 7])
def test_fallbacks_that_are_no_list(refused, to_b, fallbacks):
    refused("fallbacks", "not a list", fallbacks=fallbacks)


def test_a_zone_that_does_not_offer_the_instance_type_of_a_fallback(refused, to_b, overrides):
    overrides["Instances"]["InstanceGroups"][0]["InstanceType"] = ONLY_IN_A
    refused("fallbacks[0]", f"EC2 does not offer {ONLY_IN_A} there", "eu-west-1b", fallbacks=[to_b])


def test_errors_of_all_candidates_are_reported_at_once(refused, to_b, overrides):
    del overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]
    wrong = {"Instances": {"Ec2SubnetId": "subnet-0123456789abcdef0"}}
    refused("2 problems: (1)", "(1) every candidate, job_flow_overrides", "(2) fallbacks[1]", fallbacks=[to_b, wrong])


def test_a_spot_primary_in_a_job_with_fallbacks_is_a_warning(clocked, create_operator, to_b, logged):
    group = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1, "Market": "SPOT"}
    to_b["Instances"]["InstanceGroups"] = [group]
    assert Task(create_operator(fallbacks=[to_b])).run()
    assert "fallbacks[0], primary node: it is a Spot Instance" in logged()


def test_fallbacks_cost_two_calls_more_however_many_there_are(clocked, create_operator, to_b):
    def calls(**parameters: Any) -> list[str]:
        before = clocked.events.last
        Task(create_operator(deferrable=True, **parameters)).start()
        return [event["operation"] for event in clocked.events.read(after=before, kind="call")]

    more = [to_b, {"ReleaseLabel": "emr-7.4.0"}, {**to_b, "ReleaseLabel": "emr-7.4.0"}]
    with_fallbacks, without = calls(fallbacks=more, fallback_rounds=2), calls()
    for name in ("DescribeAvailabilityZones", "DescribeInstanceTypeOfferings"):
        assert with_fallbacks.count(name) == 1
        assert name not in without
    assert with_fallbacks.count("DescribeSubnets") == with_fallbacks.count("DescribeRouteTables") == 1


def test_a_cluster_without_a_name_gets_the_tasks_in_every_candidate(clocked, create_operator, to_b, overrides):
    del overrides["Name"]
    assert Task(create_operator(fallbacks=[to_b])).run()
    (launched,) = clocked.events.calls("RunJobFlow")
    assert launched["request"]["Name"].endswith(".create")
