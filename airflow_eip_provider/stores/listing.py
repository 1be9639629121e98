"""Lists the addresses of which a lock store has records."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.ids import ALLOCATION_ID
from airflow_eip_provider.stores.answers import explained
from airflow_eip_provider.stores.dynamodb import KEY, missing_table
from airflow_eip_provider.stores.s3 import missing_bucket
from airflow_eip_provider.stores.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def list_addresses(uri: str, client_for: Callable[[Any, str | None], Any]) -> list[str]:
    """
    Return the allocation IDs of the records, sorted.

    It reads only the keys, but DynamoDB charges for whole items. So it is for pages that are shown occasionally, not
    for the lock. IAM actions: dynamodb:Scan or s3:ListBucket.

    :param client_for: see :func:`airflow_eip_provider.stores.uri.open_store`.
    :raises LockStoreNotCreatedError: when the URI has ``create=true`` and no task has used the table yet.
    :raises LockStoreError: when the store or the permission is missing.
    :raises LockStoreUnavailableError: when there is no answer.
    """
    where = parse_uri(uri)
    client = client_for(where.kind, where.region)
    if where.kind == "dynamodb":
        missing = partial(missing_table, uri, where.name, region=client.meta.region_name, create=where.create)
        with explained(uri=uri, action="dynamodb:Scan", missing=missing):
            keys = list(_keys_of_table(client, where.name))
    else:
        with explained(uri=uri, action="s3:ListBucket", missing=partial(missing_bucket, uri)):
            keys = list(_keys_of_bucket(client, where.name, where.prefix))
    return sorted(key for key in keys if ALLOCATION_ID.fullmatch(key))


def _keys_of_table(client: Any, table: str) -> Iterator[str]:
    pages = client.get_paginator("scan").paginate(
        TableName=table, ProjectionExpression="#key", ExpressionAttributeNames={"#key": KEY}
    )
    for page in pages:
        yield from (item[KEY]["S"] for item in page["Items"] if "S" in item.get(KEY, {}))


def _keys_of_bucket(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    folder = f"{prefix}/" if prefix else ""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
        for item in page.get("Contents", ()):
            yield item["Key"].removeprefix(folder).removesuffix(".json")
