"""Encoding of columns and values: DuckDB's types as TDS types (MS-TDS 2.2.5.4 to 2.2.5.5)."""

from __future__ import annotations

import datetime as dt
import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

COLLATION = bytes((0x09, 0x04, 0xD0, 0x00, 0x34))  # SQL_Latin1_General_CP1_CI_AS
_LONGEST = 8000  # maximum bytes of a (var)char or binary that is not (max)
_MAX = 0xFFFF
_TOO_BIG = 2**63
_SCALE = 6  # DuckDB stores microseconds
_DAY_ZERO = dt.date(1, 1, 1)
_NULL1, _NULL2, _NULL8 = b"\x00", b"\xff\xff", b"\xff" * 8


@dataclass(frozen=True, slots=True)
class WireType:
    """
    A column's type: its TYPE_INFO, and the encoder of values that are not NULL.

    :param null: the encoding of NULL.
    """

    info: bytes
    write: Callable[[Any], bytes]
    null: bytes = _NULL1

    def value(self, value: Any) -> bytes:
        """Write one value of a row."""
        return self.null if value is None else self.write(value)


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _integer(size: int) -> WireType:
    # tinyint is unsigned in SQL Server; everything else is signed.
    return WireType(bytes((0x26, size)), lambda v: _short(int(v).to_bytes(size, "little", signed=size > 1)))


def _float(size: int) -> WireType:
    return WireType(bytes((0x6D, size)), lambda v: _short(struct.pack("<d" if size == 8 else "<f", v)))  # noqa: PLR2004


def _decimal(precision: int, scale: int) -> WireType:
    length = next(size for digits, size in ((9, 5), (19, 9), (28, 13), (38, 17)) if precision <= digits)

    def write(value: Decimal) -> bytes:
        number = int(Decimal(value).scaleb(scale))
        return _short(bytes((number >= 0,)) + abs(number).to_bytes(length - 1, "little"))

    return WireType(bytes((0x6A, length, precision, scale)), write)


def _days(value: dt.date) -> bytes:
    return (value - _DAY_ZERO).days.to_bytes(3, "little")


def _ticks(value: dt.time | dt.datetime) -> bytes:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (seconds * 1_000_000 + value.microsecond).to_bytes(5, "little")


def _datetimeoffset(value: dt.datetime) -> bytes:
    offset = value.utcoffset() or dt.timedelta()
    utc = (value - offset).replace(tzinfo=None)
    minutes = int(offset.total_seconds() // 60)
    return _short(_ticks(utc) + _days(utc.date()) + minutes.to_bytes(2, "little", signed=True))


def _long(kind: int, collation: bytes, encode: Callable[[Any], bytes], values: list[Any]) -> WireType:
    """Return a variable-length type: a plain one, or (max), sent in chunks, when a value is too long."""
    longest = max((len(encode(value)) for value in values if value is not None), default=0)
    if longest <= _LONGEST:
        return WireType(
            bytes((kind,)) + struct.pack("<H", _LONGEST) + collation,
            lambda v: struct.pack("<H", len(encode(v))) + encode(v),
            _NULL2,
        )

    def chunked(value: Any) -> bytes:
        data = encode(value)
        chunk = struct.pack("<I", len(data)) + data if data else b""
        return struct.pack("<Q", len(data)) + chunk + struct.pack("<I", 0)

    return WireType(bytes((kind,)) + struct.pack("<H", _MAX) + collation, chunked, _NULL8)


_FIXED: dict[str, WireType] = {
    "BOOLEAN": WireType(bytes((0x68, 1)), lambda v: _short(bytes((bool(v),)))),
    "UTINYINT": _integer(1),
    "TINYINT": _integer(2),
    "SMALLINT": _integer(2),
    "USMALLINT": _integer(4),
    "INTEGER": _integer(4),
    "UINTEGER": _integer(8),
    "BIGINT": _integer(8),
    "UBIGINT": _decimal(20, 0),
    "HUGEINT": _decimal(38, 0),
    "FLOAT": _float(4),
    "DOUBLE": _float(8),
    "DATE": WireType(b"\x28", lambda v: _short(_days(v))),
    "TIME": WireType(bytes((0x29, _SCALE)), lambda v: _short(_ticks(v))),
    **dict.fromkeys(
        ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"),
        WireType(bytes((0x2A, _SCALE)), lambda v: _short(_ticks(v) + _days(v.date()))),
    ),
    "TIMESTAMP WITH TIME ZONE": WireType(bytes((0x2B, _SCALE)), _datetimeoffset),
    "UUID": WireType(bytes((0x24, 16)), lambda v: _short(UUID(str(v)).bytes_le)),
}


def wire_type(kind: str, values: list[Any]) -> WireType:
    """
    Return the TDS type of a column; a type that SQL Server does not have is sent as text.

    :param kind: DuckDB's name of the type.
    :param values: the column's values, for the longest length.
    """
    if kind == "HUGEINT" and all(-_TOO_BIG <= value < _TOO_BIG for value in values if value is not None):
        return _FIXED["BIGINT"]  # in SQL Server a sum is at most bigint
    if kind in _FIXED:
        return _FIXED[kind]
    if decimal := re.fullmatch(r"DECIMAL\((\d+), ?(\d+)\)", kind):
        return _decimal(int(decimal[1]), int(decimal[2]))
    if kind == "BLOB":
        return _long(0xA5, b"", bytes, values)
    return _long(0xE7, COLLATION, lambda v: str(v).encode("utf-16-le"), values)
