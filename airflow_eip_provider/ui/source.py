"""What the page of this Airflow reads from: its options and its connection."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

from botocore.config import Config

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowNotFoundException, conf
from airflow_eip_provider.exceptions import InvalidInputError, MissingConnectionError
from airflow_eip_provider.ids import ALLOCATION_ID
from airflow_eip_provider.operators.lease_settings import configured_lock_store
from airflow_eip_provider.operators.owner import UNNAMED_ENVIRONMENT, own_environment
from airflow_eip_provider.stored_hooks import StoredHooks, stored_connection
from airflow_eip_provider.ui.shared_read import SharedRead
from airflow_eip_provider.ui.snapshot import Snapshot, SnapshotReader, Source
from airflow_eip_provider.ui.task_starts import read_starts

# Viewers wait no longer than this; tasks wait longer for the store. There are no retries: the next refresh tries again,
# and a failing store is not called more often than one that answers.
_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1})
REFRESH_SECONDS = 5.0
_CLIENTS_SECONDS = 300
_DEFAULT_CONNECTION = "aws_default"


def environment() -> str:
    """Return the name of this Airflow environment in the names of owners."""
    return own_environment() or UNNAMED_ENVIRONMENT


@cache
def shared_snapshot() -> SharedRead[Snapshot]:
    """Return the reads that all requests of this process share."""
    read = SnapshotReader(_source, refresh_seconds=REFRESH_SECONDS)
    return SharedRead(read, seconds=REFRESH_SECONDS, late=late)


def late(last: Snapshot | None) -> Snapshot:
    """Return what to show while a read is slow."""
    if last is None:
        problem = "The lock store and EC2 have not answered yet. This page asks again."
        return Snapshot((), (problem,), None, None, clock.time(), REFRESH_SECONDS)
    problem = "The lock store or EC2 takes long to answer. Until it does, this page shows the last answer."
    return replace(last, problems=(*last.problems, problem))


def _source() -> Source:
    return Source(
        lock_store=configured_lock_store(),
        allocation_ids=page_addresses(),
        client_for=_hooks(_connection(), int(clock.monotonic() // _CLIENTS_SECONDS)).client_for,
        environment=environment(),
        read_starts=read_starts,
    )


def page_addresses() -> tuple[str, ...]:
    """
    Return ``[eip] page_addresses``; empty for all addresses in the lock store.

    :raises InvalidInputError: when a value is not an allocation ID.
    """
    given = conf.get("eip", "page_addresses", fallback=None) or ""
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    for name in names:
        if not ALLOCATION_ID.fullmatch(name):
            problem = f"{name!r} is not an allocation ID"
            raise InvalidInputError("reading [eip] page_addresses", problem=problem, remedy="write eipalloc-…, …")
    return names


def _connection() -> str | None:
    """
    Return the connection to use; ``None`` for boto3's own credentials.

    :raises MissingConnectionError: when the configured connection does not exist.
    """
    configured = conf.get("eip", "page_aws_conn_id", fallback=None)
    if configured:
        return str(configured)
    try:
        stored_connection(_DEFAULT_CONNECTION)
    except (AirflowNotFoundException, MissingConnectionError):
        return None
    return _DEFAULT_CONNECTION


@lru_cache(maxsize=1)
def _hooks(aws_conn_id: str | None, _time_slot: int) -> Any:
    """Return the hooks of a connection; renewed every few minutes, as credentials and connections change."""
    return StoredHooks(aws_conn_id=aws_conn_id, config=_CONFIG)
