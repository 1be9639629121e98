"""The statements for a SQL Server behind the firewall; only a real server could show that it understands them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from demo import mssql
from demo.aws import AwsClient
from demo.seed import SECRET_ID
from demo.tables import TABLES, creation
from local_emr.azure_sql import AzureSqlServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server:
    """A SQL Server that has some tables, and records its statements."""

    def __init__(self, *, tables: set[str]) -> None:
        self.tables = tables
        self.statements: list[str] = []

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Server]:
        yield self

    def execute(self, statement: str) -> None:
        self.statements.append(statement)

    def fetchone(self) -> tuple[int | None]:
        return (1 if any(f"'{table}'" in self.statements[-1] for table in self.tables) else None,)


@pytest.mark.parametrize("there", [set(), {TABLES[0].name}, {table.name for table in TABLES}], ids=len)
def test_tables_are_made_once_after_database_and_schema(there):
    server = Server(tables=there)
    mssql.fill(server, password="p")
    created = [text for text in server.statements if text.startswith(("CREATE TABLE", "INSERT"))]
    assert created == [text for table in TABLES if table.name not in there for text in creation(table)]
    assert server.statements[:2] == ["IF DB_ID('sales') IS NULL CREATE DATABASE sales", "USE sales"]
    assert server.statements[2].startswith("IF SCHEMA_ID('sales') IS NULL")


def test_the_user_gets_the_password_of_the_secret_and_the_database_is_passed_on(local_aws, monkeypatch, tmp_path, boto):
    database = AzureSqlServer(who=local_aws.outside.caller, record=local_aws.events.append)
    monkeypatch.setattr(local_aws, "azure_sql", database)
    server = Server(tables=set())
    logins = []

    def connect(**login: object) -> contextlib.nullcontext[Server]:
        logins.append(login)
        return contextlib.nullcontext(server)

    monkeypatch.setattr(mssql.pytds, "connect", connect)
    (password := tmp_path / "sa").write_text("of-sa")
    mssql.main(["--aws", local_aws.endpoint_url, "--host", "mssql", "--sa-password-file", str(password)])
    assert (logins[0]["dsn"], logins[0]["user"], logins[0]["password"]) == ("mssql", "sa", "of-sa")
    reader = boto("secretsmanager").get_secret_value(SecretId=SECRET_ID)["SecretString"]
    [login] = [text for text in server.statements if "CREATE LOGIN" in text]
    assert reader.split('"password": "')[1].rstrip('"}') in login
    with AwsClient(local_aws.endpoint_url) as client:
        assert client.health()["azure_sql"]["upstream"] == ["mssql", 1433]
    database._listener.close()
