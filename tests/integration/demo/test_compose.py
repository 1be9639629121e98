"""The results of the init service of docker-compose.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.aws import AwsClient, AwsError, AzureSql
from demo.compose import main
from demo.seed import database_rows
from demo.tables import TABLES
from local_emr.azure_sql import AzureSqlServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr import LocalAws

JOBS = Path(__file__).resolve().parents[3] / "dags" / "jobs"


@pytest.fixture
def aws(local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsClient]:
    database = AzureSqlServer(who=local_aws.outside.caller, record=local_aws.events.append)
    database.start()
    monkeypatch.setattr(local_aws, "azure_sql", database)
    with AwsClient(local_aws.endpoint_url) as client:
        yield client
    database.stop()


def seeded(aws: AwsClient, folder: Path) -> dict[str, object]:
    main(["--aws", aws.url, "--jobs", str(JOBS), "--output", str(folder)])
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in ("connections", "variables")}


def test_everything_is_there_and_a_second_time_changes_nothing(aws, tmp_path):
    made = seeded(aws, tmp_path)
    before = {table.name: database_rows(aws, table) for table in TABLES}
    assert {name: len(rows) for name, rows in before.items()} == {table.name: table.rows for table in TABLES}

    assert seeded(aws, tmp_path) == made
    assert {table.name: database_rows(aws, table) for table in TABLES} == before
    ec2 = aws.client("ec2")
    [address] = ec2.describe_addresses()["Addresses"]
    ec2.close()
    setting = made["variables"]["azure_sql"]
    assert setting["allocation_id"] == address["AllocationId"]
    assert (setting["server"], setting["port"]) == ("127.0.0.1", 1433)
    assert made["connections"]["aws_default"].startswith("aws://")


def test_the_stand_in_serves_the_database_again(aws, tmp_path):
    aws.pass_database_on(AzureSql(host="mssql", port=1433))
    assert aws.health()["azure_sql"]["upstream"] == ["mssql", 1433]
    seeded(aws, tmp_path)
    assert aws.health()["azure_sql"]["upstream"] is None


@pytest.mark.parametrize("upstream", [{"host": "mssql"}, "mssql:1433", {"host": "mssql", "port": "x"}], ids=str)
def test_an_upstream_that_makes_no_sense_is_refused(aws, upstream):
    with pytest.raises(AwsError, match="'upstream' must be null or have 'host' and 'port'"):
        aws._control("PUT", "azure-sql/upstream", json={"upstream": upstream})
