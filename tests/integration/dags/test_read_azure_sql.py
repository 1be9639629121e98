from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import pytds
import pytest
import sqlglot
from pyspark.sql import types as spark_types
from pytds import tds_base

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

OPTIONS = "--server host --database sales --secret-id azure --table t --partition-column id --output s3://b/t/"


@pytest.fixture
def secrets(boto: Callable[..., Any]) -> Any:
    return boto("secretsmanager")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("BIGINT", [5, None, -7, 0, 9223372036854775807, 5]),
        ("INTEGER", [1, 2]),
        ("INTEGER", [3, 3, None]),
        ("INTEGER", [None]),
        ("INTEGER", []),
        ("DECIMAL(10, 2)", [Decimal("-0.50"), Decimal("12.25"), Decimal("3.00")]),
        ("DOUBLE", [0.25, -1.5, 1e6]),
        ("DATE", [dt.date(2026, 1, 1), dt.date(2026, 1, 2), None, dt.date(2026, 12, 31)]),
        ("TIMESTAMP", [dt.datetime(2026, 1, 1, 0, 0, 1, 5), dt.datetime(2026, 3, 1), None]),  # noqa: DTZ001
    ],
)
@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_partitions_meet_every_row_exactly_once(job: ModuleType, kind: str, values: list[Any], partitions: int) -> None:
    present = [value for value in values if value is not None]
    conditions = job.predicates(
        "a]b",
        lowest=min(present, default=None),
        highest=max(present, default=None),
        partitions=partitions,
    )

    with duckdb.connect() as database:
        database.execute(f'CREATE TABLE t ("a]b" {kind})')
        for value in values:
            database.execute("INSERT INTO t VALUES (?)", [value])
        queries = [f"SELECT * FROM t WHERE {condition}" for condition in conditions]
        rows = [
            row[0]
            for query in queries
            for row in database.execute(sqlglot.transpile(query, read="tsql", write="duckdb")[0]).fetchall()
        ]

    assert len(conditions) <= partitions
    assert sorted(map(str, rows)) == sorted(map(str, values))


def test_rows_added_beyond_the_ends_meanwhile_are_met(job: ModuleType) -> None:
    assert job.predicates("id", lowest=10, highest=30, partitions=2) == ["[id] < 20 OR [id] IS NULL", "[id] >= 20"]


def test_column_that_cannot_be_divided_is_refused(job: ModuleType) -> None:
    with pytest.raises(job.JobError, match="--partition-column holds str; choose"):
        job.predicates("name", lowest="a", highest="z", partitions=2)


def test_names_are_quoted_part_by_part(job: ModuleType) -> None:
    assert job.quoted("sales.odd]; DROP TABLE x --") == "[sales].[odd]]; DROP TABLE x --]"


def test_schema_has_the_types_of_the_columns(job: ModuleType) -> None:
    description = [
        ("id", tds_base.SYBINT8, None, 8, None, None, 0),
        ("amount", tds_base.SYBDECIMAL, None, 9, 12, 3, 1),
        ("placed", tds_base.SYBMSDATETIME2, None, None, None, 7, 1),
        ("note", tds_base.XSYBNVARCHAR, None, 80, None, None, 1),
    ]

    assert job.schema_of(description).simpleString() == (
        "struct<id:bigint,amount:decimal(12,3),placed:timestamp_ntz,note:string>"
    )


def test_column_without_a_type_in_spark_is_refused_by_name(job: ModuleType) -> None:
    with pytest.raises(job.JobError, match="column 'odd' has the TDS type 98"):
        job.schema_of([("odd", tds_base.SYBVARIANT, None, None, None, None, 1)])


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        ("text", "text"),
        (dt.time(7, 8, 9, 10), "07:08:09.000010"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_values_that_spark_has_no_type_for_become_text(job: ModuleType, value: Any, plain: Any) -> None:
    assert job.plain(value, spark_types.StringType()) == plain


@pytest.mark.parametrize(
    ("secret", "user", "expected"),
    [
        (json.dumps({"username": "reader", "password": "s3cret"}), None, ("reader", "s3cret")),
        (json.dumps({"username": "reader", "password": "s3cret"}), "other", ("other", "s3cret")),
        ("12345", "other", ("other", "12345")),
    ],
)
def test_credentials_come_from_the_secret(
    job: ModuleType, secrets: Any, secret: str, user: str | None, expected: tuple[str, str]
) -> None:
    secrets.create_secret(Name="azure", SecretString=secret)

    assert job.credentials("azure", user=user, region=None) == expected


def test_plain_password_without_a_user_is_refused_and_not_shown(job: ModuleType, secrets: Any) -> None:
    secrets.create_secret(Name="azure", SecretString="s3cret")

    with pytest.raises(job.JobError, match="secret 'azure' has no 'username'") as refusal:
        job.credentials("azure", user=None, region=None)
    assert "s3cret" not in str(refusal.value)


def test_unknown_secret_ends_the_job_and_is_named(job: ModuleType, secrets: Any) -> None:
    with pytest.raises(SystemExit, match=r"read_azure_sql: reading secret 'azure': .*ResourceNotFound"):
        job.main(OPTIONS.split())


def test_refusal_of_the_firewall_ends_the_job_in_the_words_of_azure(
    job: ModuleType, secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets.create_secret(Name="azure", SecretString=json.dumps({"username": "reader", "password": "s3cret"}))
    error = pytds.LoginError("Client with IP address '198.51.100.7' is not allowed to access the server.")
    error.number = 40615

    asked: dict[str, Any] = {}

    def refuse(**given: Any) -> None:
        asked.update(given)
        raise error

    monkeypatch.setattr(job, "pytds", SimpleNamespace(connect=refuse, Error=pytds.Error))

    with pytest.raises(SystemExit) as ended:
        job.main([*OPTIONS.split(), "--encrypt", "no", "--login-timeout-seconds", "5"])

    assert asked["login_timeout"] == 5
    assert ended.value.code == (
        "read_azure_sql: database 'sales' on host:1433 refused with error 40615: "
        "Client with IP address '198.51.100.7' is not allowed to access the server."
    )


def test_password_is_not_in_the_text_of_a_database(job: ModuleType) -> None:
    database = job.Database(server="host", port=1433, name="sales", user="reader", password="s3cret", encrypt=True)

    assert "s3cret" not in f"{database} {database!r}"
