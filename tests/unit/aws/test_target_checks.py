"""Checks whether a load balancer can reach a node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_eip_provider.aws.addresses import Instance
from airflow_eip_provider.aws.load_balancers import (
    Target,
    TargetGroup,
    TargetHealth,
    read_target_group,
    read_target_health,
)
from airflow_eip_provider.aws.target_checks import find_group_problems, find_target_problems

BALANCER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/emr/1"
GROUP = TargetGroup("arn:livy", "livy", 8998, "ip", "vpc-1", None, (BALANCER,))
NODE = Instance(
    "i-1", "running", "subnet-a", "eni-1", "vpc-1", private_ip="10.0.0.5", zone="eu-west-1a", group_ids=("sg-node",)
)
TARGET = Target("10.0.0.5", 8998)
SUBNETS = {"eu-west-1a": ("subnet-a", "10.0.0.0/24"), "eu-west-1b": ("subnet-b", "10.0.1.0/24")}


def rule(first: int, last: int, **sources: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **sources}


def ranges(*networks: str) -> dict[str, Any]:
    return {"IpRanges": [{"CidrIp": network} for network in networks]}


@pytest.fixture
def problems(stubbed: Any) -> Any:
    """Return the problems for some rules of the node's security group."""

    def find(
        *rules: dict[str, Any],
        group: TargetGroup = GROUP,
        node: Instance = NODE,
        zones: tuple[str, ...] = ("eu-west-1a",),
        groups: tuple[str, ...] = (),
        cross_zone: tuple[str, ...] = (),
    ) -> list[tuple[bool, str]]:
        balancer = {
            "LoadBalancerArn": BALANCER,
            "LoadBalancerName": "emr",
            "Type": "network",
            "VpcId": "vpc-1",
            "AvailabilityZones": [{"ZoneName": zone, "SubnetId": SUBNETS[zone][0]} for zone in zones],
            "SecurityGroups": list(groups),
        }
        described = ("describe_target_group_attributes", "describe_load_balancer_attributes")
        key = "load_balancing.cross_zone.enabled"
        attributes = [
            (operation, {"Attributes": [{"Key": key, "Value": value}]})
            for operation, value in zip(described, cross_zone, strict=False)
        ]
        elb = stubbed("elbv2", ("describe_load_balancers", {"LoadBalancers": [balancer]}), *attributes)
        subnets = [{"SubnetId": name, "CidrBlock": block} for name, block in (SUBNETS[zone] for zone in zones)]
        ec2 = stubbed(
            "ec2",
            ("describe_security_groups", {"SecurityGroups": [{"GroupId": "sg-node", "IpPermissions": list(rules)}]}),
            ("describe_subnets", {"Subnets": subnets}),
        )
        target = Target(str(group.target_id_of(node)), group.port)
        return [(found.is_error, found.text) for found in find_target_problems(elb, ec2, group, node, target)]

    return find


@pytest.mark.parametrize(
    "admitting",
    [
        rule(8998, 8998, **ranges("10.0.0.0/24")),
        rule(8000, 9000, **ranges("10.0.0.0/8")),
        rule(8998, 8998, **ranges("10.0.0.7/16")),
        rule(8998, 8998, **ranges("10.0.0.0/25", "10.0.0.128/25")),
        {"IpProtocol": "-1", **ranges("0.0.0.0/0")},
    ],
)
def test_a_node_that_lets_the_load_balancers_subnet_in_is_well(problems, admitting):
    assert problems(admitting) == []


def test_each_subnet_of_the_load_balancer_may_have_a_rule_of_its_own(problems):
    """EC2 returns the ranges of rules with the same ports as one rule, and of others as several."""
    rules = [rule(8998, 8998, **ranges("10.0.0.0/24")), rule(8998, 8999, **ranges("10.0.1.0/24"))]
    assert problems(*rules, zones=("eu-west-1a", "eu-west-1b"), cross_zone=("true",)) == []


def test_ranges_within_the_subnet_may_be_the_load_balancers_own_addresses(problems):
    ((is_error, text),) = problems(rule(8998, 8998, **ranges("10.0.0.9/32")))
    assert not is_error
    assert "unless these rules allow the load balancer's private addresses" in text


@pytest.mark.parametrize(
    "not_admitting",
    [
        [],
        [rule(8088, 8088, **ranges("10.0.0.0/24"))],
        [{"IpProtocol": "udp", "FromPort": 8998, "ToPort": 8998, **ranges("10.0.0.0/24")}],
        [rule(8998, 8998, UserIdGroupPairs=[{"GroupId": "sg-other"}])],
    ],
)
def test_a_node_that_does_not_is_an_error_that_names_port_and_source(problems, not_admitting):
    ((is_error, text),) = problems(*not_admitting)
    assert is_error
    assert "(sg-node) do not allow load balancer 'emr' on TCP port 8998: allow it from 10.0.0.0/24" in text


def test_the_load_balancers_own_security_group_will_do(problems):
    pair = rule(8998, 8998, UserIdGroupPairs=[{"GroupId": "sg-nlb"}])
    assert problems(pair, groups=("sg-nlb",)) == []


def test_every_subnet_of_the_load_balancer_must_be_let_in(problems):
    half = rule(8998, 8998, **ranges("10.0.0.0/24"))
    zones = ("eu-west-1a", "eu-west-1b")
    assert [is_error for is_error, _ in problems(half, zones=zones, cross_zone=("true",))] == [True]


def test_a_prefix_list_may_let_it_in(problems):
    ((is_error, text),) = problems(rule(8998, 8998, PrefixListIds=[{"PrefixListId": "pl-1"}]))
    assert not is_error
    assert "unless one of their prefix lists allows it" in text


def test_a_health_check_on_another_port_must_get_in_too_and_is_pointed_out(problems):
    group = replace(GROUP, health_check_port=8088)
    found = problems(rule(8998, 8998, **ranges("10.0.0.0/8")), group=group)
    assert [is_error for is_error, _ in found] == [False, True]
    assert "checks the health on port 8088, but sends traffic to port 8998" in found[0][1]
    assert "TCP port 8088" in found[1][1]


def test_of_an_instance_only_the_port_of_the_health_checks_is_judged(problems):
    group = replace(GROUP, target_type="instance", health_check_port=8088)
    assert [is_error for is_error, _ in problems(rule(8088, 8088, **ranges("10.0.0.0/8")), group=group)] == [False]


def test_a_zone_that_is_not_enabled_is_an_error(problems):
    node = replace(NODE, zone="eu-west-1c")
    ((is_error, text),) = problems(rule(8998, 8998, **ranges("10.0.0.0/8")), node=node)
    assert (is_error, "emr' is enabled in eu-west-1a, but i-1 is in eu-west-1c" in text) == (True, True)


@pytest.mark.parametrize(
    ("attributes", "warned"),
    [
        (("true",), False),
        (("false",), True),
        (("use_load_balancer_configuration", "true"), False),
        (("", "false"), True),
    ],
)
def test_several_zones_without_cross_zone_load_balancing_are_pointed_out(problems, attributes, warned):
    zones = ("eu-west-1a", "eu-west-1b")
    found = problems(rule(8998, 8998, **ranges("10.0.0.0/8")), zones=zones, cross_zone=attributes)
    assert [is_error for is_error, _ in found] == [False] * warned


def test_another_vpc_is_an_error_and_nothing_more_is_asked(stubbed):
    found = list(find_target_problems(stubbed("elbv2"), stubbed("ec2"), GROUP, replace(NODE, vpc_id="vpc-2"), TARGET))
    assert [(each.is_error, str(each)) for each in found] == [
        (True, "target group 'livy' is in VPC 'vpc-1', but i-1 is in 'vpc-2'")
    ]


def test_a_group_that_takes_no_nodes_or_that_no_load_balancer_uses_is_an_error():
    assert list(find_group_problems(GROUP)) == []
    wrong = find_group_problems(replace(GROUP, target_type="alb", load_balancers=()))
    assert [each.is_error for each in wrong] == [True, True]


def test_a_group_is_read_by_name_or_arn(stubbed):
    item = {"TargetGroupArn": "arn:livy", "TargetGroupName": "livy", "Port": 8998, "TargetType": "ip", "VpcId": "vpc-1"}
    more = {"HealthCheckPort": "8088", "LoadBalancerArns": [BALANCER]}
    elb = stubbed(
        "elbv2",
        ("describe_target_groups", {"TargetGroups": [{**item, **more}]}, {"Names": ["livy"]}),
        ("describe_target_groups", {"TargetGroups": [item]}, {"TargetGroupArns": ["arn:livy"]}),
        ("describe_target_groups", "TargetGroupNotFound", {"Names": ["other"]}),
    )
    assert read_target_group(elb, "livy") == replace(GROUP, health_check_port=8088)
    assert read_target_group(elb, "arn:livy") == replace(GROUP, load_balancers=())
    assert read_target_group(elb, "other") is None


def test_a_target_that_is_asked_for_has_an_answer_registered_or_not(stubbed):
    target = {"Id": "10.0.0.5", "Port": 8998}
    health = {"State": "unhealthy", "Reason": "Target.FailedHealthChecks", "Description": "Health checks failed"}
    answer = {"TargetHealthDescriptions": [{"Target": target, "TargetHealth": health}]}
    other = Target("10.0.0.6", 8998)
    elb = stubbed("elbv2", ("describe_target_health", answer))
    found = read_target_health(elb, "arn:livy", [TARGET, other])
    assert found[1] == TargetHealth(other, "unused", "Target.NotRegistered")
    assert [str(each) for each in found] == [
        "10.0.0.5:8998 is unhealthy (Target.FailedHealthChecks: Health checks failed)",
        "10.0.0.6:8998 is not registered",
    ]
