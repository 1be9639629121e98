"""Each problem of a table is an error that names the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from airflow_eip_provider.exceptions import (
    CorruptRecordError,
    LockStoreError,
    LockStoreNotCreatedError,
    LockStoreUnavailableError,
)
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Snapshot, Unknown
from airflow_eip_provider.stores.dynamodb import DynamoDbStore

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def client(boto: Callable[..., Any]) -> Any:
    return boto("dynamodb")


def create_table(client: Any, **keys: str) -> None:
    """Create the table "locks"; its keys are named with their role and type: ``address="HASH S"``."""
    roles = {name: spec.split() for name, spec in keys.items()}
    client.create_table(
        TableName="locks",
        KeySchema=[{"AttributeName": name, "KeyType": role} for name, (role, _) in roles.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, (_, kind) in roles.items()],
        BillingMode="PAY_PER_REQUEST",
    )


def with_status(client: Any, *statuses: str) -> list[str]:
    """Let DescribeTable return these statuses one after another; the last one stays."""
    left = list(statuses)

    def set_status(parsed: dict[str, Any], **_: object) -> None:
        if "Table" in parsed:
            parsed["Table"]["TableStatus"] = left.pop(0) if len(left) > 1 else left[0]

    client.meta.events.register("after-call.dynamodb.DescribeTable", set_status)
    return left


def test_the_error_of_a_missing_table_names_both_remedies(client, local_aws):
    with pytest.raises(
        LockStoreError, match=r"does not exist in region '.+'; .*add create=true .* aws dynamodb create-table"
    ):
        DynamoDbStore("locks", client).check()
    assert [call["operation"] for call in local_aws.events.calls()] == ["DescribeTable"]


def test_a_deleted_table_is_an_error_at_the_next_use(client):
    store = DynamoDbStore("locks", client)
    with pytest.raises(LockStoreError, match="does not exist"):
        store.read("k")
    with pytest.raises(LockStoreError, match="does not exist"):
        store.write("k", Record(), expected_version=None)


def test_a_missing_table_is_created_on_demand_and_paid_by_request(client, local_aws):
    store = DynamoDbStore("locks", client, create=True)
    store.check()
    table = client.describe_table(TableName="locks")["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert isinstance(store.write("k", Record(), expected_version=None), Snapshot)
    DynamoDbStore("locks", client).check()
    store.check()
    assert len(local_aws.events.calls("CreateTable")) == 1


def test_two_tasks_may_create_it_at_once(client, monkeypatch):
    def create_first(**_: object) -> None:
        monkeypatch.undo()
        create_table(client, address="HASH S")
        raise ClientError({"Error": {"Code": "ResourceInUseException"}}, "CreateTable")

    monkeypatch.setattr(client, "create_table", create_first)
    store = DynamoDbStore("locks", client, create=True)
    store.check()
    assert isinstance(store.write("k", Record(), expected_version=None), Snapshot)


def test_with_create_it_waits_until_the_table_is_active(client, monkeypatch):
    create_table(client, address="HASH S")
    monkeypatch.setattr("botocore.waiter.time.sleep", lambda _: None)
    left = with_status(client, "CREATING", "CREATING", "CREATING", "ACTIVE")
    DynamoDbStore("locks", client, create=True).check()
    assert left == ["ACTIVE"]


def test_a_table_that_does_not_become_active_is_a_transient_error(client, monkeypatch):
    create_table(client, address="HASH S")
    monkeypatch.setattr("botocore.waiter.time.sleep", lambda _: None)
    with_status(client, "CREATING")
    with pytest.raises(LockStoreUnavailableError, match="did not become ACTIVE") as raised:
        DynamoDbStore("locks", client, create=True).check()
    assert isinstance(raised.value.__cause__, WaiterError)


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
def test_a_table_that_is_not_active_is_refused(client, status):
    create_table(client, address="HASH S")
    with_status(client, status)
    with pytest.raises(LockStoreError, match=f"{status}, not ACTIVE"):
        DynamoDbStore("locks", client).check()


def test_a_table_that_is_being_updated_is_accepted(client):
    create_table(client, address="HASH S")
    with_status(client, "UPDATING")
    DynamoDbStore("locks", client).check()


@pytest.mark.parametrize(
    "keys",
    [
        {"id": "HASH S"},
        {"address": "HASH N"},
        {"address": "HASH S", "version": "RANGE S"},
        {"id": "HASH S", "address": "RANGE S"},
    ],
    ids=str,
)
def test_a_table_with_another_key_is_refused(client, keys):
    create_table(client, **keys)
    with pytest.raises(LockStoreError, match="only key is the partition key 'address', a string"):
        DynamoDbStore("locks", client, create=True).check()


def test_a_missing_permission_to_create_is_named(client, local_aws):
    local_aws.deny("CreateTable")
    with pytest.raises(LockStoreError, match="allow dynamodb:CreateTable"):
        DynamoDbStore("locks", client, create=True).check()


@pytest.mark.parametrize(
    "item",
    [
        {"record": {"S": "{}"}},
        {"version": {"S": "1"}},
        {"version": {"N": "1"}, "record": {"S": "{}"}},
        {"version": {"S": "1"}, "record": {"M": {}}},
    ],
    ids=str,
)
def test_an_item_of_another_shape_is_corrupt_and_is_not_overwritten(client, item):
    create_table(client, address="HASH S")
    client.put_item(TableName="locks", Item={"address": {"S": "k"}, **item})
    store = DynamoDbStore("locks", client)
    with pytest.raises(CorruptRecordError, match="address=k"):
        store.read("k")
    with pytest.raises(CorruptRecordError):
        store.write("k", Record(), expected_version=None)
    assert client.get_item(TableName="locks", Key={"address": {"S": "k"}})["Item"] == {"address": {"S": "k"}, **item}


def test_reads_are_consistent(client, local_aws):
    create_table(client, address="HASH S")
    DynamoDbStore("locks", client).read("k")
    assert [call["request"]["ConsistentRead"] for call in local_aws.events.calls("GetItem")] == [True]


def test_an_endpoint_that_does_not_answer_is_a_transient_error(boto):
    closed = boto("dynamodb", endpoint_url="http://127.0.0.1:9", config=Config(connect_timeout=1))
    store = DynamoDbStore("locks", closed)
    with pytest.raises(LockStoreUnavailableError, match="EndpointConnectionError"):
        store.read("k")
    with pytest.raises(LockStoreUnavailableError):
        store.check()
    assert isinstance(store.write("k", Record(), expected_version=None), Unknown)


def test_an_answer_without_a_time_is_refused(client):
    create_table(client, address="HASH S")
    client.meta.events.register(
        "after-call.dynamodb.GetItem", lambda parsed, **_: parsed["ResponseMetadata"]["HTTPHeaders"].pop("date")
    )
    with pytest.raises(LockStoreError, match="no valid time"):
        DynamoDbStore("locks", client).read("k")


def test_a_missing_table_that_a_task_would_create_is_its_own_error_with_the_region(client):
    store = DynamoDbStore("locks", client, create=True)
    with pytest.raises(
        LockStoreNotCreatedError, match=r"no task has used it yet in region '.+'; the first task creates it"
    ):
        store.read("k")
