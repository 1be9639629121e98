"""
Records as JSON text, as every store keeps them.

A long text is packed: compressed by zlib, and written as base64 in a JSON object that an older version of this package
refuses as that of a newer one. So every store keeps one kind of text, and what is usual stays readable. A packed record
of 1,000 queued owners has about 80 KB, instead of 400 KB.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_eip_provider.exceptions import CorruptRecordError
from airflow_eip_provider.lease.codec import SCHEMA, decode, encode

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record


# The whole history and some forty queued owners stay readable.
PACKED_FROM_BYTES = 32 * 1024
_PACKED = "packed"
_LONGEST_UNPACKED = 64 * 1024 * 1024


def to_text(record: Record, **beside: str) -> str:
    """
    Return a record as JSON.

    :param beside: what the store keeps in the same text.
    """
    text = json.dumps({**encode(record), **beside}, allow_nan=False)
    if len(text) < PACKED_FROM_BYTES:
        return text
    packed = b64encode(zlib.compress(json.dumps(encode(record), allow_nan=False).encode())).decode()
    return json.dumps({"schema": SCHEMA, _PACKED: packed, **beside})


def from_text(text: str | bytes, *, where: str, beside: tuple[str, ...] = ()) -> Record:
    """
    Read a record.

    :param where: what was read, for the error.
    :param beside: what the store keeps in the same text.
    :raises NewerRecordError: when a newer version of this package wrote it.
    :raises CorruptRecordError: when it is no record.
    """
    try:
        plain: Any = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CorruptRecordError(where, problem=f"it is not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise CorruptRecordError(where, problem=f"it is a JSON {type(plain).__name__}, not an object")
    plain = {name: value for name, value in plain.items() if name not in beside}
    if plain.keys() == {"schema", _PACKED} and plain["schema"] == SCHEMA:
        return from_text(_unpacked(plain[_PACKED], where=where), where=where)
    return decode(plain, where=where)


def _unpacked(packed: Any, *, where: str) -> bytes:
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(b64decode(packed, validate=True), _LONGEST_UNPACKED)
    except (TypeError, ValueError, Base64Error, zlib.error) as error:
        raise CorruptRecordError(where, problem=f"it cannot be unpacked: {error}") from error
    if not unpacking.eof:
        raise CorruptRecordError(where, problem="it cannot be unpacked: it is cut off, or too long")
    return text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
