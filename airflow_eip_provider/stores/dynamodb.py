"""Records in a DynamoDB table, one item each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError, WaiterError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.exceptions import (
    CorruptRecordError,
    LockStoreError,
    LockStoreNotCreatedError,
    LockStoreUnavailableError,
)
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Conflict, LockStore, Snapshot
from airflow_eip_provider.stores.answers import explained, may_have_been_written, server_time
from airflow_eip_provider.stores.records import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from airflow_eip_provider.lease.store import Outcome

KEY = "address"  # the table's only key attribute, a string

# The conditions of a write. Each write has a new random `version`, so no version occurs twice.
NEVER_WRITTEN = "attribute_not_exists(address)"  # there is no item for this address
STILL_EXPECTED = "version = :expected"  # the item has not changed since it was read

# A table that is being updated can be used (API Reference, TableDescription).
_SERVING = frozenset({"ACTIVE", "UPDATING"})
_KEY_SCHEMA = [{"AttributeName": KEY, "KeyType": "HASH"}]
_ATTRIBUTES = [{"AttributeName": KEY, "AttributeType": "S"}]
_CREATION = {"Delay": 2, "MaxAttempts": 60}  # a table takes some seconds


def create_command(table: str) -> str:
    """Return the command that creates a table for leases."""
    return (
        f"aws dynamodb create-table --table-name {table} --billing-mode PAY_PER_REQUEST"
        f" --key-schema AttributeName={KEY},KeyType=HASH --attribute-definitions AttributeName={KEY},AttributeType=S"
    )


def missing_table(uri: str, table: str, *, region: str, create: bool) -> LockStoreError:
    """Return the error for a table that does not exist in a region."""
    if create:
        return LockStoreNotCreatedError(uri, region=region)
    how = f"check the region, add create=true to the URI of the lock store, or create it: {create_command(table)}"
    return LockStoreError(uri, problem=f"it does not exist in region '{region}'", remedy=how)


class DynamoDbStore(LockStore):
    """
    Keeps each record in one item, replaced by conditional PutItem and read consistently.

    An item has the key, a ``version`` (random, new in each write) and the ``record`` as JSON text. The table has the
    partition key "address" (a string) and no sort key. IAM actions, all on the table:

    - reading: dynamodb:GetItem
    - writing: dynamodb:PutItem
    - check: dynamodb:DescribeTable
    - check with ``create``, when the table is missing: dynamodb:CreateTable

    :param client: boto3's client for DynamoDB.
    :param create: let :meth:`check` create the table when it is missing.
    """

    def __init__(self, table: str, client: Any, *, create: bool = False) -> None:
        self.uri = f"dynamodb://{table}"
        self._table = table
        self._client = client
        self._create = create

    def check(self) -> None:
        """
        Check that the table exists, is active and has the right key.

        With ``create``, a missing table is created first; another task may create it at the same time.
        """
        table = self._describe()
        if self._create and (table is None or table["TableStatus"] == "CREATING"):
            if table is None:
                self._create_table()
            self._wait_until_active()
            table = self._describe()
        self._check_table(table)

    def would_create(self) -> bool:
        """Whether :meth:`check` would create the table (dynamodb:DescribeTable)."""
        return self._create and self._describe() is None

    def read(self, key: str) -> Snapshot:
        """Return the record of a key."""
        with self._explained("dynamodb:GetItem"):
            answer = self._client.get_item(TableName=self._table, Key={KEY: {"S": key}}, ConsistentRead=True)
        now = server_time(answer, uri=self.uri)
        return self._snapshot(key, answer["Item"], now) if answer.get("Item") else Snapshot(Record(), None, now)

    def write(self, key: str, record: Record, *, expected_version: str | None) -> Outcome:
        """Replace a record of this version."""
        version = uuid4().hex
        condition: dict[str, Any] = {"ConditionExpression": NEVER_WRITTEN}
        if expected_version is not None:
            condition = {
                "ConditionExpression": STILL_EXPECTED,
                "ExpressionAttributeValues": {":expected": {"S": expected_version}},
            }
        item = {KEY: {"S": key}, "version": {"S": version}, "record": {"S": to_text(record)}}
        try:
            answer = self._client.put_item(
                TableName=self._table, Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD", **condition
            )
        except Exception as error:
            return self._outcome_of_error(error, key, record, version)
        return Snapshot(record, version, server_time(answer, uri=self.uri))

    def _outcome_of_error(self, error: Exception, key: str, record: Record, version: str) -> Outcome:
        """Return the outcome of a write that raised an error."""
        response: Mapping[str, Any] = error.response if isinstance(error, ClientError) else {}
        item = response.get("Item")
        if item and item.get("version") == {"S": version}:
            # botocore sent the write twice, and the first took effect; only its response was lost.
            return Snapshot(record, version, server_time(response, uri=self.uri))
        if unknown := may_have_been_written(error):
            return unknown
        with self._explained("dynamodb:PutItem"):
            if response.get("Error", {}).get("Code") != "ConditionalCheckFailedException":
                raise error
        # Without an item it was deleted, or the service does not support ALL_OLD.
        return Conflict(self._snapshot(key, item, server_time(response, uri=self.uri)) if item else None)

    def _snapshot(self, key: str, item: Mapping[str, Any], now: float) -> Snapshot:
        where = f"{self.uri} {KEY}={key}"
        try:
            version, text = item["version"]["S"], item["record"]["S"]
        except KeyError as error:
            raise CorruptRecordError(where, problem=f"the item has no text {error}") from error
        return Snapshot(from_text(text, where=where), version, now)

    def _describe(self) -> Mapping[str, Any] | None:
        with self._explained("dynamodb:DescribeTable"):
            try:
                table: Mapping[str, Any] = self._client.describe_table(TableName=self._table)["Table"]
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return None
                raise
        return table

    def _create_table(self) -> None:
        with self._explained("dynamodb:CreateTable"):
            try:
                self._client.create_table(
                    TableName=self._table,
                    KeySchema=_KEY_SCHEMA,
                    AttributeDefinitions=_ATTRIBUTES,
                    BillingMode="PAY_PER_REQUEST",
                )
            except ClientError as error:
                if error_code(error) != "ResourceInUseException":  # another task was faster
                    raise

    def _wait_until_active(self) -> None:
        try:
            self._client.get_waiter("table_exists").wait(TableName=self._table, WaiterConfig=_CREATION)
        except WaiterError as error:
            raise LockStoreUnavailableError(
                self.uri, problem=f"the new table did not become ACTIVE: {error}"
            ) from error

    def _check_table(self, table: Mapping[str, Any] | None) -> None:
        if table is None:
            raise self._missing()
        if table["TableStatus"] not in _SERVING:
            raise LockStoreError(
                self.uri,
                problem=f"the table is {table['TableStatus']}, not ACTIVE",
                remedy="wait until it is, or use another table",
            )
        key_attributes = [a for a in table["AttributeDefinitions"] if a["AttributeName"] == KEY]
        if table["KeySchema"] != _KEY_SCHEMA or key_attributes != _ATTRIBUTES:
            raise LockStoreError(
                self.uri,
                problem=f"the table's key is {table['KeySchema']} of {table['AttributeDefinitions']}",
                remedy=f"use a table whose only key is the partition key '{KEY}', a string: {create_command('TABLE')}",
            )

    def _missing(self) -> LockStoreError:
        return missing_table(self.uri, self._table, region=self._client.meta.region_name, create=self._create)

    def _explained(self, action: str) -> AbstractContextManager[None]:
        return explained(uri=self.uri, action=action, missing=self._missing)
