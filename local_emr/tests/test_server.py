from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from local_emr import LocalAws
from local_emr.outside import Caller
from local_emr.testing import ANYWHERE, private_subnet

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_call_is_an_event_with_request_and_response(ec2, allocation_id, launch, local_emr):
    _, interface_id = launch()
    answer = ec2.associate_address(
        AllocationId=allocation_id, NetworkInterfaceId=interface_id, AllowReassociation=False
    )
    [call] = local_emr.events.calls("AssociateAddress")
    assert call["service"] == "ec2"
    assert call["request"] == {
        "AllocationId": allocation_id,
        "NetworkInterfaceId": interface_id,
        "AllowReassociation": False,
    }
    assert (call["status"], call["error_code"]) == (200, None)
    assert call["response"]["associationId"] == answer["AssociationId"]


def test_these_tests_come_over_http_whatever_other_tests_of_the_process_do(ec2, local_emr):
    threads = []
    local_emr.events.listeners.append(lambda _: threads.append(threading.current_thread()))
    try:
        ec2.describe_vpcs()
    finally:
        local_emr.events.listeners.pop()
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_calls_of_rest_services_are_named_too(s3, local_emr):
    s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="data", Key="a/b", Body=b"x", IfNoneMatch="*")
    s3.list_objects_v2(Bucket="data")
    assert [call["operation"] for call in local_emr.events.calls()] == ["CreateBucket", "PutObject", "ListObjectsV2"]
    assert local_emr.events.calls("PutObject")[0]["request"] == {"Bucket": "data", "Key": "a/b", "IfNoneMatch": "*"}


def test_secrets_are_not_written_down(boto, local_emr):
    boto("secretsmanager").create_secret(Name="sql", SecretString="hunter2")
    assert "hunter2" not in str(local_emr.events.read())


def test_other_services_answer_as_moto_does(boto, s3):
    dynamodb = boto("dynamodb")
    dynamodb.create_table(
        TableName="locks",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"TableName": "locks", "Item": {"id": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(id)"}
    dynamodb.put_item(**item)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        dynamodb.put_item(**item)
    assert boto("sts").get_caller_identity()["Account"] == "123456789012"
    assert s3.list_buckets()["Buckets"] == []


def test_responses_carry_simulated_time(ec2, local_emr):
    local_emr.clock.advance(86_400)
    date = ec2.describe_addresses()["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert abs((parsedate_to_datetime(date) - local_emr.clock.now()).total_seconds()) < 1


def test_of_many_callers_at_once_exactly_one_gets_the_address(ec2, allocation_id, launch):
    interfaces = [launch()[1] for _ in range(8)]

    def associate(interface_id: str) -> str:
        try:
            ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id, AllowReassociation=False)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "associated"

    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(threads.map(associate, interfaces))
    assert outcomes == ["Resource.AlreadyAssociated"] * 7 + ["associated"]


def test_aiobotocore_is_served_as_well(local_emr, allocation_id):
    async def look() -> list[dict[str, Any]]:
        async with get_session().create_client("ec2") as ec2, get_session().create_client("emr") as emr:
            await emr.list_clusters()
            return list((await ec2.describe_addresses())["Addresses"])

    assert [address["AllocationId"] for address in asyncio.run(look())] == [allocation_id]


def test_a_large_object_survives_the_way(s3):
    s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    body = bytes(range(256)) * 20_000
    s3.put_object(Bucket="data", Key="big", Body=body)
    assert s3.get_object(Bucket="data", Key="big")["Body"].read() == body


def test_a_reset_empties_every_service(ec2, s3, allocation_id, local_emr):
    s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    local_emr.reset()
    assert s3.list_buckets()["Buckets"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    assert ec2.describe_internet_gateways()["InternetGateways"] != []


@pytest.fixture
def cuts(local_emr, monkeypatch) -> list[Callable[[Caller], bool]]:
    """Which callers lost their connections, one entry each time that some did."""
    made: list[Callable[[Caller], bool]] = []
    database = SimpleNamespace(reset_connections=made.append, reset=lambda: None)
    monkeypatch.setattr(local_emr, "azure_sql", database)
    return made


def test_an_address_that_comes_or_goes_breaks_the_connections_of_its_node(
    ec2, start_cluster, primary_of, allocation_id, local_emr, cuts
):
    """The public address of the node changes under them [docs: EC2, Elastic IP addresses]."""
    job_flow_id = start_cluster()
    local_emr.clock.advance(60)
    primary = primary_of(job_flow_id)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary.nics[0].id)
    assert [cut(Caller(None, instance_id=primary.id)) for cut in cuts] == [True]
    local_emr.steal(allocation_id)
    assert [cut(Caller(None, instance_id=primary.id)) for cut in cuts] == [True, True, False]
    assert not any(cut(Caller(None, instance_id="i-core")) for cut in cuts)


def test_another_way_out_breaks_the_connections_of_those_whose_address_it_changes(
    ec2, launch, subnet_id, allocation_id, local_emr, cuts
):
    """[docs: Amazon VPC, NAT gateways: deleting one drops its connections]."""
    private = private_subnet(ec2)
    gateway = ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=allocation_id)["NatGateway"]["NatGatewayId"]
    local_emr.clock.advance(local_emr.durations.nat_gateway_start)
    route = {"RouteTableId": private.route_table_id, "DestinationCidrBlock": ANYWHERE}
    ec2.create_route(**route, NatGatewayId=gateway)
    home = local_emr.ec2(local_emr.region)
    behind, beside = (
        Caller(home.public_ip(instance_id), instance_id=instance_id)
        for instance_id, _ in (launch(SubnetId=private.subnet_id), launch())
    )
    assert behind.ip != beside.ip
    assert not any(cut(caller) for cut in cuts for caller in (behind, beside))
    cuts.clear()
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    assert [(cut(behind), cut(beside)) for cut in cuts] == [(True, False)]


def test_a_cluster_can_be_ended_by_hand(start_cluster, local_emr, state_of):
    job_flow_id = start_cluster()
    local_emr.end_cluster(job_flow_id, state="TERMINATED_WITH_ERRORS", message="lost")
    assert state_of(job_flow_id) == "TERMINATED_WITH_ERRORS"
    with pytest.raises(KeyError, match="j-UNKNOWN"):
        local_emr.end_cluster("j-UNKNOWN")


def test_the_newest_local_emr_of_a_process_has_its_state_and_an_older_one_fails(ec2, emr, local_emr):
    ec2.allocate_address(Domain="vpc")
    with LocalAws():
        for call in (ec2.describe_addresses, emr.list_clusters):
            with pytest.raises(ClientError, match=r"Another local EMR began later .* reset this one first"):
                call()
    with pytest.raises(ClientError, match="NotSimulated"):
        ec2.allocate_address(Domain="vpc")
    local_emr.reset()
    made = ec2.allocate_address(Domain="vpc")["AllocationId"]
    assert [found["AllocationId"] for found in ec2.describe_addresses()["Addresses"]] == [made]


@pytest.fixture
def used_and_replaced(local_emr_server):
    """Begin another local EMR in this process before the test's own is asked for, as the test before this one may."""
    with LocalAws():
        pass
    assert not local_emr_server.has_state


def test_the_fixture_is_as_good_as_new_after_another_local_emr(used_and_replaced, ec2):
    made = ec2.allocate_address(Domain="vpc")["AllocationId"]
    assert ec2.describe_addresses(AllocationIds=[made])["Addresses"][0]["AllocationId"] == made
