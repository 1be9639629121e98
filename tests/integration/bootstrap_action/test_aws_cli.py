"""The AWS CLI as a client: what comes back is what boto3 returns and raises."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.bootstrap_action import aws_cli
from airflow_eip_provider.bootstrap_action.aws_cli import AwsCli
from airflow_eip_provider.exceptions import PermanentError
from airflow_eip_provider.stores.answers import server_time
from tests.aws_cli import INSTALLED

if TYPE_CHECKING:
    from pathlib import Path

KEY = {"address": {"S": "eipalloc-1"}}


@pytest.fixture
def on_the_path(monkeypatch: pytest.MonkeyPatch, aws_cli: Path) -> None:
    monkeypatch.setenv("PATH", f"{aws_cli.parent}:/usr/bin:/bin")


@pytest.fixture
def installed_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("awscli", reason="nodes have the AWS CLI: pip install 'airflow-eip-provider[import]'")
    monkeypatch.setenv("PATH", f"{INSTALLED.parent}:/usr/bin:/bin")


@pytest.fixture
def dynamodb(on_the_path: None, table: Any, local_aws: Any) -> AwsCli:
    return AwsCli("dynamodb", region=local_aws.region)


def test_answers_and_refusals_carry_the_services_own_time(dynamodb, local_aws):
    nothing = dynamodb.get_item(TableName="leases", Key=KEY, ConsistentRead=True)
    assert "Item" not in nothing
    assert abs(server_time(nothing, uri="") - local_aws.clock.now().timestamp()) <= 1
    with pytest.raises(ClientError) as refused:
        dynamodb.put_item(
            TableName="leases",
            Item=KEY,
            ConditionExpression="attribute_exists(address)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refused.value.operation_name == "PutItem"
    assert not is_transient(refused.value)


@pytest.mark.parametrize("kind", ["error", "lost_response"])
def test_a_change_is_sent_once(dynamodb, local_aws, kind):
    local_aws.faults.add(operation="PutItem", kind=kind, code="InternalServerError", status=500)
    with pytest.raises((ClientError, HTTPClientError)) as failed:
        dynamodb.put_item(TableName="leases", Item=KEY)
    assert is_transient(failed.value)
    assert len(local_aws.events.calls("PutItem")) == 1


@pytest.mark.usefixtures("on_the_path")
def test_emr_answers_in_boto3s_form_through_the_clis_own_commands(by_hand, emr, local_aws):
    client = AwsCli("emr", region=local_aws.region)
    job_flow_id = by_hand()
    emr.set_termination_protection(JobFlowIds=[job_flow_id], TerminationProtected=True)
    described = client.describe_cluster(ClusterId=job_flow_id)["Cluster"]
    assert (described["Id"], described["TerminationProtected"]) == (job_flow_id, True)
    assert isinstance(described["Status"]["Timeline"]["CreationDateTime"], datetime)
    client.set_termination_protection(JobFlowIds=[job_flow_id], TerminationProtected=False)
    client.terminate_job_flows(JobFlowIds=[job_flow_id])
    assert emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"] == "TERMINATING"
    with pytest.raises(ClientError, match="InvalidRequestException"):
        client.describe_cluster(ClusterId="j-NONE")


@pytest.mark.usefixtures("installed_on_the_path")
def test_lists_with_pages_are_complete(local_aws):
    ec2 = AwsCli("ec2", region=local_aws.region)
    assert ec2.describe_addresses(AllocationIds=[])["Addresses"] == []


def test_an_unsent_request_is_reported_without_the_log(dynamodb):
    with pytest.raises(PermanentError, match="nothing was sent") as refused:
        dynamodb.put_item(TableName="leases", Thing=1)
    assert "Thing" in str(refused.value)
    assert "DEBUG" not in str(refused.value)


@pytest.mark.parametrize(
    ("log", "date"),
    [
        ("DEBUG - Response headers: {'Server': 'x', 'Date': 'Sat, 21 Nov 2026 15:55:06 GMT', 'a': 'b'}", True),
        ("DEBUG - Response headers: HTTPHeaderDict({'date': 'Sat, 21 Nov 2026 15:55:06 GMT'})", True),
        ("DEBUG - Response headers: {'Server': 'x'}", False),
        ("DEBUG - Response body: Response headers: {'date': 'Sat, 21 Nov 2026 15:55:06 GMT'}", False),
    ],
)
def test_the_date_is_read_from_the_headers_line_alone(log, date):
    """The forms of urllib3's headers in versions 1 and 2 of the AWS CLI."""
    line = f"2026-11-21 15:55:09,292 - MainThread - awscli.botocore.parsers - {log}\n"
    headers = aws_cli._metadata(line)["HTTPHeaders"]
    assert headers == ({"date": "Sat, 21 Nov 2026 15:55:06 GMT"} if date else {})


@pytest.mark.parametrize(
    "line",
    [
        "An error occurred (Throttling) when calling the ListSteps operation: Rate exceeded",
        "aws: [ERROR]: An error occurred (Throttling) when calling the ListSteps operation: Rate exceeded",
        "An error occurred (Throttling) when calling the ListSteps operation (reached max retries: 4): Rate exceeded",
    ],
)
def test_refusals_are_read_as_each_version_of_the_cli_writes_them(line):
    error = aws_cli._error(254, f"2026-11-21 15:55:09,292 - MainThread - x - DEBUG - y\n\n{line}\n", doing="")
    assert isinstance(error, ClientError)
    assert error.response["Error"] == {"Code": "Throttling", "Message": "Rate exceeded"}
    assert is_transient(error)


@pytest.mark.parametrize("status", [-9, 137, 255])
def test_a_killed_call_may_have_had_an_effect_and_its_log_is_not_shown(status):
    log = "2026-11-21 15:55:09,292 - MainThread - botocore.endpoint - DEBUG - "
    sent = f"{log}Sending http request: <AWSPreparedRequest headers={{'X-Amz-Security-Token': b'sesame'}}>\n"
    error = aws_cli._error(status, sent, doing="calling")
    assert isinstance(error, HTTPClientError)
    assert "sesame" not in str(error)
    if status != 255:
        killed = aws_cli._error(status, "x-amz-security-token:sesame\n", doing="calling")
        assert "sesame" not in str(killed)
