"""The source tables: their columns and rows, and conversions of their values to T-SQL, from JSON, and to text."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEED = 20261120
_ROWS_A_STATEMENT = 500


def base_type(kind: str) -> str:
    """Return a T-SQL type without its length and nullability."""
    return kind.replace("(", " ").split(maxsplit=1)[0]


@dataclass(frozen=True, kw_only=True)
class Table:
    """
    A source table.

    :param columns: name and T-SQL type; the first is the key.
    """

    dag_id: str
    name: str
    columns: tuple[tuple[str, str], ...]
    rows: int

    @property
    def kinds(self) -> list[str]:
        """The columns' types, without length and nullability."""
        return [base_type(kind) for _, kind in self.columns]


TABLES = (
    Table(
        dag_id="azure_sql_daily",
        name="sales.orders",
        rows=4000,
        columns=(
            ("order_id", "int NOT NULL"),
            ("customer_id", "int NOT NULL"),
            ("placed_at", "datetime2(6) NOT NULL"),
            ("deliver_on", "date NULL"),
            ("amount", "decimal(12, 2) NOT NULL"),
            ("weight_kg", "float NOT NULL"),
            ("express", "bit NOT NULL"),
            ("note", "nvarchar(80) NULL"),
        ),
    ),
    Table(
        dag_id="azure_sql_daily_customers",
        name="sales.customers",
        rows=2500,
        columns=(
            ("customer_id", "bigint NOT NULL"),
            ("name", "nvarchar(60) NOT NULL"),
            ("since", "date NOT NULL"),
            ("credit", "decimal(10, 2) NULL"),
            ("active", "bit NOT NULL"),
            ("last_seen", "datetime2(6) NULL"),
        ),
    ),
)

_WORDS = ("plain", "Zürich", "naïve café", "it's quoted", "東京", "Ελλάδα", "tab\there", "")
_EPOCH = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - datetime2 has no time zone


def rows(table: Table) -> Iterator[tuple[Any, ...]]:
    """Yield a table's rows, which are the same in every run."""
    chance = random.Random(f"{_SEED}{table.name}")  # noqa: S311 - sample data
    for key in range(1, table.rows + 1):
        yield (key, *(_value(kind, nullable=" NOT NULL" not in kind, chance=chance) for _, kind in table.columns[1:]))


def _value(kind: str, *, nullable: bool, chance: random.Random) -> Any:  # noqa: PLR0911 - a case a type
    if nullable and chance.random() < 0.1:  # noqa: PLR2004 - a tenth of what may be absent
        return None
    match base_type(kind):
        case "int":
            return chance.randint(1, 2500)
        case "date":
            return (_EPOCH + dt.timedelta(days=chance.randint(0, 1000))).date()
        case "datetime2":
            return _EPOCH + dt.timedelta(milliseconds=chance.randint(0, 10**11))
        case "decimal":
            return Decimal(chance.randint(-(10**7), 10**9)).scaleb(-2)
        case "float":
            return chance.uniform(0, 50)
        case "bit":
            return bool(chance.getrandbits(1))
        case _:
            return f"{chance.choice(_WORDS)} {chance.randint(1, 999)}"


def literal(value: Any) -> str:
    """Return a value as T-SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, dt.datetime):
        return f"'{value.isoformat(sep=' ', timespec='microseconds')}'"
    if isinstance(value, dt.date):
        return f"'{value.isoformat()}'"
    return "N'" + str(value).replace("'", "''") + "'"


def creation(table: Table) -> Iterator[str]:
    """Yield the T-SQL that creates a table with its rows in an existing schema."""
    columns = ", ".join(f"[{name}] {kind}" for name, kind in table.columns)
    yield f"CREATE TABLE {table.name} ({columns})"
    created = list(rows(table))
    for start in range(0, len(created), _ROWS_A_STATEMENT):
        batch = created[start : start + _ROWS_A_STATEMENT]
        values = ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in batch)
        yield f"INSERT INTO {table.name} VALUES {values}"  # noqa: S608 - the demo's own rows


def text(value: Any) -> str:
    """Return a value as text, for the comparison of the job's rows with the database's."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Decimal):
        return format(value, ".2f")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="microseconds")
    return str(value)


def from_json(value: Any, *, kind: str) -> Any:
    """Return a value of the control API's JSON as the type of its column."""
    if value is None:
        return None
    match kind:
        case "date":
            return dt.date.fromisoformat(value)
        case "datetime2":
            return dt.datetime.fromisoformat(value)
        case "decimal":
            return Decimal(value)
        case "bit":
            return bool(value)
        case _:
            return value
