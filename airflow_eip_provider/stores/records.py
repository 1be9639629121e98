"""
Records as JSON text, the same in every store.

A long text is packed: compressed with zlib, as base64 in a JSON object that older versions of this package refuse as a
newer record. Shorter ones stay readable. A packed record of 1,000 queued owners has about 80 KB instead of 400 KB.
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


# A record with a full history and about forty queued owners is not packed.
PACKED_FROM_BYTES = 32 * 1024
_PACKED = "packed"
_LONGEST_UNPACKED = 64 * 1024 * 1024


def to_text(record: Record, **beside: str) -> str:
    """
    Return a record as JSON.

    :param beside: further fields of the store in the same text.
    """
    text = json.dumps({**encode(record), **beside}, allow_nan=False)
    if len(text) < PACKED_FROM_BYTES:
        return text
    packed = b64encode(zlib.compress(json.dumps(encode(record), allow_nan=False).encode())).decode()
    return json.dumps({"schema": SCHEMA, _PACKED: packed, **beside})


def from_text(text: str | bytes, *, where: str, beside: tuple[str, ...] = ()) -> Record:
    """
    Read a record.

    :param where: the location of the text, for errors.
    :param beside: the store's further fields in the same text.
    :raises NewerRecordError: if a newer version of this package wrote it.
    :raises CorruptRecordError: if it is not a record.
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
        raise CorruptRecordError(where, problem="it cannot be unpacked: it is truncated, or too long")
    return text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")
