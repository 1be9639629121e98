"""
Puts a real SQL Server behind the local EMR's firewall: ``python -m demo.mssql``.

The profile ``mssql`` of docker-compose.yaml runs it after ``demo.compose``. It creates the tables and the user of the
stand-in, unless they exist.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytds

from demo.aws import AwsClient, AzureSql
from demo.seed import DATABASE, USER, reader_password
from demo.tables import TABLES, creation

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGIN_SECONDS = 60
_SCHEMA = "sales"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.mssql", description=__doc__)
    parser.add_argument("--aws", required=True, metavar="URL", help="the local EMR")
    parser.add_argument("--host", required=True, help="the SQL Server")
    parser.add_argument("--port", type=int, default=1433)
    parser.add_argument("--sa-password-file", required=True, type=Path, help="the password of its administrator")
    return parser.parse_args(arguments)


def preparation(password: str) -> Iterator[str]:
    """Return the T-SQL that creates schema and user in the database, unless they exist."""
    yield f"IF SCHEMA_ID('{_SCHEMA}') IS NULL EXEC('CREATE SCHEMA {_SCHEMA}')"
    # The secret may be newer than the login.
    yield (
        f"IF SUSER_ID('{USER}') IS NULL CREATE LOGIN {USER} WITH PASSWORD = '{password}', CHECK_POLICY = OFF "
        f"ELSE ALTER LOGIN {USER} WITH PASSWORD = '{password}'"
    )
    yield f"IF USER_ID('{USER}') IS NULL CREATE USER {USER} FOR LOGIN {USER}"
    yield f"ALTER ROLE db_datareader ADD MEMBER {USER}"


def fill(server: Any, *, password: str) -> None:
    """
    Create the database with its user and tables, unless they exist.

    :param server: an administrator's connection with autocommit.
    """
    with server.cursor() as cursor:
        cursor.execute(f"IF DB_ID('{DATABASE}') IS NULL CREATE DATABASE {DATABASE}")
        cursor.execute(f"USE {DATABASE}")
        for statement in preparation(password):
            cursor.execute(statement)
        for table in TABLES:
            cursor.execute(f"SELECT OBJECT_ID('{table.name}')")
            if cursor.fetchone()[0] is None:
                for statement in creation(table):
                    cursor.execute(statement)


def main(arguments: list[str] | None = None) -> None:
    """Fill the server, and let the firewall forward connections to it."""
    options = parse(arguments)
    aws = AwsClient(options.aws)
    administrator = {"user": "sa", "password": options.sa_password_file.read_text(encoding="utf-8")}
    with pytds.connect(
        dsn=options.host, port=options.port, autocommit=True, login_timeout=_LOGIN_SECONDS, **administrator
    ) as server:
        fill(server, password=reader_password(aws.client("secretsmanager")))
    aws.pass_database_on(AzureSql(host=options.host, port=options.port))
    sys.stdout.write(f"SQL Server at {options.host}:{options.port} is behind the firewall.\n")


if __name__ == "__main__":
    main()
