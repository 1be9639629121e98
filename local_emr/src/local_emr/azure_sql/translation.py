"""Translates T-SQL to DuckDB's SQL: sqlglot parses a batch, and constructs with different meanings are rewritten."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.dialects.tsql import TSQL

from local_emr.azure_sql.results import SqlError

if TYPE_CHECKING:
    from collections.abc import Mapping

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # its warnings quote statements, including passwords

# sqlglot needs a semicolon between statements. T-SQL does not, and `SET NOCOUNT ON` without one opens many a script.
_OPTIONS = re.compile(r"(?:\s*SET\s+[A-Z_]+\s+(?:ON|OFF|-?\d+)\b\s*;?)+", re.IGNORECASE)
_TYPE = exp.DataType.Type
_TEXTS = {_TYPE[name] for name in ("CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "TEXT")}
_LENGTHS_DROPPED = {*_TEXTS, _TYPE.BINARY, _TYPE.VARBINARY}
_MONEY = {_TYPE.MONEY: "DECIMAL(19, 4)", _TYPE.SMALLMONEY: "DECIMAL(10, 4)"}
_REAL_DIGITS = 24  # mantissa bits: float(24) and less is real
_CLOCKS = {"SYSDATETIME", "SYSUTCDATETIME", "GETUTCDATE"}

Node = Any  # sqlglot's syntax tree; its base class has had several names


class Transact(TSQL):
    """T-SQL in which ``real`` (4 bytes) and ``float`` (8 bytes) are different types."""

    class Tokenizer(TSQL.Tokenizer):
        """sqlglot's tokenizer, which maps both to FLOAT."""

        KEYWORDS = {**TSQL.Tokenizer.KEYWORDS, "FLOAT": TokenType.DOUBLE}  # noqa: RUF012 - as sqlglot has it


def parse(sql: str) -> list[Node]:
    """
    Parse a batch into statements; statements that only set a session option are left out.

    :raises SqlError: 102 when it does not parse, 50000 for control flow such as IF and EXEC.
    """
    if options := _OPTIONS.match(sql):
        sql = sql[options.end() :]
    try:
        parsed = sqlglot.parse(sql, read=Transact)
    except sqlglot.errors.ParseError as error:
        raise SqlError.from_sqlglot(error) from error
    return [statement for statement in parsed if statement is not None and not isinstance(statement, exp.Set)]


def translate(
    statement: Node, *, names: Mapping[str, Any], parameters: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """
    Return a statement in DuckDB's SQL, and the parameters that it uses.

    :param names: what ``@@NAME`` and functions without arguments, like DB_NAME, stand for in this session.
    :param parameters: what ``@name`` stands for.
    :raises SqlError: for an undeclared variable, or when DuckDB has no equivalent.
    """
    statement = statement.copy()
    # From the inside out, so that each part of 'a' + b + c is known to be text.
    for node in reversed(list(statement.walk(bfs=False))):
        new = _as_duckdb_has_it(node, names=names, parameters=parameters)
        if new is not node:
            node.replace(new)
    used = {node.name: parameters[node.name] for node in statement.find_all(exp.Parameter)}
    try:
        # Quoted, because words such as "at" are valid column names in T-SQL but not in DuckDB.
        return statement.sql(dialect="duckdb", identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE), used
    except sqlglot.errors.UnsupportedError as error:
        raise SqlError.unsupported(f"{statement.key.upper()} of this form: {error}") from error


def _as_duckdb_has_it(node: Node, *, names: Mapping[str, Any], parameters: Mapping[str, Any]) -> Node:
    new = node
    match node:
        case exp.Parameter() if not isinstance(node.parent, exp.Parameter):  # otherwise the inner part of @@NAME
            new = _variable(node, names=names, parameters=parameters)
        case exp.CurrentUser():
            new = exp.convert(names["USER_NAME"])
        case exp.Anonymous() if not node.expressions and node.name.upper() in names:
            new = exp.convert(names[node.name.upper()])
        case exp.CurrentTimestamp():
            new = _now()
        case exp.Anonymous() if node.name.upper() in _CLOCKS:
            new = _now()
        case exp.DataType():
            new = _type(node)
        case exp.Convert() if not node.args.get("style") and not node.args.get("safe"):
            # sqlglot writes CONVERT as TRY_CAST, which gives NULL where SQL Server raises an error.
            new = exp.Cast(this=node.expression, to=node.this)
        case exp.Add() if _is_text(node.this) or _is_text(node.expression):
            new = exp.DPipe(this=node.this, expression=node.expression)
    return new


def _variable(node: exp.Parameter, *, names: Mapping[str, Any], parameters: Mapping[str, Any]) -> Node:
    if isinstance(node.this, exp.Parameter):
        name = f"@@{node.this.name.upper()}"
        if name not in names:
            raise SqlError.unsupported(name)
        return exp.convert(names[name])
    name = node.name
    if name.lower() not in parameters:
        raise SqlError(137, f'Must declare the scalar variable "@{name}".')
    return exp.Parameter(this=exp.Var(this=name.lower()))


def _now() -> Node:
    return sqlglot.parse_one("CAST(NOW() AS TIMESTAMP)", read="duckdb")  # the session's time zone is UTC, as in Azure


def _is_text(node: Node) -> bool:
    return node.is_string or isinstance(node, (exp.National, exp.DPipe)) or node.is_type(*_TEXTS)


def _type(kind: exp.DataType) -> exp.DataType:
    """Map a type: DuckDB's text and BLOB have no length, and it has no money type."""
    if kind.this == _TYPE.BIT:
        return exp.DataType(this=_TYPE.BOOLEAN)
    if kind.this in _LENGTHS_DROPPED:
        return exp.DataType(this=kind.this)
    if kind.this in _MONEY:
        return exp.DataType.build(_MONEY[kind.this])
    if kind.this == _TYPE.DOUBLE:
        digits = int(kind.expressions[0].name) if kind.expressions else _REAL_DIGITS + 1
        return exp.DataType(this=_TYPE.DOUBLE if digits > _REAL_DIGITS else _TYPE.FLOAT)
    return kind
