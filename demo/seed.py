"""Creates what the runs need: the address and its firewall rule, buckets, the jobs, the secret, and the tables."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.aws import REGION
from demo.tables import TABLES, Table, creation, from_json, text

if TYPE_CHECKING:
    from pathlib import Path

    from demo.aws import AwsClient, AzureSql
    from demo.checks import Row

NAME = "airflow-eip"
BUCKET = "azure-sql-daily-demo"
DATABASE = "sales"
USER = "reader"
SECRET_ID = "azure-sql/reader"  # noqa: S105 - the name of the secret


@dataclass(frozen=True, kw_only=True)
class Seed:
    """The address, and the Airflow Variable of the DAGs."""

    allocation_id: str
    public_ip: str
    variable: dict[str, Any]


def seed(aws: AwsClient, *, jobs: Path, server: AzureSql | None = None) -> Seed:
    """
    Create everything that an administrator would create once, unless it exists.

    :param jobs: the folder of the jobs, which are uploaded in any case.
    :param server: the database's address for the steps; by default the one that the local EMR reports.
    """
    ec2 = aws.client("ec2")
    address = _address(ec2)
    aws.admit(NAME, address["PublicIp"])
    upload(aws.client("s3"), jobs)
    password = reader_password(aws.client("secretsmanager"))
    # A contained database user, as Azure SQL recommends; the tables need not exist yet.
    aws.sql(f"CREATE USER [{USER}] WITH PASSWORD = '{password}'", database=DATABASE)
    for table in TABLES:
        if not _exists(aws, table):
            for statement in creation(table):
                aws.sql(statement, database=DATABASE)
    server = server or aws.azure_sql()
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


def another_address(aws: AwsClient, first: Seed, *, number: int = 2) -> Seed:
    """Allocate one more address that the firewall admits, for a scenario that runs in parallel."""
    name = f"{NAME}-{number}"
    address = _address(aws.client("ec2"), name=name)
    aws.admit(name, address["PublicIp"])
    variable = {**first.variable, "allocation_id": address["AllocationId"]}
    return Seed(allocation_id=address["AllocationId"], public_ip=address["PublicIp"], variable=variable)


def _address(ec2: Any, *, name: str = NAME) -> dict[str, Any]:
    existing = ec2.describe_addresses(Filters=[{"Name": "tag:Name", "Values": [name]}])["Addresses"]
    tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "Name", "Value": name}]}]
    address: dict[str, Any] = existing[0] if existing else ec2.allocate_address(Domain="vpc", TagSpecifications=tags)
    return address


def upload(s3: Any, jobs: Path, *, bucket: str = BUCKET) -> None:
    """Upload the jobs to a bucket, which is created unless it exists."""
    if bucket not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for file in sorted(jobs.iterdir()):
        if file.is_file():
            s3.upload_file(str(file), bucket, f"jobs/{file.name}")


def reader_password(manager: Any) -> str:
    """Return the password of the database user, from the secret, which is created unless it exists."""
    try:
        secret = json.loads(manager.get_secret_value(SecretId=SECRET_ID)["SecretString"])
    except manager.exceptions.ResourceNotFoundException:
        secret = {"username": USER, "password": secrets.token_urlsafe(16)}
        manager.create_secret(Name=SECRET_ID, SecretString=json.dumps(secret))
    return str(secret["password"])


def _exists(aws: AwsClient, table: Table) -> bool:
    tables = aws.sql("SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES", database=DATABASE)
    return table.name.split(".") in tables["rows"]


def database_rows(aws: AwsClient, table: Table) -> list[Row]:
    """Read a table as its administrator."""
    names = ", ".join(f"[{name}]" for name, _ in table.columns)
    answer = aws.sql(f"SELECT {names} FROM {table.name}", database=DATABASE)  # noqa: S608 - fixed names
    return [
        tuple(text(from_json(value, kind=kind)) for value, kind in zip(row, table.kinds, strict=True))
        for row in answer["rows"]
    ]
