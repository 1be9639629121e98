"""``airflow-eip history``: who had the address, for how long, and why each lease ended."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.address import add_address_arguments, named_addresses
from airflow_eip_provider.cli.command import OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import TypeAlias

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.ui.past import PastLease

    Leases: TypeAlias = Mapping[str, tuple[PastLease, ...]]  # by allocation ID

DESCRIPTION = """\
List the leases of an Elastic IP that have ended, the newest first: owner, cluster, from when to when, and why each
ended. The record in the lock store keeps the newest 50.

Of several addresses, the leases of all are in one list, and each row says of which address; with --json the result has
"addresses", a list in which each has its "leases".

How long the owner waited before is known for tasks of this Airflow environment that its metadata database still has:
from the start of the task to the lease. Nothing is changed."""

EXAMPLES = r"""
# the last week
airflow-eip history --allocation-id eipalloc-0123456789abcdef0
# the last month, for a spreadsheet
airflow-eip history --allocation-id eipalloc-0123456789abcdef0 \
    --since 30d --csv
# all addresses with a tag
airflow-eip history --tag purpose=azure-sql"""

_COLUMNS = ("token", "owner", "cluster", "begin", "end", "seconds", "waited_seconds", "why")


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    parser.add_argument(
        "--since", type=span, default="7d", metavar="SPAN", help="leases that ended in it, e.g. 24h (default: 7d)"
    )
    parser.add_argument("--csv", action="store_true", help="print the result as CSV")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Read the record, and list."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.exceptions import UsageError
        from airflow_eip_provider.stores.uri import open_store

        named = named_addresses(options)
        if options.json and options.csv:
            raise UsageError("reading the arguments", problem="--json and --csv are given", remedy="give one")
        lock_store = lock_store_of(options)
        if lock_store is None:
            problem = "there is no lock store, and nothing else remembers leases"
            raise UsageError("listing leases", problem=problem, remedy="give --lock-store, or set it in airflow.cfg")
        session = open_session(options)
        note(session)
        store = open_store(lock_store, session.hooks.client_for)
        found = {}
        for allocation_id in named.read(session.hooks):
            snapshot = store.read(allocation_id)
            found[allocation_id] = _leases(snapshot, options.since)
            _note_what_is_missing(snapshot, options.since, f"{allocation_id}: " if named.is_pool else "")
    if options.json:
        each = [{"allocation_id": name, "leases": list(map(_facts, leases))} for name, leases in found.items()]
        where = {"account": session.account, "region": session.region}
        if named.is_pool:
            print_json({**where, "lock_store": lock_store, "addresses": each})
        else:
            print_json({**where, "allocation_id": each[0]["allocation_id"], "lock_store": lock_store, **each[0]})
    elif options.csv:
        _print_csv(found, with_address=named.is_pool)
    else:
        _print(found)
    return OK


def _newest_first(found: Leases) -> list[tuple[str, PastLease]]:
    every = [(allocation_id, lease) for allocation_id, leases in found.items() for lease in leases]
    return sorted(every, key=lambda one: -one[1].ended_at)


def _print_csv(found: Leases, *, with_address: bool) -> None:
    writer = csv.DictWriter(sys.stdout, [*(["allocation_id"] * with_address), *_COLUMNS], lineterminator="\n")
    writer.writeheader()
    for allocation_id, lease in _newest_first(found):
        writer.writerow({**({"allocation_id": allocation_id} if with_address else {}), **_facts(lease)})


def _leases(snapshot: Snapshot, since: timedelta) -> tuple[PastLease, ...]:
    from airflow_eip_provider.ui.past import past_leases

    begin = snapshot.now - since.total_seconds()
    return past_leases(snapshot.record, since=begin, waits=_waits(snapshot.record, begin))


def _waits(record: Record, since: float) -> dict[int, float]:
    from airflow_eip_provider.operators.owner import UNNAMED_ENVIRONMENT, own_environment
    from airflow_eip_provider.ui.task_starts import read_starts
    from airflow_eip_provider.ui.waits import read_waits

    leases = {lease.token: (lease.owner, lease.acquired_at) for lease in record.history if lease.ended_at >= since}
    environment = own_environment() or UNNAMED_ENVIRONMENT
    try:
        found = read_waits(leases, environment=environment, read_starts=read_starts)
    except Exception as error:
        note(f"warning: Airflow's metadata database gives no answer ({type(error).__name__}): waits are not known")
        return {}
    return {token: wait for token, wait in found.items() if wait is not None}


def _note_what_is_missing(snapshot: Snapshot, since: timedelta, which: str) -> None:
    from airflow_eip_provider.lease.description import utc
    from airflow_eip_provider.ui.past import is_cut

    if snapshot.version is None:
        note(f"{which}the lock store has no record of this address: no task has asked for it yet")
    history = snapshot.record.history
    if is_cut(snapshot.record) and history[0].acquired_at > snapshot.now - since.total_seconds():
        note(
            f"{which}the record keeps the newest {len(history)} leases; the first of them began "
            f"{utc(history[0].acquired_at)}"
        )


def _print(found: Leases) -> None:
    from airflow_eip_provider.lease.description import utc
    from airflow_eip_provider.ui.period import duration

    listed, is_one = _newest_first(found), len(found) == 1
    if not listed:
        print("no lease ended in that time")
        return
    rows = [
        (
            *([] if is_one else [allocation_id]),
            str(lease.token),
            lease.resource_id or "-",
            utc(lease.acquired_at),
            duration(lease.seconds),
            "-" if lease.waited is None else duration(lease.waited),
            f"{lease.owner}: {lease.why}",
        )
        for allocation_id, lease in listed
    ]
    print_table((*([] if is_one else ["ADDRESS"]), "TOKEN", "ON", "FROM", "LASTED", "WAITED", "OWNER AND END"), rows)


def _facts(lease: PastLease) -> dict[str, Any]:
    from airflow_eip_provider.lease.description import utc

    return {
        "token": lease.token,
        "owner": lease.owner,
        "cluster": lease.resource_id,
        "begin": utc(lease.acquired_at),
        "end": utc(lease.ended_at),
        "seconds": lease.seconds,
        "waited_seconds": lease.waited,
        "why": lease.why,
    }


COMMAND = Command(
    "history",
    "list who had an address, and why each lease ended",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "listed; there may be none",
    },
)
