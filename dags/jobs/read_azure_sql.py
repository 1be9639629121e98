"""Read a table of an Azure SQL Database in partitions on the executors, and write it to S3 as Parquet.

It runs on EMR (Spark 3.4 or newer, Python 3.9 or newer) with python-tds, certifi and pyOpenSSL on every node: see
install_python_packages.sh. The password comes from Secrets Manager: the secret is the password itself, or JSON like
``{"username": "reader", "password": "..."}``. The partitions are read one by one, not in one snapshot.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytds
from botocore.exceptions import BotoCoreError, ClientError
from pyspark.sql import SparkSession
from pyspark.sql import types as spark_types
from pytds import tds_base

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FETCH_ROWS = 5000
LOGIN_TIMEOUT_SECONDS = 30

SPARK_TYPES: dict[int, spark_types.DataType] = {
    tds_base.SYBBITN: spark_types.BooleanType(),
    tds_base.SYBBIT: spark_types.BooleanType(),
    tds_base.SYBINT1: spark_types.ShortType(),  # 0 to 255
    tds_base.SYBINT2: spark_types.ShortType(),
    tds_base.SYBINT4: spark_types.IntegerType(),
    tds_base.SYBINT8: spark_types.LongType(),
    tds_base.SYBREAL: spark_types.FloatType(),
    tds_base.SYBFLT8: spark_types.DoubleType(),
    tds_base.SYBMONEY4: spark_types.DecimalType(10, 4),
    tds_base.SYBMONEY: spark_types.DecimalType(19, 4),
    tds_base.SYBMONEYN: spark_types.DecimalType(19, 4),
    tds_base.SYBMSDATE: spark_types.DateType(),
    tds_base.SYBMSTIME: spark_types.StringType(),  # Spark has no time of day
    # These three have no time zone; the session's time zone must not shift them.
    tds_base.SYBDATETIME4: spark_types.TimestampNTZType(),
    tds_base.SYBDATETIME: spark_types.TimestampNTZType(),
    tds_base.SYBMSDATETIME2: spark_types.TimestampNTZType(),
    tds_base.SYBMSDATETIMEOFFSET: spark_types.TimestampType(),
    tds_base.XSYBCHAR: spark_types.StringType(),
    tds_base.XSYBVARCHAR: spark_types.StringType(),
    tds_base.XSYBNCHAR: spark_types.StringType(),
    tds_base.XSYBNVARCHAR: spark_types.StringType(),
    tds_base.SYBTEXT: spark_types.StringType(),
    tds_base.SYBNTEXT: spark_types.StringType(),
    tds_base.SYBMSXML: spark_types.StringType(),
    tds_base.SYBUNIQUE: spark_types.StringType(),
    tds_base.XSYBBINARY: spark_types.BinaryType(),
    tds_base.XSYBVARBINARY: spark_types.BinaryType(),
    tds_base.SYBIMAGE: spark_types.BinaryType(),
}


class JobError(Exception):
    """The error that ends the job, as a message for its log."""


@dataclass(frozen=True)
class Database:
    """Where to read, and as whom; its text does not show the password."""

    server: str
    port: int
    name: str
    user: str
    password: str
    encrypt: bool
    login_timeout_seconds: int = LOGIN_TIMEOUT_SECONDS

    def __repr__(self) -> str:
        return f"database {self.name!r} on {self.server}:{self.port}"

    def connect(self) -> Any:
        """Log in; Azure SQL demands encryption, and its certificate is checked."""
        certificates = None
        if self.encrypt:
            import certifi  # noqa: PLC0415 - not needed without encryption

            certificates = certifi.where()
        try:
            return pytds.connect(
                dsn=self.server,
                port=self.port,
                database=self.name,
                user=self.user,
                password=self.password,
                cafile=certificates,
                login_timeout=self.login_timeout_seconds,
                autocommit=True,
            )
        except TimeoutError as error:
            # python-tds repeats a refused login until it times out, and then reports only the timeout.
            raise (error.__cause__ or error) from None


def quoted(identifier: str) -> str:
    """Return a name as SQL Server quotes it, each part of ``schema.table`` by itself."""
    return ".".join("[{}]".format(part.replace("]", "]]")) for part in identifier.split("."))


def literal(value: Any) -> str:
    """Return a boundary as SQL; a partition column holds numbers, dates or times."""
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    if isinstance(value, dt.datetime):
        kind = "datetimeoffset" if value.tzinfo else "datetime2"
        return f"CAST('{value.isoformat(sep=' ')}' AS {kind})"
    if isinstance(value, dt.date):
        return f"CAST('{value.isoformat()}' AS date)"
    raise JobError(f"--partition-column holds {type(value).__name__}; choose a column of numbers, dates or times")


def predicates(column: str, *, lowest: Any, highest: Any, partitions: int) -> list[str]:
    """Return the WHERE conditions of the partitions, which together meet every row exactly once.

    The ends are open, so that rows added meanwhile are met too; rows without a value are in the first.

    :param lowest: The smallest value of the column, or None if it has none.
    """
    everything = ["1 = 1"]
    if lowest is None:
        return everything
    literal(lowest)  # refuses a type that cannot be divided
    steps = (lowest + (highest - lowest) * index // partitions for index in range(1, partitions))
    bounds = [literal(bound) for bound in sorted({step for step in steps if step > lowest})]
    if not bounds:
        return everything
    name = quoted(column)
    inner = [f"{name} >= {bounds[i]} AND {name} < {bounds[i + 1]}" for i in range(len(bounds) - 1)]
    return [f"{name} < {bounds[0]} OR {name} IS NULL", *inner, f"{name} >= {bounds[-1]}"]


def schema_of(description: Iterable[Sequence[Any]]) -> spark_types.StructType:
    """Return the Spark schema of a result from its cursor's description."""
    return spark_types.StructType(
        [
            spark_types.StructField(name, _spark_type(name, kind, precision, scale))
            for name, kind, _, _, precision, scale, _ in description
        ]
    )


def _spark_type(name: str, kind: int, precision: int, scale: int) -> spark_types.DataType:
    if kind in (tds_base.SYBDECIMAL, tds_base.SYBNUMERIC):
        return spark_types.DecimalType(precision, scale)
    if kind not in SPARK_TYPES:
        raise JobError(
            f"column {name!r} has the TDS type {kind}, which has no Spark equivalent; read a view that casts it"
        )
    return SPARK_TYPES[kind]


def plain(value: Any, kind: spark_types.DataType) -> Any:
    """Return a value of python-tds as Spark takes it: text for what Spark has no type for."""
    if value is None or not isinstance(kind, spark_types.StringType):
        return value
    return value.isoformat() if isinstance(value, dt.time) else str(value)


def rows_of(database: Database, *, query: str, schema: spark_types.StructType) -> Iterator[tuple[Any, ...]]:
    """Run a query and yield its rows as Spark takes them."""
    kinds = [field.dataType for field in schema.fields]
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(FETCH_ROWS):
            for row in rows:
                yield tuple(map(plain, row, kinds))


def plan(database: Database, *, table: str, column: str, partitions: int) -> tuple[spark_types.StructType, list[str]]:
    """Ask the database for the table's schema, and return it with the query of each partition."""
    name = quoted(table)
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name} WHERE 1 = 0")  # noqa: S608 - quoted
        schema = schema_of(cursor.description)
        cursor.execute(f"SELECT MIN({quoted(column)}), MAX({quoted(column)}) FROM {name}")  # noqa: S608 - quoted
        lowest, highest = cursor.fetchone()
    conditions = predicates(column, lowest=lowest, highest=highest, partitions=partitions)
    return schema, [f"SELECT * FROM {name} WHERE {condition}" for condition in conditions]  # noqa: S608 - quoted


def credentials(secret_id: str, *, user: str | None, region: str | None) -> tuple[str, str]:
    """Return user and password; ``--user`` wins over the secret's ``username``."""
    try:
        secrets = boto3.client("secretsmanager", region_name=region)
        text = secrets.get_secret_value(SecretId=secret_id)["SecretString"]
    except (ClientError, BotoCoreError) as error:
        raise JobError(f"reading secret {secret_id!r}: {error}") from error
    try:
        secret = json.loads(text)
    except ValueError:
        secret = text
    if not isinstance(secret, dict):
        secret = {"password": text}
    user = user or secret.get("username")
    if not user or "password" not in secret:
        raise JobError(f"secret {secret_id!r} has no 'username' (or pass --user) or no 'password'")
    return user, secret["password"]


def copy(
    spark: SparkSession, database: Database, *, schema: spark_types.StructType, queries: list[str], output: str
) -> int:
    """Run each query on an executor, write what they yield to Parquet and return how many rows are there."""

    def read(part: Iterator[str]) -> Iterator[tuple[Any, ...]]:
        for query in part:
            yield from rows_of(database, query=query, schema=schema)

    rows = spark.sparkContext.parallelize(queries, len(queries)).mapPartitions(read)
    spark.createDataFrame(rows, schema, verifySchema=False).write.mode("overwrite").parquet(output)
    return int(spark.read.parquet(output).count())


def explained(database: Database, error: Exception) -> str:
    """Return what the server said, with its number: 40615 is the firewall's refusal."""
    number = getattr(error, "number", 0)
    said = getattr(error, "text", "") or str(error)
    return f"{database!r} refused with error {number}: {said}" if number else f"{database!r}: {said}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Read a table of an Azure SQL Database into Parquet files on S3.")
    parser.add_argument("--server", required=True, help="like example.database.windows.net")
    parser.add_argument("--port", type=int, default=1433)
    parser.add_argument("--database", required=True)
    parser.add_argument("--user", help="default: the secret's username")
    parser.add_argument("--secret-id", required=True, help="name or ARN in Secrets Manager")
    parser.add_argument("--region", help="of the secret; default: the environment's")
    parser.add_argument("--encrypt", choices=("yes", "no"), default="yes", help="no: for a local stand-in")
    parser.add_argument("--table", required=True, help="like sales.orders")
    parser.add_argument("--partition-column", required=True, help="numbers, dates or times, best an indexed column")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--login-timeout-seconds", type=int, default=LOGIN_TIMEOUT_SECONDS, help="default: %(default)s")
    parser.add_argument("--output", required=True, help="like s3://bucket/orders/; what is there is replaced")
    options = parser.parse_args(arguments)
    if options.partitions < 1:
        parser.error("--partitions must be 1 or more")
    return options


def run(options: argparse.Namespace) -> None:
    """Do the job."""
    user, password = credentials(options.secret_id, user=options.user, region=options.region)
    database = Database(
        server=options.server,
        port=options.port,
        name=options.database,
        user=user,
        password=password,
        encrypt=options.encrypt == "yes",
        login_timeout_seconds=options.login_timeout_seconds,
    )
    try:
        schema, queries = plan(
            database, table=options.table, column=options.partition_column, partitions=options.partitions
        )
    except (pytds.Error, OSError) as error:
        raise JobError(explained(database, error)) from error

    builder = SparkSession.builder.appName(f"read {options.table}")
    # Write dates before 1582, such as 0001-01-01, as they are in the database; Spark 3 has no default for them.
    spark = builder.config("spark.sql.parquet.datetimeRebaseModeInWrite", "CORRECTED").getOrCreate()
    try:
        count = copy(spark, database, schema=schema, queries=queries, output=options.output)
    finally:
        spark.stop()
    sys.stdout.write(f"{options.table}: {count} rows in {len(queries)} partitions written to {options.output}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job and end with its error, if any."""
    try:
        run(parse(arguments))
    except JobError as error:
        sys.exit(f"read_azure_sql: {error}")


if __name__ == "__main__":
    main()
