"""The templates are valid, they create what the documentation says, and their address and table outlive them."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

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
from tests.integration.iam.stage import AIRFLOW, staged

TEMPLATES = Path(__file__).parents[3] / "deploy" / "cloudformation"
ROLES = {"ServiceRoleArn": SERVICE_ROLE, "InstanceRoleArn": INSTANCE_ROLE}


def create_stack(cloudformation: Any, name: str, **parameters: str) -> dict[str, str]:
    """Create a stack and return its outputs."""
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(TEMPLATES / f"{name}.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture
def deploy(boto: Any) -> Any:
    return functools.partial(create_stack, boto("cloudformation"))


@pytest.fixture
def document(boto: Any) -> Any:
    return functools.partial(read_document, boto("iam"))


def read_template(name: str) -> dict[str, Any]:
    """Read a template, for tests of properties that moto's CloudFormation ignores."""
    from cfnlint.decode import decode  # noqa: PLC0415 - it imports sympy, which would slow down every collection of tests

    template, problems = decode(str(TEMPLATES / f"{name}.yaml"))
    assert problems == []
    return template


def test_cfn_lint_finds_nothing():
    command = [Path(sys.executable).with_name("cfn-lint"), "--include-checks", "I", "--", *TEMPLATES.glob("*.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_lock_table_serves_the_lock_store_and_is_hard_to_lose(deploy, boto, local_aws):
    outputs = deploy("shared")
    dynamodb = boto("dynamodb")
    DynamoDbStore(outputs["TableName"], dynamodb).check()
    table = dynamodb.describe_table(TableName=outputs["TableName"])["Table"]
    assert table["DeletionProtectionEnabled"] is True
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert outputs["LockStore"] == f"dynamodb://airflow-eip-leases?region={local_aws.region}"


def test_the_lock_table_can_be_restored_to_any_point_in_time():
    recovery = read_template("shared")["Resources"]["LockTable"]["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True}


def test_address_and_table_stay_when_their_stacks_are_deleted(deploy, boto):
    table, address = deploy("shared")["TableName"], deploy("address")["AllocationId"]
    for name in ("shared", "address"):
        boto("cloudformation").delete_stack(StackName=name)
    assert boto("dynamodb").describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
    assert boto("ec2").describe_addresses(AllocationIds=[address])["Addresses"][0]["Domain"] == "vpc"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_addresses_are_made_as_are_asked_for(deploy, boto, count):
    outputs = deploy("address", Count=str(count))
    known = boto("ec2").describe_addresses()["Addresses"]
    made = dict(zip(outputs["AllocationIds"].split(","), outputs["PublicIps"].split(","), strict=True))
    assert made.items() <= {address["AllocationId"]: address["PublicIp"] for address in known}.items()
    assert len(made) == count
    assert next(iter(made.items())) == (outputs["AllocationId"], outputs["PublicIp"])


def test_every_address_of_the_template_stays_and_has_the_tag_and_the_pool_that_were_asked_for():
    addresses = list(read_template("address")["Resources"].values())
    assert len(addresses) == 5
    for address in addresses:
        assert (address["DeletionPolicy"], address["UpdateReplacePolicy"]) == ("Retain", "Retain")
        properties = address["Properties"]
        tag = {"Key": "purpose", "Value": {"Ref": "Purpose"}}
        assert {"Fn::If": ["HasPurpose", tag, {"Ref": "AWS::NoValue"}]} in properties["Tags"]
        for name, condition in (("PublicIpv4Pool", "HasPublicPool"), ("IpamPoolId", "HasIpamPool")):
            assert properties[name] == {"Fn::If": [condition, {"Ref": name}, {"Ref": "AWS::NoValue"}]}


@pytest.mark.parametrize("count", range(1, 6))
def test_each_condition_of_the_template_holds_from_its_number_of_addresses_on(count):
    conditions = read_template("address")["Conditions"]

    def holds(name: str) -> bool:
        return bool(value(conditions[name]))

    def value(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        [(function, argument)] = part.items()
        if function == "Ref":
            assert argument == "Count"
            return str(count)
        parts = [value(each) for each in argument]
        return {
            "Fn::Equals": lambda: parts[0] == parts[1],
            "Fn::Not": lambda: not parts[0],
            "Fn::Or": lambda: any(parts),
        }[function]()

    names = ["Two", "Three", "Four", "Five"]
    assert [name for name in names if holds(name)] == names[: count - 1]


@pytest.mark.parametrize("log_prefix", ["", "emr/"], ids=["bucket", "prefix"])
def test_the_policy_is_the_one_that_the_package_prints(deploy, document, local_aws, log_prefix):
    address = deploy("address")["AllocationId"]
    outputs = deploy("access", AllocationId=address, LogBucket="logs", LogPrefix=log_prefix, **ROLES)
    expected = expected_policy(address, log_uri=f"s3://logs/{log_prefix}")
    assert document(outputs["AirflowPolicyArn"]) == expected


def test_the_policy_is_attached_to_airflows_role(deploy, boto):
    iam = boto("iam")
    iam.create_role(RoleName="mwaa", AssumeRolePolicyDocument="{}")
    address = deploy("address")["AllocationId"]
    outputs = deploy("access", AllocationId=address, LogBucket="logs", AirflowRoleName="mwaa", **ROLES)
    attached = iam.list_attached_role_policies(RoleName="mwaa")["AttachedPolicies"]
    assert [found["PolicyArn"] for found in attached] == [outputs["AirflowPolicyArn"]]


def test_a_session_lives_on_what_the_stacks_have_made(served_aws):
    with staged(served_aws) as stage:
        cloudformation = stage.client("cloudformation")
        lock_store = create_stack(cloudformation, "shared")["LockStore"]
        stage.allocation_id = create_stack(cloudformation, "address")["AllocationId"]
        given = {"AllocationId": stage.allocation_id, "LogBucket": "logs", "LogPrefix": "emr/", **ROLES}
        access = create_stack(cloudformation, "access", **given)
        policy = read_document(stage.client("iam"), access["AirflowPolicyArn"])
        served_aws.enforce(policy, access_key_id=AIRFLOW)
        job_flow_id = stage.create(lock_store=lock_store).run()
        stage.steps(job_flow_id, lock_store=lock_store).run()
        stage.terminate(job_flow_id, lock_store=lock_store).run()
        assert stage.cluster_state(job_flow_id) == "TERMINATED"
        assert [ended.resource_id for ended in stage.record(lock_store).history] == [job_flow_id]
        assert stage.grants()
        assert stage.refusals() == []


def test_a_cluster_within_its_boundary_can_work_but_touch_neither_address_nor_lock(deploy, document):
    boundary = Policy(document(deploy("shared")["ClusterBoundaryArn"]))
    assert [question for question in CLUSTER_DENIED if boundary.grant(question)] == []
    assert [question for question in CLUSTER_ALLOWED if not boundary.grant(question)] == []
