"""The check of the lock store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import ElasticIpError, InvalidInputError, LockStoreError
from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.stores.uri import open_store, parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.setup import Setup


def _lock_store(setup: Setup) -> Iterator[Finding]:
    """Look at the table or bucket and at the address's record; nothing is created."""
    if not setup.lock_store or setup.store_client is None:
        return
    subject = f"lock store '{setup.lock_store}'"
    try:
        where = parse_uri(setup.lock_store)
        client = setup.store_client(where.kind, where.region)
        store = open_store(setup.lock_store, lambda *_: client)
        if not store.would_create():
            store.check()
            store.read(setup.allocation_id)
    except (InvalidInputError, LockStoreError) as wrong:
        yield _finding(subject, wrong)
    if not setup.environment:
        yield warning(
            subject,
            what="[eip] environment is not set where this runs",
            why="a task with a lock store fails without: two environments with the same DAGs would be taken for one",
            mend="set AIRFLOW__EIP__ENVIRONMENT to a name that no other Airflow environment has",
        )


def _finding(subject: str, wrong: ElasticIpError) -> Finding:
    why = "no task can take the lease, so every one of them fails before it launches anything"
    return error(subject, what=wrong.problem, why=why, mend=wrong.remedy)


def _missing(setup: Setup) -> str | None:
    return None if setup.lock_store else "no lock store is given"


LOCK_STORE = Check(
    "lock-store",
    "the lock store answers, and has a readable record or none",
    _lock_store,
    at_launch=False,
    once=True,
    missing=_missing,
)
