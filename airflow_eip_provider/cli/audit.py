"""``airflow-eip audit``: report which network interfaces connected to a database, and whether they had the address."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.arguments import (
    add_common_arguments,
    add_list,
    add_pool_arguments,
    named_addresses,
    reading_arguments,
)
from airflow_eip_provider.cli.command import FAILED, FOUND, INCOMPLETE, OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_table, progress
from airflow_eip_provider.exceptions import AddressNotFoundError, InvalidInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.audit.flow_logs import Flow, FlowLogs, Period
    from airflow_eip_provider.audit.lease_periods import LeasePeriod
    from airflow_eip_provider.audit.report import Connections
    from airflow_eip_provider.cli.session import Session

_MAX_UNREADABLE_SHOWN = 10

DESCRIPTION = """\
Read VPC Flow Logs from S3, and report which network interfaces connected to a database, and during which lease. A
connection from an interface that did not have the Elastic IP at that time is reported as a stranger. The command
changes nothing.

The leases are those in the lock store, which keeps the newest 50. Without a lock store, name the interfaces that may
connect with --interface; the default is the interface that has the address now. With a NAT gateway, the nodes of the
cluster had the address if their packets also appear at the interface of the gateway. Flow logs prove the interface,
not the public address that the database saw.

With several addresses, any interface that had one of them at that time may connect; each lease names its address.

The flow log must be in text format, with the fields interface-id, pkt-srcaddr, pkt-dstaddr or dstaddr, dstport,
tcp-flags, action, start and end. With instance-id, the report also distinguishes instances that had the same private
address one after the other.

Records and files that cannot be read are counted and listed. Records that the flow log service could not capture
(SKIPDATA) are counted, too, but do not change the exit status."""

EXAMPLES = r"""
# The newest lease
airflow-eip audit --allocation-id eipalloc-0123456789abcdef0 \
    --logs s3://logs/vpc --database example.database.windows.net
# One day, for all addresses with a tag
airflow-eip audit --tag purpose=azure-sql --logs s3://logs/vpc \
    --database example.database.windows.net --from 2026-11-20 --to 2026-11-21
# One day, without a lock store
airflow-eip audit --allocation-id eipalloc-0123456789abcdef0 \
    --logs s3://logs/vpc --database 10.0.3.0/24:5432 \
    --interface eni-0123456789abcdef0 --from 2026-11-20 --to 2026-11-21"""


def _time(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-20T03:00Z") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_pool_arguments(parser)
    parser.add_argument(
        "--logs", required=True, metavar="URI", help="where the flow logs are published: s3://BUCKET/PREFIX"
    )
    parser.add_argument(
        "--database",
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="the database: a host name, an address or a CIDR block, with an optional port (default port: 1433). The "
        "ports 11000 to 11999, which the Redirect policy of Azure SQL uses, are included; can be repeated",
    )
    parser.add_argument(
        "--lease",
        "--tenancy",  # its former name
        type=int,
        metavar="TOKEN",
        help="report on the lease with this fencing token (default: the newest)",
    )
    parser.add_argument(
        "--from",
        dest="begins_at",
        type=_time,
        metavar="TIME",
        help="report on all leases since this time (ISO 8601, UTC by default)",
    )
    parser.add_argument(
        "--to", dest="ends_at", type=_time, metavar="TIME", help="the end of that period (default: now)"
    )
    add_list(parser, "--interface", "ID", "a network interface that may connect, instead of the leases of a lock store")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Read the flow logs, and report the connections."""
    with only_the_result():
        from airflow_eip_provider.audit.flow_logs import FlowLogs, place_of
        from airflow_eip_provider.audit.report import Database, judge
        from airflow_eip_provider.cli.session import lock_store_of, open_session

        with reading_arguments():
            addresses = named_addresses(options)
            place_of(options.logs)
        lock_store = lock_store_of(options)
        _check_period(options, lock_store, is_pool=addresses.is_pool)
        databases = [Database.parse(text) for text in options.database]
        session = open_session(options)
        allocation_ids = addresses.resolve(session.hooks)
        if lock_store and not options.interface:
            period, lease_periods = _recorded_periods(options, allocation_ids, session, lock_store)
        else:
            period, lease_periods = _period_of_interfaces(options, allocation_ids, session)
        client = session.hooks.client_for("s3", None)
        logs = FlowLogs(options.logs, account=session.account, region=session.region, client=client)
        connections = judge(_with_progress(logs, period), databases, lease_periods)
    if options.json:
        print_json({**session.facts, **_facts(period, lease_periods, logs, connections)})
    else:
        _print(period, lease_periods, logs, connections)
    if any(each.verdict == "stranger" for each in connections):
        return FOUND
    return INCOMPLETE if logs.unreadable else OK


def _with_progress(logs: FlowLogs, period: Period) -> Iterator[Flow]:
    """Yield the flows, and show the progress."""
    files = -1
    for flow in logs.flows(period):
        if logs.files != files:
            files = logs.files
            progress(f"reading flow logs: {files} files")
        yield flow


def _check_period(options: argparse.Namespace, lock_store: str | None, *, is_pool: bool) -> None:
    """
    Check that the arguments determine the period of the report.

    :raises UsageError: when they do not, and when it ends before it begins.
    """
    begins_at, ends_at = options.begins_at, options.ends_at
    if is_pool and options.lease is not None:
        problem = "each Elastic IP counts its own leases, but several, or a tag, are given"
        raise UsageError("reading --lease", problem=problem, remedy="name one with --allocation-id")
    if begins_at is None and (options.interface or not lock_store):
        doing = "auditing with --interface" if options.interface else "auditing without a lock store"
        raise UsageError(doing, problem="the period is not known", remedy="give --from and --to")
    if begins_at is not None and ends_at is not None and begins_at > ends_at:
        raise UsageError("reading --from and --to", problem="the period ends before it begins", remedy="swap them")


def _period_of_interfaces(
    options: argparse.Namespace, allocation_ids: Sequence[str], session: Session
) -> tuple[Period, list[LeasePeriod]]:
    """Return the period, as one lease of the given interfaces, or of those that have the addresses now."""
    from airflow_eip_provider.audit.flow_logs import Period
    from airflow_eip_provider.audit.lease_periods import LeasePeriod

    interfaces = options.interface or [
        interface_id
        for allocation_id in allocation_ids
        if (interface_id := _interface_of(allocation_id, session)) is not None
    ]
    if not interfaces:
        raise InvalidInputError(
            f"auditing Elastic IP '{', '.join(allocation_ids)}'",
            problem="it is not associated now, and there is no lock store that records where it was",
            remedy="name the network interfaces that may connect: --interface",
        )
    period = Period(options.begins_at, options.ends_at or clock.time())
    return period, [LeasePeriod(f"network interface {', '.join(interfaces)}", period, frozenset(interfaces))]


def _interface_of(allocation_id: str, session: Session) -> str | None:
    address = session.hooks.eip.get_address(allocation_id)
    if address is None:
        raise AddressNotFoundError(allocation_id, region=session.region)
    return address.network_interface_id


def _recorded_periods(
    options: argparse.Namespace, allocation_ids: Sequence[str], session: Session, lock_store: str
) -> tuple[Period, list[LeasePeriod]]:
    """Return the period of the report, and the leases of all addresses in the lock store."""
    from airflow_eip_provider.audit.flow_logs import Period
    from airflow_eip_provider.audit.lease_periods import lease_periods_of

    begins_at, lease_periods = options.begins_at, []
    period = None if begins_at is None else Period(begins_at, options.ends_at or clock.time())
    for allocation_id in allocation_ids:
        snapshot = session.hooks.lease_client(lock_store, allocation_id).read()
        if begins_at is not None:
            period = Period(begins_at, options.ends_at or snapshot.now)
        emr, eip = session.hooks.emr, session.hooks.eip
        of_address = lease_periods_of(snapshot, allocation_id=allocation_id, emr=emr, eip=eip, period=period)
        if len(allocation_ids) > 1:
            of_address = [replace(each, name=f"{each.name} with {allocation_id}") for each in of_address]
        lease_periods += of_address
    lease_periods.sort(key=lambda each: each.period.begins_at)
    if period is not None:
        return period, lease_periods
    matching = [each for each in lease_periods if options.lease in {None, each.token}]
    if not matching:
        what = "no lease" if options.lease is None else f"no lease {options.lease}"
        raise InvalidInputError(
            f"auditing Elastic IP '{', '.join(allocation_ids)}'",
            problem=f"lock store '{lock_store}' has {what} of it, only {[each.token for each in lease_periods]}",
            remedy="give a period instead: --from and --to",
        )
    # All leases are returned, because one of another owner can explain a stranger.
    return matching[-1].period, lease_periods


def _print(
    period: Period, lease_periods: Sequence[LeasePeriod], logs: FlowLogs, connections: Sequence[Connections]
) -> None:
    from airflow_eip_provider.audit.report import iso_time

    header = ("VERDICT", "INTERFACE", "INSTANCE", "FROM", "TO", "OPENED", "REJECTED", "FIRST", "LAST", "WHY")
    rows = [
        (
            each.verdict,
            each.interface_id,
            each.instance_id or "?",
            each.source,
            each.destination,
            str(each.opened),
            str(each.rejected),
            iso_time(each.first),
            iso_time(each.last),
            f"{each.why}: {each.tenancy}" if each.tenancy else each.why,
        )
        for each in connections
    ]
    print_table(header, rows)
    note(
        f"{logs.files} files from {iso_time(period.begins_at)} to {iso_time(period.ends_at)}; "
        f"{len(lease_periods)} known leases"
    )
    if not connections:
        note("Nothing connected to the database, according to these logs")
    if logs.skipped:
        note(f"The logs are not complete: {logs.skipped} records say SKIPDATA")
    if logs.unreadable:
        files = len({unreadable.file for unreadable in logs.unreadable})
        note(f"Not everything could be read: {logs.unreadable_records} records could not, in {files} files:")
        for unreadable in logs.unreadable[:_MAX_UNREADABLE_SHOWN]:
            note(f"  {unreadable}")
        if len(logs.unreadable) > _MAX_UNREADABLE_SHOWN:
            note(f"  and {len(logs.unreadable) - _MAX_UNREADABLE_SHOWN} more; --json lists all")


def _facts(
    period: Period, lease_periods: Sequence[LeasePeriod], logs: FlowLogs, connections: Sequence[Connections]
) -> dict[str, Any]:
    from airflow_eip_provider.audit.report import iso_time

    return {
        "from": iso_time(period.begins_at),
        "to": iso_time(period.ends_at),
        "tenancies": [
            {
                "token": each.token,
                "name": each.name,
                "from": iso_time(each.period.begins_at),
                "to": iso_time(each.period.ends_at),
            }
            for each in lease_periods
        ],
        "connections": [each.facts() for each in connections],
        "files": logs.files,
        "skipped_records": logs.skipped,
        "unreadable_records": logs.unreadable_records,
        "unreadable": [asdict(unreadable) for unreadable in logs.unreadable],
    }


COMMAND = Command(
    "audit",
    "report which interfaces connected to a database",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "no stranger connected",
        FAILED: "an error; or no logs, or none that can be read",
        FOUND: "a stranger connected",
        INCOMPLETE: "no stranger connected, but some logs could not be read",
    },
)
