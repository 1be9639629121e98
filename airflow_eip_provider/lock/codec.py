"""A record as plain JSON, the same in every store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.exceptions import CorruptRecordError, NewerRecordError
from airflow_eip_provider.lock.model import Entry, Lease, Phase, Record, Speaker, Suspect, Tenancy

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
        return Record(
            issued=int(plain["issued"]),
            lease=_lease(plain["lease"]) if plain["lease"] else None,
            free_since=float(plain["free_since"]),
            queue=tuple(_entry(item) for item in plain["queue"]),
            suspects=tuple(Suspect(**item) for item in plain["suspects"]),
            history=tuple(Tenancy(**item) for item in plain["history"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptRecordError(where, problem=f"{type(error).__name__}: {error}") from error


def _lease(plain: Mapping[str, Any]) -> Lease:
    return Lease(**{**plain, "speaker": Speaker(**plain["speaker"]), "phase": Phase(plain["phase"])})


def _entry(plain: Mapping[str, Any]) -> Entry:
    return Entry(**{**plain, "speaker": Speaker(**plain["speaker"])})
