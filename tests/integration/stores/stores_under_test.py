"""The stores under test, with direct access to what they keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.stores.dynamodb import KEY, DynamoDbStore
from airflow_eip_provider.stores.memory import MemoryStore
from airflow_eip_provider.stores.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import LockStore, Outcome, Snapshot
    from local_emr import LocalAws

TABLE, BUCKET, PREFIX = "locks", "lock-records", "team/eip"


@dataclass(frozen=True, kw_only=True)
class StoreUnderTest:
    """
    A store with direct access to what it keeps.

    :param time: returns the time of the store's clock.
    :param write_raw: replaces a record by a text.
    :param read_raw: returns a record as it is kept.
    :param conflict_has_record: whether a conflict has the current record.
    """

    store: LockStore
    time: Callable[[], float]
    write_raw: Callable[[str, str], None]
    read_raw: Callable[[str], Any]
    clients: Mapping[str, Any]
    conflict_has_record: bool

    def read(self, key: str = "k") -> Snapshot:
        return self.store.read(key)

    def write(self, record: Record, expected: str | None = None, key: str = "k") -> Outcome:
        return self.store.write(key, record, expected_version=expected)


@dataclass(frozen=True, kw_only=True)
class RemoteStoreUnderTest(StoreUnderTest):
    """
    A store on the local EMR, which can inject faults.

    :param retry_outcome_is_known: whether the store finds out that a write had its effect when botocore sent it twice.
    """

    aws: LocalAws
    service: str
    read_operation: str
    write_operation: str
    check_operation: str
    actions: Mapping[str, str]
    retry_outcome_is_known: bool


def memory_store() -> StoreUnderTest:
    store = MemoryStore(lambda: 1000.0)

    def write_raw(key: str, text: str) -> None:
        store.texts[key] = ("raw", text)

    return StoreUnderTest(
        store=store,
        time=lambda: 1000.0,
        write_raw=write_raw,
        read_raw=store.texts.get,
        clients={},
        conflict_has_record=True,
    )


def raw_table_access(client: Any) -> dict[str, Any]:
    def write_raw(key: str, text: str) -> None:
        client.put_item(TableName=TABLE, Item={KEY: {"S": key}, "version": {"S": "raw"}, "record": {"S": text}})

    def read_raw(key: str) -> Any:
        return client.get_item(TableName=TABLE, Key={KEY: {"S": key}}, ConsistentRead=True).get("Item")

    return {"write_raw": write_raw, "read_raw": read_raw, "clients": {"dynamodb": client}}


def dynamodb_store(aws: LocalAws, boto: Callable[..., Any]) -> RemoteStoreUnderTest:
    client = boto("dynamodb")
    store = DynamoDbStore(TABLE, client, create=True)
    store.check()
    return RemoteStoreUnderTest(
        store=store,
        time=lambda: aws.clock.now().timestamp(),
        **raw_table_access(client),
        conflict_has_record=True,
        aws=aws,
        service="dynamodb",
        read_operation="GetItem",
        write_operation="PutItem",
        check_operation="DescribeTable",
        actions={
            "GetItem": "dynamodb:GetItem",
            "PutItem": "dynamodb:PutItem",
            "DescribeTable": "dynamodb:DescribeTable",
        },
        retry_outcome_is_known=True,
    )


def s3_store(aws: LocalAws, boto: Callable[..., Any]) -> RemoteStoreUnderTest:
    client = boto("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.region})

    def write_raw(key: str, text: str) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}.json", Body=text.encode())

    def read_raw(key: str) -> Any:
        return client.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}.json")["Body"].read()

    return RemoteStoreUnderTest(
        store=S3Store(BUCKET, PREFIX, client),
        time=lambda: aws.clock.now().timestamp(),
        write_raw=write_raw,
        read_raw=read_raw,
        clients={"s3": client},
        conflict_has_record=False,
        aws=aws,
        service="s3",
        read_operation="GetObject",
        write_operation="PutObject",
        check_operation="HeadBucket",
        actions={"GetObject": "s3:GetObject", "PutObject": "s3:PutObject", "HeadBucket": "s3:ListBucket"},
        retry_outcome_is_known=False,
    )
