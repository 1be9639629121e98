"""The names of owners that are not tasks, and the digest by which owners are compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import Attempt

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record


def digest_of(name: str) -> str:
    """Return a fixed-length form that any owner's name fits into: 32 hexadecimal digits."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def cluster_owner(environment: str, job_flow_id: str) -> str:
    """Return the name of a cluster as an owner, when no task launched it."""
    return f"{environment}/cluster/{job_flow_id}"


def is_cluster_owner(name: str, job_flow_id: str) -> bool:
    """Whether a name is the owner of that cluster, in whichever environment; a task's name ends with a number."""
    return name.endswith(f"/cluster/{job_flow_id}")


def newest_try(record: Record, name: str) -> int:
    """Return the newest try of an owner that a record knows; 0 for none."""
    known = [record.lease, *record.queue]
    tries = [part.attempt.try_number for part in known if part is not None and part.attempt.owner == digest_of(name)]
    return max(tries, default=0)


def attempt_for(name: str, *, try_number: int, nonce: str) -> Attempt:
    """Return an attempt of an owner that is not a task."""
    return Attempt(digest_of(name), name, try_number, nonce)
