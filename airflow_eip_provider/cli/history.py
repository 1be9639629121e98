"""``airflow-eip history``: list the ended leases of an address."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.arguments import (
    add_address_arguments,
    add_common_arguments,
    add_duration,
    named_addresses,
)
from airflow_eip_provider.cli.command import OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_table
from airflow_eip_provider.exceptions import LockStoreNotCreatedError, UsageError
from airflow_eip_provider.lease.description import utc
from airflow_eip_provider.ui.past import is_cut, past_leases
from airflow_eip_provider.ui.period import duration as duration_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import LockStore, Snapshot
    from airflow_eip_provider.ui.past import PastLease

    AddressLease: TypeAlias = tuple[str, PastLease]  # with the allocation ID

DESCRIPTION = """\
List the ended leases of an Elastic IP, newest first: the owner, its cluster, the begin and end, and why the lease
ended. The lock store keeps the newest 50 leases of each address.

With several addresses, one list contains the leases of all, and each row names its address. With --json the result has
"addresses", a list of the addresses with their "leases".

The time that an owner waited for its lease, since the start of its task, is known only for tasks of this Airflow
environment that are still in its metadata database.

The command changes nothing."""

EXAMPLES = r"""
# The last seven days
airflow-eip history --allocation-id eipalloc-0123456789abcdef0
# The last 30 days, as CSV
airflow-eip history --allocation-id eipalloc-0123456789abcdef0 \
    --since 30d --csv
# All addresses with a tag
airflow-eip history --tag purpose=azure-sql"""

_COLUMNS = ("token", "owner", "cluster", "begin", "end", "seconds", "waited_seconds", "why")


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    add_duration(parser, "--since", "list the leases that ended in this time before now, e.g. 24h", default="7d")
    parser.add_argument("--csv", action="store_true", help="print the result as CSV")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Read the records, and list the leases."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.stores.uri import open_store

        addresses = named_addresses(options)
        if options.json and options.csv:
            raise UsageError("", problem="--json and --csv are given", remedy="give one")
        lock_store = lock_store_of(options)
        if lock_store is None:
            problem = "there is no lock store, and leases are recorded only there"
            raise UsageError("listing leases", problem=problem, remedy="give --lock-store, or set it in airflow.cfg")
        session = open_session(options)
        store = open_store(lock_store, session.hooks.client_for)
        leases: dict[str, tuple[PastLease, ...]] = {}
        for allocation_id in addresses.resolve(session.hooks):
            snapshot = _read(store, allocation_id)
            since = snapshot.now - options.since.total_seconds()
            leases[allocation_id] = past_leases(snapshot.record, since=since, waits=_waits(snapshot.record, since))
            _note_missing_leases(snapshot, since, f"{allocation_id}: " if addresses.is_pool else "")
    if options.json:
        each = [{"allocation_id": name, "leases": list(map(_facts, ended))} for name, ended in leases.items()]
        facts = {**session.facts, "lock_store": lock_store}
        print_json({**facts, "addresses": each} if addresses.is_pool else {**facts, **each[0]})
        return OK
    rows = sorted(
        ((allocation_id, lease) for allocation_id, ended in leases.items() for lease in ended),
        key=lambda row: -row[1].ended_at,
    )
    if options.csv:
        _print_csv(rows, with_address=addresses.is_pool)
    else:
        _print_table(rows, with_address=len(leases) > 1)
    return OK


def _read(store: LockStore, allocation_id: str) -> Snapshot:
    """Read a record; an empty one when no task has created the lock store yet."""
    from airflow_eip_provider import clock
    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import Snapshot

    try:
        return store.read(allocation_id)
    except LockStoreNotCreatedError as error:
        note(error)
        return Snapshot(Record(), None, clock.time())


def _waits(record: Record, since: float) -> Mapping[int, float]:
    """Return how long the owners of the leases that ended since then waited, by fencing token."""
    from airflow_eip_provider.operators.owner import UNNAMED_ENVIRONMENT, own_environment
    from airflow_eip_provider.ui.task_starts import read_starts
    from airflow_eip_provider.ui.waits import read_waits

    leases = {lease.token: (lease.owner, lease.acquired_at) for lease in record.history if lease.ended_at >= since}
    environment = own_environment() or UNNAMED_ENVIRONMENT
    try:
        waits = read_waits(leases, environment=environment, read_starts=read_starts)
    except Exception as error:
        note(f"warning: Airflow's metadata database cannot be read ({type(error).__name__}): waits are not known")
        return {}
    return {token: wait for token, wait in waits.items() if wait is not None}


def _note_missing_leases(snapshot: Snapshot, since: float, prefix: str) -> None:
    if snapshot.version is None:
        note(f"{prefix}the lock store has no record of this address: no task has requested it yet")
    history = snapshot.record.history
    if is_cut(snapshot.record) and history[0].acquired_at > since:
        begin = utc(history[0].acquired_at)
        note(f"{prefix}the record keeps the newest {len(history)} leases; the first of them began {begin}")


def _print_csv(rows: Sequence[AddressLease], *, with_address: bool) -> None:
    writer = csv.DictWriter(sys.stdout, [*(["allocation_id"] * with_address), *_COLUMNS], lineterminator="\n")
    writer.writeheader()
    for allocation_id, lease in rows:
        writer.writerow({**({"allocation_id": allocation_id} if with_address else {}), **_facts(lease)})


def _print_table(rows: Sequence[AddressLease], *, with_address: bool) -> None:
    if not rows:
        print("no lease ended in that time")
        return
    cells = [
        (
            *([allocation_id] if with_address else []),
            str(lease.token),
            lease.resource_id or "-",
            utc(lease.acquired_at),
            duration_text(lease.seconds),
            "-" if lease.waited is None else duration_text(lease.waited),
            lease.owner,
            lease.why,
        )
        for allocation_id, lease in rows
    ]
    header = ("TOKEN", "ON", "FROM", "LASTED", "WAITED", "OWNER", "ENDED BECAUSE")
    print_table(("ADDRESS", *header) if with_address else header, cells)


def _facts(lease: PastLease) -> dict[str, Any]:
    return {
        "token": lease.token,
        "owner": lease.owner,
        "cluster": lease.resource_id,
        "begin": utc(lease.acquired_at),
        "end": utc(lease.ended_at),
        "seconds": round(lease.seconds, 1),
        "waited_seconds": None if lease.waited is None else round(lease.waited, 1),
        "why": lease.why,
    }


COMMAND = Command(
    "history",
    "list the past leases of an address",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
)
