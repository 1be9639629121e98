"""Results of a statement: a table, a transaction change, or an error with SQL Server's number."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

if TYPE_CHECKING:
    import sqlglot

# DuckDB has error texts where SQL Server has numbers (sys.messages).
_CATALOG = (
    (re.compile(r"Function with name (\w+) does not exist"), 195, "'{0}' is not a recognized built-in function name."),
    (
        re.compile(r"with name \"?([^\"]+?)\"? already exists"),
        2714,
        "There is already an object named '{0}' in the database.",
    ),
)
_CONSTRAINTS = (
    (re.compile(r"NOT NULL constraint failed: \S+?\.\"?(\w+)"), 515, "Cannot insert the value NULL into column '{0}'."),
    (
        re.compile(r"(?i)duplicate key"),
        2627,
        "Violation of PRIMARY KEY or UNIQUE KEY constraint. Cannot insert duplicate key.",
    ),
    (re.compile(r""), 547, "The statement conflicted with a constraint."),
)
_BINDING = ((re.compile(r"column \"([^\"]+)\" not found"), 207, "Invalid column name '{0}'."),)
_SEVERITIES = {102: 15, 137: 15, 195: 15, 2627: 14, 4060: 11, 18456: 14, 40615: 14}
_UNSUPPORTED = 50000  # the first number of user-defined messages, which SQL Server itself never uses


class Transaction(Enum):
    """A transaction change, by its ENVCHANGE type (MS-TDS 2.2.7.9)."""

    BEGUN = 8
    COMMITTED = 9
    ROLLED_BACK = 10


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result, with DuckDB's name for its type."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """A result: its columns (none for a statement without a result set), its rows, and the number of affected rows."""

    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    affected: int = 0
    transaction: Transaction | None = None


class SqlError(Exception):
    """
    An error that SQL Server returns for a statement.

    :param number: SQL Server's error number, like 208 for an invalid object name; 50000 is the stand-in's own.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self.number = number
        self.message = message

    def __str__(self) -> str:
        return f"{self.number}: {self.message}"

    @property
    def severity(self) -> int:
        """SQL Server's severity ("class") of this error."""
        return _SEVERITIES.get(self.number, 16)

    @classmethod
    def unsupported(cls, what: str) -> SqlError:
        """Return the error for a SQL Server feature that the stand-in does not support."""
        return cls(_UNSUPPORTED, f"the Azure SQL stand-in has no {what}")

    @classmethod
    def from_sqlglot(cls, error: sqlglot.errors.ParseError) -> SqlError:
        """Convert a parse error."""
        near = next((str(item["highlight"]) for item in error.errors if item.get("highlight")), "")
        return cls(102, f"Incorrect syntax near '{near}'.")

    @classmethod
    def from_duckdb(cls, error: duckdb.Error, *, statement: Any) -> SqlError:
        """Convert a DuckDB error."""
        said = str(error)
        worded = None
        match error:
            case duckdb.CatalogException():
                worded = _worded(said, _CATALOG) or cls._unknown_object(said, statement)
            case duckdb.ConstraintException():
                worded = _worded(said, _CONSTRAINTS)
            case duckdb.ParserException():
                worded = cls(102, f"Incorrect syntax: {said}")
            case duckdb.BinderException():
                worded = _worded(said, _BINDING)
            case duckdb.ConversionException():
                worded = cls(245, f"Conversion failed: {said}")
            case duckdb.TransactionException():
                worded = cls(3960, f"Snapshot isolation transaction aborted due to update conflict: {said}")
            case _ if "Division by zero" in said:
                worded = cls(8134, "Divide by zero error encountered.")
        return worded or cls(_UNSUPPORTED, said)

    @classmethod
    def _unknown_object(cls, said: str, statement: Any) -> SqlError:
        tables = list(statement.find_all(exp.Table))
        named = next((table for table in tables if f"name {table.name} " in said), tables[0] if tables else None)
        name = ".".join(part.name for part in named.parts) if named else "?"
        if isinstance(statement, exp.Drop):
            return cls(
                3701, f"Cannot drop the table '{name}', because it does not exist or you do not have permission."
            )
        return cls(208, f"Invalid object name '{name}'.")


def _worded(said: str, forms: tuple[tuple[re.Pattern[str], int, str], ...]) -> SqlError | None:
    for pattern, number, text in forms:
        if found := pattern.search(said):
            return SqlError(number, text.format(*found.groups()))
    return None
