from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr import LocalAws

BUCKET = {"Bucket": "leases"}
VARYING = ("RequestId", "HostId", "x-amzn-requestid", "x-amz-request-id", "x-amz-id-2", "server", "connection")
CALLS: dict[str, Callable[[Any], Any]] = {
    "EC2's XML": lambda boto: boto("ec2").describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}]),
    "EC2's refusal": lambda boto: boto("ec2").describe_addresses(AllocationIds=["eipalloc-1"]),
    "JSON": lambda boto: boto("emr").list_clusters(ClusterStates=["WAITING"]),
    "a refusal in JSON": lambda boto: boto("dynamodb").get_item(TableName="none", Key={"id": {"S": "ü"}}),
    "a refusal without a body": lambda boto: boto("s3").head_object(**BUCKET, Key="none"),
    "an object's headers": lambda boto: boto("s3").head_object(**BUCKET, Key="a ü/%2F+b"),
    "an object": lambda boto: boto("s3").get_object(**BUCKET, Key="a ü/%2F+b")["Body"].read(),
    "a changed object": lambda boto: boto("s3").put_object(**BUCKET, Key="a ü/%2F+b", Body=b"\0two", IfMatch='"1"'),
    "a query": lambda boto: boto("s3").list_objects_v2(**BUCKET, Prefix="a ü/%2F", EncodingType="url"),
    "the query protocol": lambda boto: boto("sts").get_caller_identity(),
}


@pytest.fixture
def threads(local_aws: LocalAws) -> list[threading.Thread]:
    """Return the thread that answered each call."""
    answering: list[threading.Thread] = []
    listener = lambda event: answering.append(threading.current_thread())  # noqa: E731 - removed below
    local_aws.events.listeners.append(listener)
    yield answering
    local_aws.events.listeners.remove(listener)


def over_http(aws: LocalAws) -> None:
    aws.faults.add(operation="NoSuchOperation", kind="reset")


def outcome(call: Callable[[Any], Any], boto: Any) -> Any:
    """Return the answer of a call without the fields that differ from call to call."""
    try:
        answer = call(boto)
    except ClientError as error:
        answer = error.response
    if isinstance(answer, dict):
        metadata = answer.get("ResponseMetadata", {})
        for fields in (metadata, answer, metadata.get("HTTPHeaders", {})):
            for name in VARYING:
                fields.pop(name, None)
        metadata.get("HTTPHeaders", {}).pop("transfer-encoding", None)
    return answer


@pytest.mark.parametrize("name", CALLS)
def test_a_call_in_this_process_is_answered_as_over_http(name, local_aws, boto, threads):
    boto("s3").create_bucket(**BUCKET, CreateBucketConfiguration={"LocationConstraint": local_aws.region})
    boto("s3").put_object(**BUCKET, Key="a ü/%2F+b", Body=b"\0one")
    in_process = outcome(CALLS[name], boto)
    assert set(threads) == {threading.current_thread()}

    threads.clear()
    over_http(local_aws)
    assert outcome(CALLS[name], boto) == in_process
    assert threads
    assert threading.current_thread() not in threads


def test_an_answer_is_lost_as_over_http(local_aws, boto, threads, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    local_aws.faults.add(operation="AllocateAddress", kind="lost_response", times=9)
    with pytest.raises(ConnectionClosedError):
        boto("ec2").allocate_address(Domain="vpc")
    assert threading.current_thread() not in threads
    local_aws.faults.clear()
    assert boto("ec2").describe_addresses()["Addresses"]


def test_a_failure_of_the_local_emr_is_the_servers_error_as_over_http(local_aws, boto, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(local_aws.emr, "answer", None)
    answers = []
    for prepare in (lambda _: None, over_http):
        prepare(local_aws)
        with pytest.raises(ClientError) as caught:
            boto("emr").list_clusters()
        answers.append((caught.value.response["Error"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]))
    assert answers[0] == answers[1]
    assert answers[0][1] == 500


def test_time_in_an_answer_is_the_local_emrs(local_aws, boto):
    local_aws.clock.advance(86400)
    headers = boto("emr").list_clusters()["ResponseMetadata"]["HTTPHeaders"]
    assert headers["date"] == local_aws.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT")
