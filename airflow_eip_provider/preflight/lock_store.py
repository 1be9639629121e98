"""The check of the lock store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError, LockStoreError
from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.stores.uri import open_store, parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.setup import Setup


@partial(
    Check,
    "lock-store",
    "the lock store responds, and its record is readable or absent",
    at_launch=False,
    once=True,
    missing=lambda setup: None if setup.lock_store else "no lock store is given",
)
def lock_store(setup: Setup) -> Iterator[Finding]:
    """Check the table or bucket and the record of the address. Nothing is created."""
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
    except (InvalidInputError, LockStoreError) as problem:
        why = "no task can acquire the lease, so every task fails before it launches anything"
        yield error(subject, what=problem.problem, why=why, remedy=problem.remedy)
    if not setup.environment:
        yield warning(
            subject,
            what="[eip] environment is not set here",
            why="tasks with a lock store need it, to tell the same DAGs in two Airflow environments apart",
            remedy="set AIRFLOW__EIP__ENVIRONMENT to a name that no other Airflow environment has",
        )
