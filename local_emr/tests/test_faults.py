"""What a client meets on a bad day, and whether AWS was changed by it."""

from __future__ import annotations

import time

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from local_emr.faults import Faults

ONE_TRY = Config(retries={"total_max_attempts": 1})


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("ec2", "DescribeAddresses", "RequestLimitExceeded"),
        ("emr", "ListClusters", "ThrottlingException"),
        ("dynamodb", "ListTables", "ProvisionedThroughputExceededException"),
        ("s3", "ListBuckets", "SlowDown"),
    ],
)
def test_each_service_throttles_in_its_own_words(boto, local_emr, refused, service, operation, code):
    """[docs: EC2, EMR, DynamoDB and S3, Error codes]."""
    local_emr.faults.add(operation=operation, kind="throttle")
    client = boto(service, config=ONE_TRY)
    method = getattr(client, xform_name(operation))
    with refused(code):
        method()
    assert method()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_fault_happens_as_often_as_planned(boto, local_emr):
    local_emr.faults.add(operation="DescribeAddresses", kind="error", code="InternalError", status=500, times=2)
    boto("ec2", config=Config(retries={"total_max_attempts": 3, "mode": "standard"})).describe_addresses()
    codes = [call["error_code"] for call in local_emr.events.calls("DescribeAddresses")]
    assert codes == ["InternalError", "InternalError", None]
    assert len(local_emr.events.read(kind="fault")) == 2


def test_a_refused_call_has_no_effect(emr, local_emr, start_cluster):
    local_emr.faults.add(operation="RunJobFlow", kind="error", code="InternalServerError", status=400)
    with pytest.raises(ClientError):
        start_cluster()
    assert emr.list_clusters()["Clusters"] == []


def test_a_call_whose_response_is_lost_has_had_its_effect(boto, local_emr):
    local_emr.faults.add(operation="AllocateAddress", kind="lost_response")
    ec2 = boto("ec2", config=ONE_TRY)
    with pytest.raises(ConnectionClosedError):
        ec2.allocate_address(Domain="vpc")
    assert len(ec2.describe_addresses()["Addresses"]) == 1


def test_a_call_whose_connection_is_reset_has_had_none(boto, local_emr):
    local_emr.faults.add(operation="AllocateAddress", kind="reset")
    ec2 = boto("ec2", config=ONE_TRY)
    with pytest.raises(ConnectionClosedError):
        ec2.allocate_address(Domain="vpc")
    assert ec2.describe_addresses()["Addresses"] == []


def test_a_call_that_is_never_answered_has_had_its_effect(boto, local_emr):
    local_emr.faults.add(operation="AllocateAddress", kind="silence")
    with pytest.raises(ReadTimeoutError):
        boto("ec2", config=ONE_TRY.merge(Config(read_timeout=0.2))).allocate_address(Domain="vpc")
    assert len(boto("ec2").describe_addresses()["Addresses"]) == 1


def test_a_delayed_call_is_late(boto, local_emr):
    local_emr.faults.add(operation="DescribeAddresses", kind="delay", seconds=0.2)
    ec2 = boto("ec2")
    begin = time.monotonic()
    ec2.describe_addresses()
    assert time.monotonic() - begin >= 0.2


def test_a_star_means_any_operation(boto, local_emr, refused):
    local_emr.faults.add(operation="*", kind="throttle")
    with refused("RequestLimitExceeded"):
        boto("ec2", config=ONE_TRY).describe_vpcs()


def test_a_permission_taken_away_is_missed_in_each_services_words(ec2, emr, local_emr, refused):
    """[docs: EC2 and EMR, Error codes]."""
    local_emr.deny("AllocateAddress")
    local_emr.deny("RunJobFlow")
    with refused("UnauthorizedOperation"):
        ec2.allocate_address(Domain="vpc")
    with refused("AccessDeniedException"):
        emr.run_job_flow(Name="x", Instances={})


def test_s3_refuses_in_xml_and_a_head_request_by_its_status_alone(s3, local_emr, refused):
    """[docs: S3, Error responses; HeadBucket]."""
    local_emr.deny("ListBuckets")
    local_emr.deny("HeadBucket")
    with refused("AccessDenied"):
        s3.list_buckets()
    with refused("403"):
        s3.head_bucket(Bucket="data")


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        (
            "dynamodb",
            "PutItem",
            {"TableName": "locks", "Item": {"id": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(id)"},
        ),
        ("s3", "PutObject", {"Bucket": "data", "Key": "a", "Body": b"x", "IfNoneMatch": "*"}),
    ],
)
def test_what_botocore_sends_again_after_a_lost_response_meets_its_own_effect(
    boto, s3, local_emr, service, operation, params
):
    s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    boto("dynamodb").create_table(
        TableName="locks",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    local_emr.faults.add(operation=operation, kind="lost_response")
    with pytest.raises(ClientError, match=r"(?i)condition") as refusal:
        getattr(boto(service), xform_name(operation))(**params)
    assert refusal.value.response["ResponseMetadata"]["RetryAttempts"] == 1
    assert len(local_emr.events.calls(operation)) == 2


def test_a_thief_takes_the_address_as_aws_allows(ec2, local_emr, allocation_id, launch):
    victim, interface_id = launch()
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)
    thief = local_emr.steal(allocation_id)
    assert ec2.describe_addresses()["Addresses"][0]["InstanceId"] == thief != victim


def test_faults_that_make_no_sense_are_refused_when_planned():
    with pytest.raises(ValueError, match="choose one of"):
        Faults().add(operation="RunJobFlow", kind="explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        Faults().add(operation="RunJobFlow", kind="throttle", times=0)


def test_a_reset_forgets_faults(local_emr):
    local_emr.faults.add(operation="*", kind="throttle")
    local_emr.deny("RunJobFlow")
    local_emr.reset()
    client = boto3.client("emr")
    assert client.list_clusters()["Clusters"] == []
    client.close()
