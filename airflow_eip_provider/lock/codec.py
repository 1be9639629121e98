"""A record as plain JSON, the same in every store."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from enum import Enum
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from airflow_eip_provider.exceptions import CorruptRecordError, NewerRecordError
from airflow_eip_provider.lock.model import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1


def encode(record: Record) -> dict[str, Any]:
    """Return the record as plain JSON."""
    plain = asdict(record)
    if record.lease is not None:
        plain["lease"]["phase"] = record.lease.phase.value
    return {"schema": SCHEMA, **plain}


def decode(plain: Mapping[str, Any], *, where: str) -> Record:
    """
    Read a record.

    Every field must be there and of its type, and no other: what is read is written back whole.

    :param where: what was read, for the error.
    :raises NewerRecordError: when a newer version of this package wrote it.
    :raises CorruptRecordError: when it is no record.
    """
    schema = plain.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerRecordError(where, schema=schema, known=SCHEMA)
    if schema != SCHEMA:
        raise CorruptRecordError(where, problem=f"its schema is {schema!r}, not {SCHEMA}")
    try:
        record: Record = _typed(Record, {name: value for name, value in plain.items() if name != "schema"})
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptRecordError(where, problem=str(error)) from error
    return record


def _typed(kind: Any, plain: Any) -> Any:
    """
    Return plain JSON as a value of the type with which the model annotates it.

    :raises TypeError: when it is of another type.
    :raises ValueError: when fields are missing or unknown, or a value is none of its type's.
    """
    if is_dataclass(kind):
        return _object(kind, plain)
    if get_origin(kind) is Union:  # Optional[X]
        return None if plain is None else _typed(get_args(kind)[0], plain)
    if get_origin(kind) is tuple and isinstance(plain, (list, tuple)):
        return tuple(_typed(get_args(kind)[0], item) for item in plain)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(plain)
    if kind is float and type(plain) is int:
        return float(plain)
    if type(plain) is not kind:
        raise TypeError(f"a {getattr(kind, '__name__', kind)} was expected, not {str(plain)[:60]!r}")
    if kind is float and not isfinite(plain):
        raise ValueError(f"{plain} is no time")
    return plain


def _object(kind: Any, plain: Any) -> Any:
    types = _types(kind)
    if not isinstance(plain, dict):
        raise TypeError(f"a {kind.__name__} was expected, not {str(plain)[:60]!r}")
    if wrong := sorted(str(name) for name in plain.keys() ^ types.keys()):
        raise ValueError(f"a {kind.__name__} lacks, or does not have, the fields {', '.join(wrong)}")
    return kind(**{name: _typed(types[name], value) for name, value in plain.items()})


@cache
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
