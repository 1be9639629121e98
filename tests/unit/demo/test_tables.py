from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from demo.tables import TABLES, Table, from_json, literal, rows, text


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_are_the_same_every_time_and_fit_their_columns(table: Table):
    made = list(rows(table))
    assert made == list(rows(table))
    assert len({row[0] for row in made}) == table.rows
    assert {len(row) for row in made} == {len(table.columns)}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_only_nullable_columns_have_nulls(table: Table):
    made = list(rows(table))
    for number, (_, kind) in enumerate(table.columns):
        assert any(row[number] is None for row in made) == ("NOT NULL" not in kind)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_survive_json(table: Table):
    for row in list(rows(table))[:200]:
        read = json.loads(json.dumps(row, default=str))
        assert tuple(from_json(value, kind=kind) for value, kind in zip(read, table.kinds, strict=True)) == row


@pytest.mark.parametrize(
    ("value", "sql", "shown"),
    [
        (None, "NULL", "NULL"),
        (True, "1", "1"),
        (7, "7", "7"),
        (Decimal("1.5"), "1.5", "1.50"),
        ("it's", "N'it''s'", "it's"),
        (dt.date(2024, 2, 29), "'2024-02-29'", "2024-02-29"),
        (dt.datetime(2024, 2, 29, 1), "'2024-02-29 01:00:00.000000'", "2024-02-29T01:00:00.000000"),  # noqa: DTZ001
    ],
)
def test_values_as_sql_and_as_text(value: Any, sql: str, shown: str):
    assert (literal(value), text(value)) == (sql, shown)
