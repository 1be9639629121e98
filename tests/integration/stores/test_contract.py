"""Every store keeps the one contract: in memory, on the local EMR, and on an independent DynamoDB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.stores.dynamodb import DynamoDbStore
from tests.integration.stores import dynalite
from tests.integration.stores.contract import RemoteContract, StoreContract
from tests.integration.stores.kits import TABLE, Kit, RemoteKit, dynamodb_kit, hand_in_table, memory_kit, s3_kit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws


class TestMemory(StoreContract):
    @pytest.fixture
    def kit(self) -> Kit:
        return memory_kit()


class TestDynamoDb(RemoteContract):
    @pytest.fixture
    def kit(self, local_aws: LocalAws, boto: Callable[..., Any]) -> RemoteKit:
        return dynamodb_kit(local_aws, boto)


class TestS3(RemoteContract):
    @pytest.fixture
    def kit(self, local_aws: LocalAws, boto: Callable[..., Any]) -> RemoteKit:
        return s3_kit(local_aws, boto)


@pytest.fixture(scope="session")
def dynalite_url() -> Iterator[str]:
    """Where an independent DynamoDB answers, or a skip that says why there is none."""
    try:
        with dynalite.serve() as url:
            yield url
    except dynalite.NotThereError as reason:
        pytest.skip(str(reason))


class TestDynalite(StoreContract):
    """dynalite shares no code with moto; it knows no ReturnValuesOnConditionCheckFailure."""

    @pytest.fixture
    def kit(self, dynalite_url: str, boto: Callable[..., Any]) -> Iterator[Kit]:
        client = boto("dynamodb", endpoint_url=dynalite_url)
        store = DynamoDbStore(TABLE, client, create=True)
        store.check()
        yield Kit(store=store, time=time.time, **hand_in_table(client), conflict_tells=False)
        client.delete_table(TableName=TABLE)
        client.get_waiter("table_not_exists").wait(TableName=TABLE)
