"""Parameters of a remote procedure call, converted to Python values (MS-TDS 2.2.6.6, 2.2.5.4 and 2.2.5.5)."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import Any
from uuid import UUID

from local_emr.azure_sql.tds import ProtocolError

_DAY_ZERO = dt.datetime(1, 1, 1)  # noqa: DTZ001 - TDS counts days without a zone
_MAX = 0xFFFF
_NULL_LENGTH = 0xFFFF
_NULL_LONG = 0xFFFFFFFFFFFFFFFF
_TIMES = {0x29: "time", 0x2A: "datetime2", 0x2B: "datetimeoffset"}
_LONG = {0xE7: 5, 0xEF: 5, 0xA7: 5, 0xAF: 5, 0xA5: 0, 0xAD: 0}  # type → number of collation bytes after the length
_UNICODE, _BINARY = {0xE7, 0xEF}, {0xA5, 0xAD}


class Reader:
    """
    Reads the fields of a call in order.

    :raises ProtocolError: from every method, when the data is truncated or has an unsupported type.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_done(self) -> bool:
        """Return whether everything was read."""
        return self._at >= len(self._data)

    def parameter(self) -> tuple[str, Any]:
        """Read one parameter: its name, which may be empty, and its value."""
        name = self.text(self._byte())
        self._byte()  # by value or by reference: treated alike here
        return name, self._value(self._byte())

    def text(self, length: int) -> str:
        """Read a text with this number of characters."""
        return self._take(2 * length).decode("utf-16-le", errors="replace")

    def number(self, form: str) -> int:
        """Read a number in a ``struct`` format."""
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise ProtocolError("a call is cut short")
        self._at += count
        return taken

    def _byte(self) -> int:
        return self._take(1)[0]

    def _value(self, kind: int) -> Any:
        if kind in _LONG:
            return self._text_or_bytes(kind)
        if kind in {0x6A, 0x6C}:  # decimal, numeric
            _, _, scale = self._take(3)
            raw = self._take(self._byte())
            return _decimal(raw, scale)
        if kind in _TIMES:
            scale = self._byte()
            return _moment(self._take(self._byte()), kind=_TIMES[kind], scale=scale)
        if kind != 0x28:  # noqa: PLR2004 - date has no length of its own
            self._byte()
        return _fixed(kind, self._take(self._byte()))

    def _text_or_bytes(self, kind: int) -> Any:
        longest = self.number("<H")
        self._take(_LONG[kind])
        raw = self._chunks() if longest == _MAX else self._plain()
        if raw is None or kind in _BINARY:
            return raw
        return raw.decode("utf-16-le" if kind in _UNICODE else "cp1252")

    def _plain(self) -> bytes | None:
        length = self.number("<H")
        return None if length == _NULL_LENGTH else self._take(length)

    def _chunks(self) -> bytes | None:
        if self.number("<Q") == _NULL_LONG:
            return None
        data = b""
        while size := self.number("<I"):
            data += self._take(size)
        return data


def _decimal(raw: bytes, scale: int) -> Decimal | None:
    if not raw:
        return None
    number = int.from_bytes(raw[1:], "little")
    return Decimal(number if raw[0] else -number).scaleb(-scale)


def _moment(raw: bytes, *, kind: str, scale: int) -> Any:
    if not raw:
        return None
    offset = int.from_bytes(raw[-2:], "little", signed=True) if kind == "datetimeoffset" else 0
    raw = raw[:-2] if kind == "datetimeoffset" else raw
    days = 0 if kind == "time" else int.from_bytes(raw[-3:], "little")
    ticks = int.from_bytes(raw if kind == "time" else raw[:-3], "little")
    moment = _DAY_ZERO + dt.timedelta(days=days, microseconds=ticks * 10 ** (6 - scale) if scale <= 6 else ticks // 10)  # noqa: PLR2004
    if kind == "time":
        return moment.time()
    zone = dt.timezone(dt.timedelta(minutes=offset))
    return moment.replace(tzinfo=dt.UTC).astimezone(zone) if kind == "datetimeoffset" else moment


def _fixed(kind: int, raw: bytes) -> Any:
    match kind:
        case 0x26 | 0x68 | 0x6D | 0x28 | 0x24 if not raw:
            return None
        case 0x26:  # int, any size
            return int.from_bytes(raw, "little", signed=len(raw) > 1)
        case 0x68:  # bit
            return bool(raw[0])
        case 0x6D:  # float, either size
            return struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0]  # noqa: PLR2004
        case 0x28:  # date
            return (_DAY_ZERO + dt.timedelta(days=int.from_bytes(raw, "little"))).date()
        case 0x24:  # uniqueidentifier
            return UUID(bytes_le=raw)
        case _:
            raise ProtocolError(f"a parameter of TDS type {kind:#04x} is not read here; write it into the statement")
