"""A store under test, and what a test must be able to do to it from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.stores.dynamodb import KEY, DynamoDbStore
from airflow_eip_provider.stores.memory import MemoryStore
from airflow_eip_provider.stores.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import LockStore, Outcome, Seen
    from local_emr import LocalAws

TABLE, BUCKET, PREFIX = "locks", "lock-records", "team/eip"


@dataclass(frozen=True, kw_only=True)
class Kit:
    """
    A store, and a hand in what it keeps.

    :param time: what the store's clock says.
    :param spoil: puts a text in the place of a record.
    :param stored: what is there of a record, as it is kept.
    :param conflict_tells: whether a conflict carries what is there.
    """

    store: LockStore
    time: Callable[[], float]
    spoil: Callable[[str, str], None]
    stored: Callable[[str], Any]
    clients: Mapping[str, Any]
    conflict_tells: bool

    def read(self, key: str = "k") -> Seen:
        return self.store.read(key)

    def write(self, record: Record, expected: str | None = None, key: str = "k") -> Outcome:
        return self.store.write(key, record, expected_version=expected)


@dataclass(frozen=True, kw_only=True)
class RemoteKit(Kit):
    """
    A store on the local EMR, which can be given a bad day.

    :param retry_tells: whether a write that botocore sent twice, the first time with effect, is known to have had it.
    """

    aws: LocalAws
    service: str
    read_operation: str
    write_operation: str
    check_operation: str
    actions: Mapping[str, str]
    retry_tells: bool


def memory_kit() -> Kit:
    store = MemoryStore(lambda: 1000.0)

    def spoil(key: str, text: str) -> None:
        store.texts[key] = ("spoilt", text)

    return Kit(
        store=store,
        time=lambda: 1000.0,
        spoil=spoil,
        stored=store.texts.get,
        clients={},
        conflict_tells=True,
    )


def hand_in_table(client: Any) -> dict[str, Any]:
    def spoil(key: str, text: str) -> None:
        client.put_item(TableName=TABLE, Item={KEY: {"S": key}, "version": {"S": "spoilt"}, "record": {"S": text}})

    def stored(key: str) -> Any:
        return client.get_item(TableName=TABLE, Key={KEY: {"S": key}}, ConsistentRead=True).get("Item")

    return {"spoil": spoil, "stored": stored, "clients": {"dynamodb": client}}


def dynamodb_kit(aws: LocalAws, boto: Callable[..., Any]) -> RemoteKit:
    client = boto("dynamodb")
    store = DynamoDbStore(TABLE, client, create=True)
    store.check()
    return RemoteKit(
        store=store,
        time=lambda: aws.clock.now().timestamp(),
        **hand_in_table(client),
        conflict_tells=True,
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
        retry_tells=True,
    )


def s3_kit(aws: LocalAws, boto: Callable[..., Any]) -> RemoteKit:
    client = boto("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.region})

    def spoil(key: str, text: str) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}.json", Body=text.encode())

    def stored(key: str) -> Any:
        return client.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}.json")["Body"].read()

    return RemoteKit(
        store=S3Store(BUCKET, PREFIX, client),
        time=lambda: aws.clock.now().timestamp(),
        spoil=spoil,
        stored=stored,
        clients={"s3": client},
        conflict_tells=False,
        aws=aws,
        service="s3",
        read_operation="GetObject",
        write_operation="PutObject",
        check_operation="HeadBucket",
        actions={"GetObject": "s3:GetObject", "PutObject": "s3:PutObject", "HeadBucket": "s3:ListBucket"},
        retry_tells=False,
    )
