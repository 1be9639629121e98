"""The names of owners that are not tasks, and the digest by which owners are compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import Attempt

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record


def digest_of(name: str) -> str:
    """Return the digest of an owner's name: 32 hexadecimal digits."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def cluster_owner(environment: str, job_flow_id: str) -> str:
    """Return the owner's name of a cluster that no task launched."""
    return f"{environment}/cluster/{job_flow_id}"


def is_cluster_owner(name: str, job_flow_id: str) -> bool:
    """Whether a name is that of this cluster as an owner, in any environment; a task's name ends with a number."""
    return name.endswith(f"/cluster/{job_flow_id}")


def newest_try(record: Record, name: str) -> int:
    """Return the newest try of an owner in a record; 0 for none."""
    attempts = [part.attempt for part in (record.lease, *record.queue) if part is not None]
    return max((attempt.try_number for attempt in attempts if attempt.owner == digest_of(name)), default=0)


def attempt_for(name: str, *, try_number: int, nonce: str) -> Attempt:
    """Return an attempt of an owner that is not a task."""
    return Attempt(digest_of(name), name, try_number, nonce)
