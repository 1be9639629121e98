"""``airflow-eip history``: who had the address, for how long, and why each lease ended."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.address import add_address_arguments
from airflow_eip_provider.cli.command import OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_table

if TYPE_CHECKING:
    import argparse
    from datetime import timedelta

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import Seen
    from airflow_eip_provider.ui.past import PastLease

DESCRIPTION = """\
List the leases of an Elastic IP that have ended, the newest first: owner, cluster, from when to when, and why each
ended. The record in the lock store keeps the newest 50.

How long the owner waited before is known for tasks of this Airflow environment that its metadata database still has:
from the start of the task to the lease. Nothing is changed."""

EXAMPLES = r"""
# the last week
airflow-eip history --allocation-id eipalloc-0123456789abcdef0
# the last month, for a spreadsheet
airflow-eip history --allocation-id eipalloc-0123456789abcdef0 \
    --since 30d --csv"""

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
        from airflow_eip_provider.cli.address import required_allocation_id
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.exceptions import UsageError
        from airflow_eip_provider.stores.uri import open_store

        allocation_id = required_allocation_id(options)
        if options.json and options.csv:
            raise UsageError("reading the arguments", problem="--json and --csv are given", remedy="give one")
        lock_store = lock_store_of(options)
        if lock_store is None:
            problem = "there is no lock store, and nothing else remembers leases"
            raise UsageError("listing leases", problem=problem, remedy="give --lock-store, or set it in airflow.cfg")
        session = open_session(options)
        note(session)
        seen = open_store(lock_store, session.hooks.client_for).read(allocation_id)
        leases = _leases(seen, options.since)
        _note_what_is_missing(seen, options.since)
    if options.json:
        where = {"account": session.account, "region": session.region, "allocation_id": allocation_id}
        print_json({**where, "lock_store": lock_store, "leases": [_facts(lease) for lease in leases]})
    elif options.csv:
        writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_facts, leases))
    else:
        _print(leases)
    return OK


def _leases(seen: Seen, since: timedelta) -> tuple[PastLease, ...]:
    from airflow_eip_provider.ui.past import past_leases

    begin = seen.now - since.total_seconds()
    return past_leases(seen.record, since=begin, waits=_waits(seen.record, begin))


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


def _note_what_is_missing(seen: Seen, since: timedelta) -> None:
    from airflow_eip_provider.lease.description import utc
    from airflow_eip_provider.ui.past import is_cut

    if seen.version is None:
        note("the lock store has no record of this address: no task has asked for it yet")
    history = seen.record.history
    if is_cut(seen.record) and history[0].acquired_at > seen.now - since.total_seconds():
        note(
            f"the record keeps the newest {len(history)} leases; the first of them began {utc(history[0].acquired_at)}"
        )


def _print(leases: tuple[PastLease, ...]) -> None:
    from airflow_eip_provider.lease.description import utc
    from airflow_eip_provider.ui.period import duration

    if not leases:
        print("no lease ended in that time")
        return
    rows = [
        (
            str(lease.token),
            lease.resource_id or "-",
            utc(lease.acquired_at),
            duration(lease.seconds),
            "-" if lease.waited is None else duration(lease.waited),
            f"{lease.owner}: {lease.why}",
        )
        for lease in leases
    ]
    print_table(("TOKEN", "ON", "FROM", "LASTED", "WAITED", "OWNER AND END"), rows)


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
