"""The contract tests for every store: in memory, on the local EMR, and on an independent DynamoDB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.stores.dynamodb import DynamoDbStore
from tests.integration.stores import dynalite
from tests.integration.stores.contract import RemoteContract, StoreContract
from tests.integration.stores.stores_under_test import (
    TABLE,
    RemoteStoreUnderTest,
    StoreUnderTest,
    dynamodb_store,
    memory_store,
    raw_table_access,
    s3_store,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws


class TestMemory(StoreContract):
    @pytest.fixture
    def subject(self) -> StoreUnderTest:
        return memory_store()


class TestDynamoDb(RemoteContract):
    @pytest.fixture
    def subject(self, local_aws: LocalAws, boto: Callable[..., Any]) -> RemoteStoreUnderTest:
        return dynamodb_store(local_aws, boto)


class TestS3(RemoteContract):
    @pytest.fixture
    def subject(self, local_aws: LocalAws, boto: Callable[..., Any]) -> RemoteStoreUnderTest:
        return s3_store(local_aws, boto)


@pytest.fixture(scope="session")
def dynalite_url() -> Iterator[str]:
    """The URL of an independent DynamoDB; skips with the reason if it cannot run."""
    try:
        with dynalite.serve() as url:
            yield url
    except dynalite.UnavailableError as reason:
        pytest.skip(str(reason))


class TestDynalite(StoreContract):
    """dynalite shares no code with moto; it does not support ReturnValuesOnConditionCheckFailure."""

    @pytest.fixture
    def subject(self, dynalite_url: str, boto: Callable[..., Any]) -> Iterator[StoreUnderTest]:
        client = boto("dynamodb", endpoint_url=dynalite_url)
        store = DynamoDbStore(TABLE, client, create=True)
        store.check()
        yield StoreUnderTest(store=store, time=time.time, **raw_table_access(client), conflict_has_record=False)
        client.delete_table(TableName=TABLE)
        client.get_waiter("table_not_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
