"""Records as JSON text, as every store keeps them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_eip_provider.exceptions import CorruptRecordError
from airflow_eip_provider.lock.codec import decode, encode

if TYPE_CHECKING:
    from airflow_eip_provider.lock.model import Record


def to_text(record: Record, **beside: str) -> str:
    """
    Return a record as JSON.

    :param beside: what the store keeps in the same text.
    """
    return json.dumps({**encode(record), **beside}, allow_nan=False)


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
    return decode({name: value for name, value in plain.items() if name not in beside}, where=where)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
