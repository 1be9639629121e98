"""
A record as plain JSON, the same in every store.

Schema 1 is the format of version 0.1.0. Schema 2 also has the fields of :data:`_ADDED`, or is packed
(:mod:`airflow_eip_provider.stores.records`). A field with its default value is left out, and a record without any of
the added fields is written as schema 1. So environments that still run 0.1.0 read all records that they understand, and
refuse the others with :class:`~airflow_eip_provider.exceptions.NewerRecordError` instead of losing a part of them.

A record with the grace of 0.1.0 also omits ``since``, so that 0.1.0 can read it; ``since`` only narrows the search for
clusters. When such a record is read, ``since`` is "not known" if a cluster of the lease may be older than the lease.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from airflow_eip_provider.exceptions import CorruptRecordError, NewerRecordError
from airflow_eip_provider.lease.record import FIRST_GRACE, Entry, Lease, PossibleOrphan, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 2
_AS_THEY_ARE = frozenset({str, int, bool})
_FIRST_SCHEMA = 1
# Fields whose stored names are those of version 0.1.0.
_STORED_AS = {
    "attempt": "speaker",
    "resource_id": "carrier",
    "acquired_at": "taken_at",
    "may_have_orphans": "doubtful",
    "to_be_terminated": "doomed",
    "possible_orphans": "suspects",
}
# The fields that schema 1 does not have. A missing field has its default value.
_ADDED: dict[type, frozenset[str]] = {
    Record: frozenset({"grace"}),
    Lease: frozenset({"since", "moved_from"}),
    Entry: frozenset({"passed"}),
    PossibleOrphan: frozenset({"since"}),
}


def encode(record: Record) -> dict[str, Any]:
    """Return the record as plain JSON, in the oldest schema that has all its fields."""
    plain, added = _plain(_without_since(record) if record.grace == FIRST_GRACE else record)
    return {"schema": SCHEMA if added else _FIRST_SCHEMA, **plain}


def decode(plain: Mapping[str, Any], *, where: str) -> Record:
    """
    Read a record. It must have exactly the known fields, of the right types, because it is written back as a whole.

    :param where: the location of the record, for errors.
    :raises NewerRecordError: if a newer version of this package wrote it.
    :raises CorruptRecordError: if it is not a record.
    """
    schema = plain.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerRecordError(where, schema=schema, known=SCHEMA)
    if type(schema) is not int or schema < _FIRST_SCHEMA:
        raise CorruptRecordError(where, problem=f"its schema is {schema!r}, not {SCHEMA}")
    try:
        record: Record = _typed(Record, {name: value for name, value in plain.items() if name != "schema"})
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptRecordError(where, problem=str(error)) from error
    return _with_since_not_known(record) if record.grace == FIRST_GRACE else record


def _without_since(record: Record) -> Record:
    lease = None if record.lease is None else replace(record.lease, since=None)
    orphans = tuple(replace(orphan, since=0.0) for orphan in record.possible_orphans)
    return replace(record, lease=lease, possible_orphans=orphans)


def _with_since_not_known(record: Record) -> Record:
    """Set ``since`` to "not known" if a cluster that the record does not name may be older than the lease."""
    lease = record.lease
    if lease is None or not lease.may_have_orphans or lease.since is not None:
        return record
    return replace(record, lease=replace(lease, since=0.0))


def _plain(value: Any) -> tuple[Any, bool]:
    """Return a part of a record as plain JSON, and whether schema 1 lacks one of its fields."""
    if isinstance(value, Enum):
        return value.value, False
    if isinstance(value, tuple):
        parts = [_plain(part) for part in value]
        return [part for part, _ in parts], any(added for _, added in parts)
    if not is_dataclass(value):
        return value, False
    kind: Any = type(value)
    added = False
    plain: dict[str, Any] = {}
    optional = _ADDED.get(kind, frozenset())
    for name, key, default in _fields(kind):
        part = getattr(value, name)
        if name in optional:
            if part == default:
                continue
            added = True
        plain[key], inside = _plain(part)
        added = added or inside
    return plain, added


@cache
def _fields(kind: Any) -> tuple[tuple[str, str, Any], ...]:
    """Return the stored fields of a class: name, key in JSON, default."""
    stored = [field for field in fields(kind) if field.init]
    return tuple((field.name, _STORED_AS.get(field.name, field.name), field.default) for field in stored)


def _typed(kind: Any, plain: Any) -> Any:
    """
    Return plain JSON as a value of the annotated type.

    :raises TypeError: if it is of another type.
    :raises ValueError: if fields are missing or unknown, or a value is not valid for its type.
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
    # The exact type: True is not a number, and a converted value would be written back in another form.
    if type(plain) is not kind:
        raise TypeError(f"expected a {getattr(kind, '__name__', kind)}, not {str(plain)[:60]!r}")
    if kind is float and not isfinite(plain):
        raise ValueError(f"{plain} is not a time")
    return plain


def _object(kind: Any, plain: Any) -> Any:
    types = _types(kind)
    if not isinstance(plain, dict):
        raise TypeError(f"expected a {kind.__name__}, not {str(plain)[:60]!r}")
    missing = types.keys() - plain.keys() - _ADDED.get(kind, frozenset())
    if wrong := sorted(map(str, missing | (plain.keys() - types.keys()))):
        raise ValueError(f"missing or unknown fields of a {kind.__name__}: {', '.join(wrong)}")
    # A fast path for most fields: a record of a thousand owners is read every fifteen seconds.
    return kind(
        **{
            name: value if type(value) is expected and expected in _AS_THEY_ARE else _typed(expected, value)
            for name, expected, value in ((*types[key], value) for key, value in plain.items())
        }
    )


@cache
def _types(kind: Any) -> dict[str, tuple[str, Any]]:
    """Return a class's fields by their keys in JSON: name and type."""
    hints = get_type_hints(kind)
    return {key: (name, hints[name]) for name, key, _ in _fields(kind)}
