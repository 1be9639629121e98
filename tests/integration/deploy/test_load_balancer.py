"""The load balancer of the template: primary nodes behind it become healthy, with the permissions of the template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators.elbv2 import NlbTargetsOperator
from harness.life import Task
from tests.integration.deploy.stacks import expected_policy, read_document
from tests.integration.deploy.template import create_from_template

if TYPE_CHECKING:
    from collections.abc import Callable

TEMPLATE = Path(__file__).parents[3] / "deploy" / "cloudformation" / "load-balancer.yaml"
ZONES = ("eu-west-1a", "eu-west-1b")
PORTS = {"yarn": 8088, "hdfs": 9870, "livy": 8998}
ADDRESS = "eipalloc-0123456789abcdef0"


@pytest.fixture
def subnets(boto: Any, clocked: Any) -> list[dict[str, Any]]:
    """One subnet in each of two zones."""
    found = boto("ec2").describe_subnets()["Subnets"]
    return [subnet for subnet in found if subnet["AvailabilityZone"] in ZONES]


@pytest.fixture
def airflow_group(boto: Any, subnets: list[dict[str, Any]]) -> str:
    made = boto("ec2").create_security_group(GroupName="airflow", Description="x", VpcId=subnets[0]["VpcId"])
    return str(made["GroupId"])


@pytest.fixture
def stack(boto: Any, subnets: list[dict[str, Any]], airflow_group: str) -> Callable[..., dict[str, str]]:
    """Create the resources of the template and return its outputs."""

    def create(**parameters: str) -> dict[str, str]:
        given = {
            "VpcId": subnets[0]["VpcId"],
            "SubnetIds": [subnet["SubnetId"] for subnet in subnets],
            "AirflowSecurityGroupId": airflow_group,
            "AllocationId": ADDRESS,
            **parameters,
        }
        return create_from_template(TEMPLATE, boto, **given)

    return create


def launched(boto: Any, clocked: Any, subnet_id: str, *groups: str) -> str:
    """Launch a cluster with Livy and return its id when its services run."""
    instances = {
        "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
        "KeepJobFlowAliveWhenNoSteps": True,
        "Ec2SubnetId": subnet_id,
        "AdditionalMasterSecurityGroups": list(groups),
    }
    applications = [{"Name": "Spark"}, {"Name": "Livy"}]
    made = boto("emr").run_job_flow(Name="livy", Applications=applications, Instances=instances)
    clocked.clock.advance(600)
    return str(made["JobFlowId"])


def test_a_node_in_either_zone_becomes_healthy_behind_it(stack, boto, clocked, subnets):
    group = stack()["PrimarySecurityGroupId"]
    for subnet in subnets:
        job_flow_id = launched(boto, clocked, subnet["SubnetId"], group)
        targets = ["emr-yarn", "emr-hdfs", "emr-livy"]
        given = {"job_flow_id": job_flow_id, "target_groups": targets, "aws_conn_id": None}
        found = Task(NlbTargetsOperator(task_id="register", **given)).run()
        assert [(each["port"], each["state"]) for each in found] == [(port, "healthy") for port in PORTS.values()]


def test_each_service_has_a_listener_on_its_port_and_a_health_check_over_http(stack, boto):
    outputs = stack()
    elb = boto("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    assert (balancer["Type"], balancer["Scheme"]) == ("network", "internal")
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    groups = {group["TargetGroupArn"]: group for group in elb.describe_target_groups()["TargetGroups"]}
    forwarded = {each["Port"]: groups[each["DefaultActions"][0]["TargetGroupArn"]] for each in listeners}
    assert {port: group["Port"] for port, group in forwarded.items()} == {port: port for port in PORTS.values()}
    assert {group["HealthCheckProtocol"] for group in groups.values()} == {"HTTP"}
    assert forwarded[8998]["TargetGroupArn"] == outputs["LivyTargetGroupArn"]


def test_only_airflow_reaches_the_load_balancer_and_only_the_two_of_them_a_node(stack, boto, airflow_group):
    primary = stack()["PrimarySecurityGroupId"]
    ec2 = boto("ec2")
    (balancer,) = boto("elbv2").describe_load_balancers()["LoadBalancers"]
    (front,) = balancer["SecurityGroups"]
    reached = {}
    for group in ec2.describe_security_groups(GroupIds=[front, primary])["SecurityGroups"]:
        rules = group["IpPermissions"]
        assert {(rule["IpProtocol"], rule["FromPort"]) for rule in rules} == {("tcp", port) for port in PORTS.values()}
        assert [rule["IpRanges"] for rule in rules] == [[]] * len(rules)
        for port in PORTS.values():
            pairs = [rule["UserIdGroupPairs"] for rule in rules if rule["FromPort"] <= port <= rule["ToPort"]]
            reached[group["GroupId"], port] = {pair["GroupId"] for each in pairs for pair in each}
    for port in PORTS.values():
        assert reached[front, port] == {airflow_group}
        assert reached[primary, port] == {airflow_group, front}


def test_its_policy_is_what_the_package_adds_for_health_and_targets(stack, boto):
    iam = boto("iam")
    iam.create_role(RoleName="mwaa", AssumeRolePolicyDocument="{}")
    outputs = stack(AirflowRoleName="mwaa")
    groups = [outputs[f"{name}TargetGroupArn"] for name in ("Yarn", "Hdfs", "Livy")]
    plain = expected_policy(ADDRESS, log_uri="s3://logs/")["Statement"]
    whole = expected_policy(ADDRESS, log_uri="s3://logs/", health=True, target_groups=groups)["Statement"]
    made = read_document(iam, outputs["TargetsPolicyArn"])
    assert made["Statement"] == [statement for statement in whole if statement not in plain]
    attached = iam.list_attached_role_policies(RoleName="mwaa")["AttachedPolicies"]
    assert [found["PolicyArn"] for found in attached] == [outputs["TargetsPolicyArn"]]
