"""The modules create the same as the templates; they need Terraform and its AWS provider, which are not on PyPI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.stores.dynamodb import DynamoDbStore
from local_emr.iam.policy import Policy
from tests.integration.deploy.stacks import (
    CLUSTER_ALLOWED,
    CLUSTER_DENIED,
    INSTANCE_ROLE,
    SERVICE_ROLE,
    expected_policy,
    read_document,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "eipalloc-0123456789abcdef0"
MODULES = Path(__file__).parents[3] / "deploy" / "terraform"

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="there is no Terraform")


def terraform(module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["terraform", f"-chdir={module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})


@pytest.fixture
def module(tmp_path: Path, local_aws: Any) -> Callable[[str], Path]:
    """Prepare a copy of a module; its provider finds the local EMR through the environment."""

    def prepare(name: str) -> Path:
        copy = Path(shutil.copytree(MODULES / name, tmp_path / name))
        ready = terraform(copy, "init", "-input=false", "-no-color")
        if ready.returncode:
            pytest.skip("terraform init cannot get the provider hashicorp/aws here")
        return copy

    return prepare


@pytest.fixture
def apply(module: Any) -> Callable[..., dict[str, Any]]:
    """Apply a module and return its outputs."""

    def run(name: str, **variables: str) -> dict[str, Any]:
        copy = module(name)
        given = [f"-var={key}={value}" for key, value in variables.items()]
        applied = terraform(copy, "apply", "-auto-approve", "-input=false", "-no-color", *given)
        assert applied.returncode == 0, applied.stderr
        outputs = json.loads(terraform(copy, "output", "-json").stdout)
        return {key: output["value"] for key, output in outputs.items()}

    return run


def test_the_modules_are_formatted():
    checked = terraform(MODULES, "fmt", "-check", "-recursive")
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_shared_module_makes_the_lock_table_and_the_boundary(apply, boto, local_aws, tmp_path):
    outputs = apply("shared")
    dynamodb = boto("dynamodb")
    DynamoDbStore(outputs["table_name"], dynamodb).check()
    assert dynamodb.describe_table(TableName=outputs["table_name"])["Table"]["DeletionProtectionEnabled"] is True
    backups = dynamodb.describe_continuous_backups(TableName=outputs["table_name"])["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert outputs["lock_store"] == f"dynamodb://airflow-eip-leases?region={local_aws.region}"
    boundary = Policy(read_document(boto("iam"), outputs["cluster_boundary_arn"]))
    assert [question for question in CLUSTER_DENIED if boundary.grant(question)] == []
    assert [question for question in CLUSTER_ALLOWED if not boundary.grant(question)] == []
    refused = terraform(tmp_path / "shared", "destroy", "-auto-approve", "-no-color")
    assert "prevent_destroy" in refused.stderr


def test_the_address_cannot_be_destroyed_and_its_policy_is_the_one_that_the_package_prints(apply, boto, tmp_path):
    address = apply("address")["allocation_id"]
    assert boto("ec2").describe_addresses(AllocationIds=[address])["Addresses"][0]["Domain"] == "vpc"
    refused = terraform(tmp_path / "address", "destroy", "-auto-approve", "-no-color")
    assert "prevent_destroy" in refused.stderr
    boto("iam").create_role(RoleName="mwaa", AssumeRolePolicyDocument="{}")
    given = {"service_role_arn": SERVICE_ROLE, "instance_role_arn": INSTANCE_ROLE, "airflow_role_name": "mwaa"}
    outputs = apply("access", allocation_id=address, log_bucket="logs", log_prefix="emr/", **given)
    made = read_document(boto("iam"), outputs["airflow_policy_arn"])
    assert made == expected_policy(address, log_uri="s3://logs/emr/")
    attached = boto("iam").list_attached_role_policies(RoleName="mwaa")["AttachedPolicies"]
    assert [found["PolicyArn"] for found in attached] == [outputs["airflow_policy_arn"]]


def test_as_many_addresses_are_made_as_are_asked_for_and_the_tag_names_all(apply, boto):
    outputs = apply("address", address_count="3", purpose="warehouse")
    by_tag = boto("ec2").describe_addresses(Filters=[{"Name": "tag:purpose", "Values": ["warehouse"]}])["Addresses"]
    made = dict(zip(outputs["allocation_ids"], outputs["public_ips"], strict=True))
    assert made == {address["AllocationId"]: address["PublicIp"] for address in by_tag}
    assert (outputs["allocation_id"], outputs["public_ip"]) == next(iter(made.items()))


def test_the_load_balancer_module_makes_a_listener_and_a_checked_group_for_each_service(apply, boto):
    ec2, elb = boto("ec2"), boto("elbv2")
    subnets = [subnet for subnet in ec2.describe_subnets()["Subnets"] if subnet["AvailabilityZone"][-1] in "ab"]
    vpc_id = subnets[0]["VpcId"]
    airflow = ec2.create_security_group(GroupName="airflow", Description="x", VpcId=vpc_id)["GroupId"]
    given = {"vpc_id": vpc_id, "subnet_ids": json.dumps([subnet["SubnetId"] for subnet in subnets])}
    outputs = apply("load-balancer", airflow_security_group_id=airflow, allocation_id=ADDRESS, **given)
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert {each["Port"] for each in listeners} == {8088, 9870, 8998}
    assert {group["HealthCheckProtocol"] for group in elb.describe_target_groups()["TargetGroups"]} == {"HTTP"}
    groups = [outputs["target_group_arns"][name] for name in ("yarn", "hdfs", "livy")]
    plain, whole = (
        expected_policy(ADDRESS, log_uri="s3://logs/", **more)["Statement"]
        for more in ({}, {"health": True, "target_groups": groups})
    )
    made = read_document(boto("iam"), outputs["targets_policy_arn"])
    assert made["Statement"] == [statement for statement in whole if statement not in plain]
