"""The whole job on Spark, with DuckDB in the place of the database's wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from local_emr.steps import ProcessStepRunner
from stage import log, run, spec
from tests.integration.dags.conftest import DAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_emr import LocalAws

pytestmark = pytest.mark.spark

# The job's main, and everything below it, with another way to connect.
JOB = """
import sys
import duckdb
import sqlglot
from pytds import tds_base
import read_azure_sql

PATH = sys.argv.pop(1)
KINDS = {
    "order_id": (tds_base.SYBINT4, None, None),
    "amount": (tds_base.SYBDECIMAL, 12, 3),
    "placed": (tds_base.SYBMSDATETIME2, None, 6),
    "day": (tds_base.SYBMSDATE, None, None),
    "note": (tds_base.XSYBNVARCHAR, None, None),
    "express": (tds_base.SYBBITN, None, None),
    "weight": (tds_base.SYBFLT8, None, None),
    "picture": (tds_base.XSYBVARBINARY, None, None),
}
DESCRIPTION = [(name, kind, None, None, p, s, 1) for name, (kind, p, s) in KINDS.items()]

class Connection:
    description = DESCRIPTION

    def __enter__(self):
        self.duck = duckdb.connect(PATH, read_only=True)
        return self

    def __exit__(self, *_):
        pass

    def cursor(self):
        return self

    def execute(self, query):
        self.duck.execute(sqlglot.transpile(query, read="tsql", write="duckdb")[0])

    def fetchone(self):
        return self.duck.fetchone()

    def fetchmany(self, size):
        return self.duck.fetchmany(size)

class Database(read_azure_sql.Database):
    def connect(self):
        assert self.password == "s3cret"
        return Connection()

read_azure_sql.Database = Database
read_azure_sql.main()
"""

TABLE = """
CREATE SCHEMA sales;
CREATE TABLE sales.orders AS SELECT
    CASE WHEN i < 100 THEN i::INTEGER END AS order_id,
    CASE WHEN i % 7 <> 0 THEN (i * 1.125 - 40)::DECIMAL(12, 3) END AS amount,
    CASE WHEN i % 5 <> 0 THEN TIMESTAMP '2026-03-29 02:30:00.123456' + INTERVAL (i) HOUR END AS placed,
    CASE WHEN i = 1 THEN DATE '0001-01-01' WHEN i % 3 <> 0 THEN DATE '2026-01-01' + i::INTEGER END AS day,
    CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'it''s 東京' ELSE 'Zürich' END AS note,
    CASE WHEN i % 6 <> 0 THEN i % 2 = 0 END AS express,
    i / 3.0::DOUBLE AS weight,
    '\\x00\\xFF'::BLOB AS picture
FROM range(1, 104) AS numbers(i)
"""


@pytest.fixture
def s3(local_aws: LocalAws, boto: Callable[..., Any]) -> Any:
    client = boto("s3")
    for bucket in ("logs", "lake"):
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": local_aws.region})
    boto("secretsmanager").create_secret(
        Name="azure-sql/reader", SecretString=json.dumps({"username": "reader", "password": "s3cret"})
    )
    return client


@pytest.fixture
def runner(local_aws: LocalAws, tmp_path: Path) -> Iterator[ProcessStepRunner]:
    runner = ProcessStepRunner(endpoint_url=lambda: local_aws.endpoint_url, state_dir=tmp_path / "state")
    yield runner
    runner.close()


def test_parquet_in_s3_equals_the_table_and_the_password_is_in_no_log(
    runner: ProcessStepRunner, s3: Any, tmp_path: Path
) -> None:
    database = tmp_path / "azure.duckdb"
    with duckdb.connect(str(database)) as made:
        made.execute(TABLE)
    s3.upload_file(str(DAGS / "jobs/read_azure_sql.py"), "lake", "jobs/read_azure_sql.py")
    s3.put_object(Bucket="lake", Key="jobs/main.py", Body=JOB.encode())
    submit = "spark-submit --deploy-mode client --py-files s3://lake/jobs/read_azure_sql.py s3://lake/jobs/main.py"
    options = "--server azure --database sales --secret-id azure-sql/reader --table sales.orders"
    ranges = "--partition-column order_id --partitions 3 --output s3://lake/sales.orders/run=1/"

    result = run(runner, spec(*submit.split(), str(database), *options.split(), *ranges.split()))

    assert result.succeeded, log(s3, "stdout")
    assert "sales.orders: 103 rows in 3 partitions" in log(s3, "stdout")
    assert differences(s3, database, tmp_path) == ([], 103)
    assert not [name for name in ("controller", "stdout", "stderr") if "s3cret" in log(s3, name)]


def differences(s3: Any, database: Path, tmp_path: Path) -> tuple[list[Any], int]:
    """Fetch the Parquet files and return the rows that only one side has, and how many there are."""
    listed = s3.list_objects_v2(Bucket="lake", Prefix="sales.orders/run=1/")["Contents"]
    keys = [found["Key"] for found in listed if found["Key"].endswith(".parquet")]
    for number, key in enumerate(keys):
        s3.download_file("lake", key, str(tmp_path / f"{number}.parquet"))
    with duckdb.connect(str(database)) as reader:
        written = f"SELECT * FROM read_parquet('{tmp_path}/*.parquet', hive_partitioning = false)"
        both = f"((TABLE sales.orders EXCEPT ALL {written}) UNION ALL ({written} EXCEPT ALL TABLE sales.orders))"
        ((count,),) = reader.sql(f"SELECT count(*) FROM ({written})").fetchall()
        return reader.sql(both).fetchall(), count
