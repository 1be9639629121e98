from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.stores.dynamodb import DynamoDbStore
from airflow_eip_provider.stores.s3 import S3Store
from airflow_eip_provider.stores.uri import StoreUri, open_store, parse_uri, with_grace


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("dynamodb://Locks_1.a-b", StoreUri("dynamodb", "Locks_1.a-b")),
        ("dynamodb://locks/", StoreUri("dynamodb", "locks")),
        (
            "dynamodb://locks?region=eu-west-1&create=true",
            StoreUri("dynamodb", "locks", region="eu-west-1", create=True),
        ),
        ("dynamodb://locks?create=false", StoreUri("dynamodb", "locks")),
        ("dynamodb://locks?region=us-gov-west-1", StoreUri("dynamodb", "locks", region="us-gov-west-1")),
        ("dynamodb://locks?grace=90", StoreUri("dynamodb", "locks", grace=90.0)),
        ("s3://lock-records/a?grace=2.5", StoreUri("s3", "lock-records", "a", grace=2.5)),
        ("s3://lock-records", StoreUri("s3", "lock-records")),
        ("s3://lock-records/", StoreUri("s3", "lock-records")),
        ("s3://lock.records/a/b/?region=eu-west-1", StoreUri("s3", "lock.records", "a/b", "eu-west-1")),
    ],
)
def test_both_forms(uri, parts):
    assert parse_uri(uri) == parts


@pytest.mark.parametrize(
    ("uri", "wrong"),
    [
        ("", "scheme is ''"),
        ("locks", "scheme is ''"),
        ("postgres://locks", "scheme is 'postgres'"),
        ("dynamodb:locks", "'' is not the name of a table"),
        ("dynamodb://", "'' is not the name of a table"),
        ("dynamodb://lo", "'lo' is not the name of a table"),
        ("dynamodb://me@locks", "a table has no user or password"),
        ("dynamodb://locks:80", "'locks:80' is not the name of a table"),
        ("dynamodb://locks/prefix", "a table has no path"),
        ("dynamodb://locks#x", "fragment"),
        ("dynamodb://locks?colour=red", "no option 'colour'"),
        ("dynamodb://locks?region=eu-west-1&region=eu-west-2", "'region' is given twice"),
        ("dynamodb://locks?region=", "'' is not a region"),
        ("dynamodb://locks?region=Ireland", "'Ireland' is not a region"),
        ("dynamodb://locks?create=yes", "create is 'yes'"),
        ("dynamodb://locks?create", "it is not a URI"),
        ("dynamodb://locks?grace=", "grace is ''"),
        ("dynamodb://locks?grace=2m", "grace is '2m'"),
        ("dynamodb://locks?grace=-1", "grace is '-1'"),
        ("dynamodb://locks?grace=0.5", "grace is '0.5'"),
        ("dynamodb://locks?grace=86401", "grace is '86401'"),
        ("dynamodb://locks?grace=nan", "grace is 'nan'"),
        ("s3:///prefix", "'' is not the name of a bucket"),
        ("s3://Lock_Records", "'Lock_Records' is not the name of a bucket"),
        ("s3://lock-records/a?create=true", "s3:// has no option 'create'"),
        ("s3://[lock", "it is not a URI"),
        (None, "scheme is ''"),
    ],
)
def test_anything_else_is_refused_by_its_part_and_with_both_forms(uri, wrong):
    with pytest.raises(InvalidInputError) as refused:
        parse_uri(uri)
    assert wrong in str(refused.value)
    assert "dynamodb://TABLE?region=eu-west-1&create=true" in str(refused.value)
    assert "s3://BUCKET/PREFIX?region=eu-west-1" in str(refused.value)


@pytest.mark.parametrize("given", ["k:S3cr3t@", "k:S3c/r3t@", "S3cr3t@"])
@pytest.mark.parametrize("kind", ["s3", "dynamodb", "https"])
def test_a_password_in_a_uri_is_not_in_the_error(given, kind):
    with pytest.raises(InvalidInputError) as refused:
        parse_uri(f"{kind}://{given}lock-records")
    assert "reading lock store" in str(refused.value)
    assert "S3c" not in str(refused.value) + refused.value.problem


@pytest.mark.parametrize(
    ("uri", "with_it"),
    [
        ("dynamodb://locks", "dynamodb://locks?grace=90"),
        ("s3://lock-records/a?region=eu-west-1", "s3://lock-records/a?region=eu-west-1&grace=90"),
        ("dynamodb://locks?grace=30", "dynamodb://locks?grace=30"),
    ],
)
def test_the_configured_grace_is_for_a_uri_that_names_none(uri, with_it):
    assert with_grace(uri, "90") == with_it


@pytest.mark.parametrize(
    ("uri", "kind", "asked"),
    [
        ("dynamodb://locks?region=eu-west-1", DynamoDbStore, ("dynamodb", "eu-west-1")),
        ("s3://lock-records/a", S3Store, ("s3", None)),
    ],
)
def test_a_store_is_opened_with_a_client_of_its_region_and_no_call_is_made(uri, kind, asked):
    made: list[tuple[str, str | None]] = []

    def client_for(service: str, region: str | None) -> object:
        made.append((service, region))
        return SimpleNamespace()

    store = open_store(uri, client_for)
    assert isinstance(store, kind)
    assert store.uri == uri
    assert made == [asked]


class AskedError(Exception):
    """What a store's client was asked."""


class Client:
    def __getattr__(self, operation):
        def call(**params):
            raise AskedError(operation, params)

        return call


@pytest.mark.parametrize(
    ("uri", "operation", "params"),
    [
        (
            "dynamodb://locks",
            "get_item",
            {"TableName": "locks", "Key": {"address": {"S": "k"}}, "ConsistentRead": True},
        ),
        ("s3://lock-records/a", "get_object", {"Bucket": "lock-records", "Key": "a/k.json"}),
    ],
)
def test_opening_a_store_makes_no_call_and_a_read_makes_this_one(uri, operation, params):
    store = open_store(uri, lambda *_: Client())
    with pytest.raises(AskedError) as asked:
        store.read("k")
    assert asked.value.args == (operation, params)
