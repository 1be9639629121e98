"""A database of the stand-in: a DuckDB file and the users who can log in."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import threading
from typing import TYPE_CHECKING

import duckdb

from local_emr.azure_sql.results import Column, SqlError, Table
from local_emr.azure_sql.session import Session

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Column", "Database", "SqlError", "Table"]

# `CREATE USER reader WITH PASSWORD = '…'` makes a contained database user, Azure SQL's usual kind.
_CREATE_USER = re.compile(
    r"\s*CREATE\s+USER\s+\[?(\w+)\]?\s+WITH\s+PASSWORD\s*=\s*N?'((?:[^']|'')*)'\s*;?\s*", re.IGNORECASE
)
_SETUP = """
SET TimeZone = 'UTC';
CREATE SCHEMA IF NOT EXISTS dbo;
CREATE SCHEMA IF NOT EXISTS contained;
CREATE TABLE IF NOT EXISTS contained.users (name VARCHAR PRIMARY KEY, salt BLOB, digest BLOB);
"""
_SESSION_SETUP = "SET integer_division = true; SET schema = 'dbo'"  # integer division, and the default schema dbo


class Database:
    """
    A database with its users.

    :param path: file of the database; in memory if not given.
    """

    def __init__(self, name: str, *, path: Path | None = None) -> None:
        self.name = name
        self._duck = duckdb.connect(str(path) if path else ":memory:")
        self._duck.execute(_SETUP)
        self._lock = threading.Lock()

    def knows(self, user: str, password: str) -> bool:
        """Return whether these credentials are valid."""
        with self._lock:
            found = self._duck.execute(
                "SELECT salt, digest FROM contained.users WHERE name = ?", [user.lower()]
            ).fetchone()
        return found is not None and hmac.compare_digest(found[1], _digest(password, salt=found[0]))

    def session(self, *, user: str) -> Session:
        """Open a new session for a user; the caller must close it."""
        cursor = self._duck.cursor()
        cursor.execute(_SESSION_SETUP)
        return Session(cursor, database=self.name, user=user)

    def execute(self, sql: str) -> list[Table]:
        """
        Run a batch as the administrator and return the result of each statement.

        :raises SqlError: as SQL Server words it.
        """
        if made := _CREATE_USER.fullmatch(sql):
            self._add_user(made[1], made[2].replace("''", "'"))
            return [Table()]
        with contextlib.closing(self.session(user="dbo")) as session:
            return list(session.execute(sql))

    def close(self) -> None:
        """Close the database; open sessions keep using it until they end."""
        self._duck.close()

    def _add_user(self, name: str, password: str) -> None:
        salt = secrets.token_bytes(16)
        row = [name.lower(), salt, _digest(password, salt=salt)]
        with self._lock:
            self._duck.execute("INSERT OR REPLACE INTO contained.users VALUES (?, ?, ?)", row)


def _digest(password: str, *, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1024, r=8, p=1)
