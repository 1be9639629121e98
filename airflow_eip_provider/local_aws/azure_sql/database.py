"""The databases behind the stand-in: T-SQL, translated by sqlglot, run by DuckDB."""

from __future__ import annotations

import hmac
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import sqlglot
from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# `CREATE USER reader WITH PASSWORD = '…'` makes a contained database user, Azure SQL's usual kind.
_CREATE_USER = re.compile(
    r"\s*CREATE\s+USER\s+\[?(\w+)\]?\s+WITH\s+PASSWORD\s*=\s*N?'((?:[^']|'')*)'\s*;?\s*", re.IGNORECASE
)
_SESSION_ONLY = re.compile(r"\s*(SET|USE|DECLARE|BEGIN\s+TRAN|COMMIT|ROLLBACK|IF\s+@@TRANCOUNT)\b", re.IGNORECASE)
_LENGTHS_DROPPED = {
    exp.DataType.Type[name] for name in ("BINARY", "VARBINARY", "CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "TEXT")
}
_MONEY = {exp.DataType.Type.MONEY, exp.DataType.Type.SMALLMONEY}
_FLOAT_DIGITS, _REAL_DIGITS = 53, 24  # of the mantissa: float(53) is the default, float(24) and less is real
_VERSION = "Microsoft SQL Azure (RTM) - 12.0.2000.8"


class SqlError(Exception):
    """
    SQL Server's answer to a statement that it refuses.

    :param number: SQL Server's error number: 208 invalid object, 102 syntax, 50000 anything else.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self.number = number
        self.message = message

    def __str__(self) -> str:
        return f"{self.number}: {self.message}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result, with DuckDB's name for its type."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """A result: its columns, none for a statement that returns nothing, its rows, and how many rows were affected."""

    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    affected: int = 0


class Database:
    """
    One database, with its users.

    :param path: where DuckDB keeps it; in memory unless given.
    """

    def __init__(self, name: str, *, path: Path | None = None) -> None:
        self.name = name
        self._duck = duckdb.connect(str(path) if path else ":memory:")
        self._duck.execute("SET TimeZone = 'UTC'")
        self._duck.execute("CREATE SCHEMA IF NOT EXISTS dbo")
        self._users: dict[str, str] = {}
        self._lock = threading.Lock()

    def knows(self, user: str, password: str) -> bool:
        """Whether these credentials log in."""
        known = self._users.get(user.lower())
        return known is not None and hmac.compare_digest(known.encode(), password.encode())

    def execute(self, sql: str, *, parameters: Mapping[str, Any] | None = None) -> list[Table]:
        """
        Run a batch and return the result of each statement.

        :param parameters: values for ``@name`` in the statements.

        :raises SqlError: as SQL Server words it.
        """
        if made := _CREATE_USER.fullmatch(sql):
            self._users[made[1].lower()] = made[2].replace("''", "'")
            return [Table()]
        results = []
        for statement in _statements(sql):
            for parameter in list(statement.find_all(exp.Parameter)):
                if parameter.name in (parameters or {}):
                    parameter.replace(exp.convert((parameters or {})[parameter.name]))
            with self._lock:
                results.append(self._run(statement))
        return results

    def close(self) -> None:
        """Close the database."""
        self._duck.close()

    def _run(self, statement: exp.Expression) -> Table:
        for schema in {table.db for table in statement.find_all(exp.Table) if table.db}:
            if isinstance(statement, exp.Create):
                self._duck.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        for kind in statement.find_all(exp.DataType):
            _as_duckdb_has_it(kind)
        try:
            cursor = self._duck.execute(statement.sql(dialect="duckdb"))
            columns = [Column(str(item[0]), str(item[1]).upper()) for item in cursor.description or ()]
            rows = cursor.fetchall()
        except duckdb.CatalogException as error:
            named = next((table.sql("tsql") for table in statement.find_all(exp.Table)), "?")
            raise SqlError(208, f"Invalid object name '{named}'.") from error
        except duckdb.ParserException as error:
            raise SqlError(102, f"Incorrect syntax: {error}") from error
        except duckdb.BinderException as error:
            raise SqlError(207, f"Invalid column name or type: {error}") from error
        except duckdb.Error as error:
            raise SqlError(50000, str(error)) from error
        if isinstance(statement, (exp.Insert, exp.Update, exp.Delete)):
            return Table(affected=int(rows[0][0]) if rows else 0)
        if not isinstance(statement, exp.Query):
            return Table()
        return Table(columns, rows, len(rows))


def _statements(sql: str) -> list[Any]:
    """Parse a batch; what only concerns a session (SET, BEGIN TRAN, …) has no effect here and is left out."""
    if _SESSION_ONLY.match(sql) and not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE)\b", sql, re.IGNORECASE):
        return []
    text = re.sub(r"@@VERSION\b", f"'{_VERSION}'", sql, flags=re.IGNORECASE)
    try:
        parsed = sqlglot.parse(text, read="tsql")
    except sqlglot.errors.ParseError as error:
        raise SqlError(102, f"Incorrect syntax: {error}") from error
    return [
        statement
        for statement in parsed
        if statement is not None
        and not isinstance(statement, (exp.Set, exp.Use, exp.Transaction, exp.Commit, exp.Rollback))
    ]


def _as_duckdb_has_it(kind: exp.DataType) -> None:
    """
    Keep what a T-SQL type means.

    ``float`` is 8 bytes unless it says fewer digits (sqlglot takes ``real`` for it, which thus is 8 bytes here, too);
    DuckDB's text and BLOB have no length, and it has no money.
    """
    if kind.this == exp.DataType.Type.BIT:
        kind.set("this", exp.DataType.Type.BOOLEAN)
    elif kind.this in _LENGTHS_DROPPED:
        kind.set("expressions", [])
    elif kind.this in _MONEY:
        kind.replace(exp.DataType.build("DECIMAL(19, 4)"))
    elif kind.this == exp.DataType.Type.FLOAT:
        digits = int(kind.expressions[0].name) if kind.expressions else _FLOAT_DIGITS
        if digits > _REAL_DIGITS:
            kind.set("this", exp.DataType.Type.DOUBLE)
        kind.set("expressions", [])
