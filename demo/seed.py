"""What is there before the first run: the address and its firewall rule, buckets, the job, the secret, the tables."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.local import REGION
from demo.tables import TABLES, Table, from_json, literal, rows, text

if TYPE_CHECKING:
    from pathlib import Path

    from demo.checks import Row
    from demo.local import LocalAws

BUCKET = "azure-sql-daily-demo"
DATABASE = "sales"
USER = "reader"
SECRET_ID = "azure-sql/reader"  # noqa: S105 - the name of the secret
_ROWS_A_STATEMENT = 500


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What the DAGs are told."""

    allocation_id: str
    public_ip: str
    variable: dict[str, Any]


def seed(aws: LocalAws, *, jobs: Path) -> Seed:
    """Make everything that an administrator would have made once."""
    ec2, s3 = aws.client("ec2"), aws.client("s3")
    address = ec2.allocate_address(Domain="vpc")
    aws.admit("airflow-eip", address["PublicIp"])
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for file in sorted(jobs.iterdir()):
        if file.is_file():
            s3.upload_file(str(file), BUCKET, f"jobs/{file.name}")
    password = secrets.token_urlsafe(16)
    secret = json.dumps({"username": USER, "password": password})
    aws.client("secretsmanager").create_secret(Name=SECRET_ID, SecretString=secret)
    # A contained database user, as Azure SQL recommends; it may come before the tables.
    aws.sql(f"CREATE USER {USER} WITH PASSWORD = '{password}'", database=DATABASE)
    aws.sql(f"CREATE USER [{USER}] WITH PASSWORD = '{password}'", database=DATABASE)
    for table in TABLES:
        _fill(aws, table)
    server = aws.azure_sql()
    variable = {
        "allocation_id": address["AllocationId"],
        "subnet_id": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        "region": REGION,
        "bucket": BUCKET,
        "job_flow_role": "EMR_EC2_DefaultRole",
        "service_role": "EMR_DefaultRole",
        "server": server.host,
        "port": server.port,
        "encrypt": "no",
        "database": DATABASE,
        "user": USER,
        "secret_id": SECRET_ID,
    }
    return Seed(allocation_id=address["AllocationId"], public_ip=address["PublicIp"], variable=variable)


def _fill(aws: LocalAws, table: Table) -> None:
    columns = ", ".join(f"[{name}] {kind}" for name, kind in table.columns)
    aws.sql(f"CREATE TABLE {table.name} ({columns})", database=DATABASE)
    made = list(rows(table))
    for start in range(0, len(made), _ROWS_A_STATEMENT):
        batch = made[start : start + _ROWS_A_STATEMENT]
        values = ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in batch)
        aws.sql(f"INSERT INTO {table.name} VALUES {values}", database=DATABASE)  # noqa: S608 - the demo's own rows


def database_rows(aws: LocalAws, table: Table) -> list[Row]:
    """Read a table as its administrator."""
    names = ", ".join(f"[{name}]" for name, _ in table.columns)
    answer = aws.sql(f"SELECT {names} FROM {table.name}", database=DATABASE)  # noqa: S608 - fixed names
    return [
        tuple(text(from_json(value, kind=kind)) for value, kind in zip(row, table.kinds, strict=True))
        for row in answer["rows"]
    ]
