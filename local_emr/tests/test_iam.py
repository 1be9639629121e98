"""Policies that are enforced: IAM's rules, and each service's own way to say no."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from local_emr.iam.policy import Policy, Question

CALLER = {"aws_access_key_id": "somebody", "aws_secret_access_key": "testing"}


def policy(*statements, effect="Allow"):
    whole = {"Effect": effect, "Action": "s3:GetObject", "Resource": "*"}
    return Policy({"Version": "2012-10-17", "Statement": [{**whole, **statement} for statement in statements]})


def allows(statement, **context):
    question = Question("s3:GetObject", "arn:aws:s3:::data/a", {k.replace("_", ":", 1): v for k, v in context.items()})
    return policy({"Sid": "it", **statement}).grant(question) == "it"


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ({"Action": "s3:GetObject"}, True),
        ({"Action": ["s3:PutObject", "S3:getobject"]}, True),
        ({"Action": "s3:Get*"}, True),
        ({"Action": "s3:GetObjec?"}, True),
        ({"Action": "s3:Get"}, False),
        ({"Action": "ec2:*"}, False),
        ({"Resource": "arn:aws:s3:::data/*"}, True),
        ({"Resource": "arn:aws:s3:::DATA/*"}, False),
        ({"Resource": ["arn:aws:s3:::other", "arn:aws:s3:::data/?"]}, True),
        ({"Resource": "arn:aws:s3:::data"}, False),
        ({"Resource": "arn:aws:s3:::data/[a]"}, False),
    ],
)
def test_actions_know_no_case_and_resources_do_and_both_have_wildcards(statement, allowed):
    assert allows(statement) is allowed


@pytest.mark.parametrize(
    ("condition", "context", "allowed"),
    [
        ({"StringEquals": {"aws:A": "x"}}, {"aws_A": "x"}, True),
        ({"StringEquals": {"AWS:a": ["y", "x"]}}, {"aws_A": "x"}, True),
        ({"StringEquals": {"aws:A": "x*"}}, {"aws_A": "xy"}, False),
        ({"StringLike": {"aws:A": "x*"}}, {"aws_A": "xy"}, True),
        ({"StringEquals": {"aws:A": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"aws:A": "x"}}, {}, True),
        ({"StringEqualsIfExists": {"aws:A": "x"}}, {"aws_A": "y"}, False),
        ({"StringEquals": {"aws:A": "x", "aws:B": "y"}}, {"aws_A": "x", "aws_B": "z"}, False),
        ({"ForAllValues:StringEquals": {"aws:A": ["x", "y"]}}, {"aws_A": ("x", "y")}, True),
        ({"ForAllValues:StringEquals": {"aws:A": "x"}}, {"aws_A": ("x", "y")}, False),
        ({"ForAllValues:StringEquals": {"aws:A": "x"}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:A": "x"}}, {"aws_A": ("x", "y")}, True),
        ({"ForAnyValue:StringEquals": {"aws:A": "x"}}, {"aws_A": ("y",)}, False),
        ({"ForAnyValue:StringEquals": {"aws:A": "x"}}, {}, False),
        ({"StringEquals": {"aws:A": "x"}}, {"aws_A": ("x",)}, False),
    ],
)
def test_conditions_hold_as_in_iam(condition, context, allowed):
    assert allows({"Condition": condition}, **context) is allowed


def test_a_deny_wins_over_every_allow():
    both = Policy(
        {
            "Statement": [
                {"Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"},
            ]
        }
    )
    assert both.grant(Question("s3:GetObject", "arn:aws:s3:::data/a")) is not None
    assert both.grant(Question("ec2:RunInstances", "*")) is None


@pytest.mark.parametrize(
    "statement",
    [
        {"NotResource": "*"},
        {"Principal": "*"},
        {"Condition": {"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}},
        {"Resource": "arn:aws:s3:::${aws:username}/*"},
    ],
)
def test_what_is_not_evaluated_is_refused_instead_of_ignored(statement):
    with pytest.raises(ValueError, match="not evaluated here"):
        policy(statement)


def test_each_service_refuses_in_its_own_words_and_nothing_happens(boto, local_emr, refused):
    local_emr.enforce({"Statement": []}, access_key_id="somebody")
    with refused("UnauthorizedOperation"):
        boto("ec2", **CALLER).allocate_address(Domain="vpc")
    with refused("AccessDeniedException"):
        boto("emr", **CALLER).list_clusters()
    with refused("AccessDeniedException"):
        boto("dynamodb", **CALLER).list_tables()
    with refused("AccessDenied"):
        boto("s3", **CALLER).create_bucket(Bucket="mine")
    assert boto("ec2").describe_addresses()["Addresses"] == []
    assert boto("s3").list_buckets()["Buckets"] == []


def test_everybody_may_ask_who_they_are(boto, local_emr):
    local_emr.enforce({"Statement": []}, access_key_id="somebody")
    assert boto("sts", **CALLER).get_caller_identity()["Account"] == "123456789012"


def test_others_are_free_and_a_reset_frees_all(boto, local_emr, refused):
    local_emr.enforce({"Statement": []}, access_key_id="somebody")
    assert boto("emr").list_clusters()["Clusters"] == []
    local_emr.reset()
    assert boto("emr", **CALLER).list_clusters()["Clusters"] == []


def test_a_dry_run_is_asked_of_iam_as_well(boto, local_emr, refused):
    boto_ec2 = boto("ec2", **CALLER)
    dry_run = {"AllocationId": "eipalloc-0123456789abcdef0", "NetworkInterfaceId": "eni-00000000000000000"}
    addresses = {"Effect": "Allow", "Action": "ec2:AssociateAddress", "Resource": "arn:aws:ec2:*:*:elastic-ip/*"}
    local_emr.enforce({"Statement": addresses}, access_key_id="somebody")
    with refused("UnauthorizedOperation"):
        boto_ec2.associate_address(**dry_run, DryRun=True)
    interfaces = {**addresses, "Resource": "arn:aws:ec2:*:*:network-interface/*"}
    local_emr.enforce({"Statement": [addresses, interfaces]}, access_key_id="somebody")
    with refused("DryRunOperation"):
        boto_ec2.associate_address(**dry_run, DryRun=True)


def test_an_address_is_known_by_its_tags_as_well(boto, local_emr, refused):
    tagged, other = (boto("ec2").allocate_address(Domain="vpc")["AllocationId"] for _ in range(2))
    boto("ec2").create_tags(Resources=[tagged], Tags=[{"Key": "purpose", "Value": "sql"}])
    anything = {"Effect": "Allow", "Action": "ec2:AssociateAddress", "Resource": "arn:aws:ec2:*:*:network-interface/*"}
    own = {**anything, "Resource": "arn:aws:ec2:*:*:elastic-ip/*"}
    own["Condition"] = {"StringEquals": {"ec2:ResourceTag/purpose": "sql"}}
    local_emr.enforce({"Statement": [anything, own]}, access_key_id="somebody")
    dry_run = {"NetworkInterfaceId": "eni-00000000000000000", "DryRun": True}
    with refused("DryRunOperation"):
        boto("ec2", **CALLER).associate_address(AllocationId=tagged, **dry_run)
    with refused("UnauthorizedOperation"):
        boto("ec2", **CALLER).associate_address(AllocationId=other, **dry_run)


def test_without_listbucket_an_object_that_is_not_there_is_forbidden_instead_of_missing(boto, local_emr):
    """[docs: S3 API Reference, GetObject, "Permissions"]."""
    boto("s3").create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": local_emr.region})
    read = {"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}
    codes = []
    for statements in (
        [read],
        [read, {**read, "Sid": "List", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::data"}],
    ):
        local_emr.enforce({"Statement": statements}, access_key_id="somebody")
        with pytest.raises(ClientError) as error:
            boto("s3", **CALLER).get_object(Bucket="data", Key="missing")
        codes.append(error.value.response["Error"]["Code"])
    assert codes == ["AccessDenied", "NoSuchKey"]


def test_the_event_log_tells_by_which_statement_a_call_was_let_through(boto, local_emr):
    look = {"Sid": "Look", "Effect": "Allow", "Action": "elasticmapreduce:List*", "Resource": "*"}
    local_emr.enforce({"Statement": look}, access_key_id="somebody")
    boto("emr", **CALLER).list_clusters()
    boto("emr").list_clusters()
    granted = [event.get("granted") for event in local_emr.events.calls("ListClusters")]
    assert granted == [[("Look", "elasticmapreduce:ListClusters")], None]


def test_the_role_in_a_known_instance_profile_is_the_one_that_is_passed(boto, local_emr, refused):
    iam = boto("iam")
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="profile")
    iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName="worker")
    group = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    request = {"Name": "daily", "JobFlowRole": "profile", "Instances": {"InstanceGroups": [group]}}
    launch = {"Effect": "Allow", "Action": "elasticmapreduce:RunJobFlow", "Resource": "*"}
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/profile"}
    local_emr.enforce({"Statement": [launch, passing]}, access_key_id="somebody")
    with refused("AccessDeniedException"):
        boto("emr", **CALLER).run_job_flow(**request)
    worker = {**passing, "Resource": "arn:aws:iam::*:role/worker"}
    local_emr.enforce({"Statement": [launch, worker]}, access_key_id="somebody")
    assert boto("emr", **CALLER).run_job_flow(**request)["JobFlowId"]
