"""T-SQL as DuckDB has it: a batch is parsed by sqlglot, and what the two mean differently is written out."""

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

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # its warnings quote statements, and the passwords in them

# sqlglot needs a semicolon between statements. T-SQL does not, and `SET NOCOUNT ON` without one opens many a script.
_OPTIONS = re.compile(r"(?:\s*SET\s+[A-Z_]+\s+(?:ON|OFF|-?\d+)\b\s*;?)+", re.IGNORECASE)
_TYPE = exp.DataType.Type
_TEXTS = {_TYPE[name] for name in ("CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "TEXT")}
_LENGTHS_DROPPED = {*_TEXTS, _TYPE.BINARY, _TYPE.VARBINARY}
_MONEY = {_TYPE.MONEY: "DECIMAL(19, 4)", _TYPE.SMALLMONEY: "DECIMAL(10, 4)"}
_REAL_DIGITS = 24  # of the mantissa: float(24) and less is real
_CLOCKS = {"SYSDATETIME", "SYSUTCDATETIME", "GETUTCDATE"}

Node = Any  # of sqlglot's tree; the class above all others has another name in every few versions


class Transact(TSQL):
    """T-SQL in which ``real``, 4 bytes, and ``float``, 8 bytes, are two types."""

    class Tokenizer(TSQL.Tokenizer):
        """sqlglot's own, which takes both for FLOAT."""

        KEYWORDS = {**TSQL.Tokenizer.KEYWORDS, "FLOAT": TokenType.DOUBLE}  # noqa: RUF012 - as sqlglot has it


def parse(sql: str) -> list[Node]:
    """
    Parse a batch into statements; what only sets an option of the session is left out.

    :raises SqlError: 102 when it does not parse, 50000 when it needs more than statements, like IF and EXEC.
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
    Return a statement in DuckDB's SQL, and those of the parameters that it uses.

    :param names: what ``@@NAME`` and functions without arguments, like DB_NAME, stand for in this session.
    :param parameters: what ``@name`` stands for.
    :raises SqlError: when there is a variable that nobody declared, or no way to say it.
    """
    statement = statement.copy()
    # From the inside out, so that 'a' + b + c is one of texts all along.
    for node in reversed(list(statement.walk(bfs=False))):
        new = _as_duckdb_has_it(node, names=names, parameters=parameters)
        if new is not node:
            node.replace(new)
    used = {node.name: parameters[node.name] for node in statement.find_all(exp.Parameter)}
    try:
        # Quoted, as words like "at" name columns in T-SQL, but not in DuckDB.
        return statement.sql(dialect="duckdb", identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE), used
    except sqlglot.errors.UnsupportedError as error:
        raise SqlError.unsupported(f"{statement.key.upper()} of this form: {error}") from error


def _as_duckdb_has_it(node: Node, *, names: Mapping[str, Any], parameters: Mapping[str, Any]) -> Node:
    new = node
    match node:
        case exp.Parameter() if not isinstance(node.parent, exp.Parameter):  # else the inner half of @@NAME
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
            # sqlglot writes CONVERT as TRY_CAST, which would give NULL for what SQL Server refuses.
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
    return sqlglot.parse_one("CAST(NOW() AS TIMESTAMP)", read="duckdb")  # the session's zone is UTC, as Azure's is


def _is_text(node: Node) -> bool:
    return node.is_string or isinstance(node, (exp.National, exp.DPipe)) or node.is_type(*_TEXTS)


def _type(kind: exp.DataType) -> exp.DataType:
    """Keep what a type means: DuckDB's text and BLOB have no length, and it has no money."""
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
