"""``airflow-eip audit``: which network interfaces connected to a database, and whether they had the address then."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.address import add_pool_arguments, named_addresses
from airflow_eip_provider.cli.command import FAILED, FOUND, INCOMPLETE, OK, Command, Parser, add_common_arguments
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_table, progress
from airflow_eip_provider.cli.usage import reading_arguments
from airflow_eip_provider.exceptions import AddressNotFoundError, InvalidInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.audit.flow_logs import Flow, FlowLogs, Period
    from airflow_eip_provider.audit.lease_periods import LeasePeriod
    from airflow_eip_provider.audit.report import Connections
    from airflow_eip_provider.cli.session import Session

_SHOWN = 10

DESCRIPTION = """\
Read VPC Flow Logs from S3, and report which network interfaces connected to a database, and during which lease
period. A connection by anything but what had the Elastic IP at that time is a stranger's. Nothing is changed.

Who had the address when is what the lock store remembers: the last 50 leases. Without a lock store, name the
interfaces that may connect, or the interface that has the address now is taken. Behind a NAT gateway, the nodes of the
cluster had the address where their packets are seen at the gateway's interface. Flow logs prove the interface, not
the public address that the database saw.

Of several addresses, what had any of them at that time had the right to connect; each lease period names its address.

The flow log must have, as text, the fields interface-id, pkt-srcaddr, pkt-dstaddr or dstaddr, dstport, tcp-flags,
action, start and end; with instance-id it tells instances apart that had one private address after the other.

Records and files that cannot be read are counted and named. What the service itself could not capture (SKIPDATA) is
counted, too, and does not change the exit status."""

EXAMPLES = r"""
# the newest lease
airflow-eip audit --allocation-id eipalloc-0123456789abcdef0 \
    --logs s3://logs/vpc --database example.database.windows.net
# one day, all addresses with a tag
airflow-eip audit --tag purpose=azure-sql --logs s3://logs/vpc \
    --database example.database.windows.net --from 2026-11-20 --to 2026-11-21
# one day, without a lock store
airflow-eip audit --allocation-id eipalloc-0123456789abcdef0 \
    --logs s3://logs/vpc --database 10.0.3.0/24:5432 \
    --interface eni-0123456789abcdef0 --from 2026-11-20 --to 2026-11-21"""


def _time(text: str) -> float:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-11-20T03:00Z") from None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_pool_arguments(parser)
    parser.add_argument(
        "--logs", required=True, metavar="URI", help="where the flow logs are published to: s3://BUCKET/PREFIX"
    )
    parser.add_argument(
        "--database",
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="a host, an address or a CIDR block; without a port 1433. The ports 11000 to 11999, where the Redirect "
        "policy of Azure SQL leads to, are looked at, too; may be given again",
    )
    parser.add_argument(
        "--lease",
        "--tenancy",  # its former name
        type=int,
        metavar="TOKEN",
        help="the lease of the lock store that has this fencing token (default: the newest)",
    )
    parser.add_argument(
        "--from", dest="begins_at", type=_time, metavar="TIME", help="all lease periods from then on, in ISO 8601"
    )
    parser.add_argument("--to", dest="ends_at", type=_time, metavar="TIME", help="until then (default: now)")
    parser.add_argument(
        "--interface",
        action="append",
        default=[],
        metavar="ID",
        help="without a lock store: a network interface that may connect; may be given again",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Read, judge, and say so."""
    with only_the_result():
        from airflow_eip_provider.audit.flow_logs import FlowLogs, place_of
        from airflow_eip_provider.audit.report import Database, judge
        from airflow_eip_provider.cli.session import lock_store_of, open_session

        with reading_arguments():
            named = named_addresses(options)
            place_of(options.logs)
        lock_store = lock_store_of(options)
        _check_time(options, lock_store, is_pool=named.is_pool)
        databases = [Database.parse(text) for text in options.database]
        session = open_session(options)
        note(session)
        period, lease_periods = _lease_periods(options, named.read(session.hooks), session, lock_store)
        client = session.hooks.client_for("s3", None)
        logs = FlowLogs(options.logs, account=session.account, region=session.region, client=client)
        found = judge(_counted(logs, period), databases, lease_periods)
    strangers = [connections for connections in found if connections.verdict == "stranger"]
    if options.json:
        print_json(_facts(session, period, lease_periods, logs, found))
    else:
        _print(period, lease_periods, logs, found)
    if strangers:
        return FOUND
    return INCOMPLETE if logs.unreadable else OK


def _counted(logs: FlowLogs, period: Period) -> Iterator[Flow]:
    """Read the flows, and say how far that is."""
    files = -1
    for flow in logs.flows(period):
        if logs.files != files:
            files = logs.files
            progress(f"reading flow logs: {files} files")
        yield flow


def _check_time(options: argparse.Namespace, lock_store: str | None, *, is_pool: bool) -> None:
    """
    Check that it is known which time to look at.

    :raises UsageError: when it is not, and when it ends before it begins.
    """
    begins_at, ends_at = options.begins_at, options.ends_at
    if is_pool and options.lease is not None:
        problem = "each Elastic IP counts its own leases, and several are named, or a tag"
        raise UsageError("reading --lease", problem=problem, remedy="name one with --allocation-id")
    if begins_at is None and (options.interface or not lock_store):
        doing = "auditing with --interface" if options.interface else "auditing without a lock store"
        raise UsageError(doing, problem="the time is not known", remedy="name it: --from and --to")
    if begins_at is not None and ends_at is not None and begins_at > ends_at:
        raise UsageError("reading --from and --to", problem="the time ends before it begins", remedy="swap them")


def _lease_periods(
    options: argparse.Namespace, allocation_ids: Sequence[str], session: Session, lock_store: str | None
) -> tuple[Period, list[LeasePeriod]]:
    """Return the time to look at, and who had the address then."""
    from airflow_eip_provider.audit.flow_logs import Period

    if lock_store and not options.interface:
        return _remembered(options, allocation_ids, session, lock_store)
    asked = Period(options.begins_at, options.ends_at or clock.time())
    return asked, [_named(options, allocation_ids, session, asked)]


def _named(options: argparse.Namespace, allocation_ids: Sequence[str], session: Session, period: Period) -> LeasePeriod:
    """Make one lease period of the interfaces that are named, or of those that have the addresses now."""
    from airflow_eip_provider.audit.lease_periods import LeasePeriod as Had

    interfaces = options.interface or [
        interface for one in allocation_ids if (interface := _interface_of(one, session)) is not None
    ]
    if not interfaces:
        raise InvalidInputError(
            f"auditing Elastic IP '{', '.join(allocation_ids)}'",
            problem="it is on nothing now, and no lock store remembers where it was",
            remedy="name the network interfaces that may connect: --interface",
        )
    return Had(f"network interface {', '.join(interfaces)}", period, frozenset(interfaces))


def _interface_of(allocation_id: str, session: Session) -> str | None:
    address = session.hooks.eip.get_address(allocation_id)
    if address is None:
        raise AddressNotFoundError(allocation_id, region=session.region)
    return address.network_interface_id


def _remembered(
    options: argparse.Namespace, allocation_ids: Sequence[str], session: Session, lock_store: str
) -> tuple[Period, list[LeasePeriod]]:
    """Read the lease periods of the time, of the token, or the newest; of several addresses, of all together."""
    from airflow_eip_provider.audit.flow_logs import Period
    from airflow_eip_provider.audit.lease_periods import lease_periods_of

    begins_at, known = options.begins_at, []
    asked = None if begins_at is None else Period(begins_at, options.ends_at or clock.time())
    for allocation_id in allocation_ids:
        seen = session.hooks.lease_client(lock_store, allocation_id).read()
        if begins_at is not None:
            asked = Period(begins_at, options.ends_at or seen.now)
        emr, eip = session.hooks.emr, session.hooks.eip
        found = lease_periods_of(seen, allocation_id=allocation_id, emr=emr, eip=eip, period=asked)
        if len(allocation_ids) > 1:
            found = [replace(one, name=f"{one.name} with {allocation_id}") for one in found]
        known += found
    known.sort(key=lambda one: one.period.begins_at)
    if asked is not None:
        return asked, known
    chosen = [lease_period for lease_period in known if options.lease in {None, lease_period.token}]
    if not chosen:
        what = "no lease" if options.lease is None else f"no lease {options.lease}"
        raise InvalidInputError(
            f"auditing Elastic IP '{', '.join(allocation_ids)}'",
            problem=f"lock store '{lock_store}' remembers {what} of it, only {[t.token for t in known]}",
            remedy="name a time instead: --from and --to",
        )
    # All that is known stays: who else had the address explains a stranger.
    return chosen[-1].period, known


def _print(period: Period, lease_periods: Sequence[LeasePeriod], logs: FlowLogs, found: Sequence[Connections]) -> None:
    from airflow_eip_provider.audit.report import iso_time

    header = ("VERDICT", "INTERFACE", "INSTANCE", "FROM", "TO", "OPENED", "REJECTED", "FIRST", "LAST", "WHY")
    rows = [
        (
            connections.verdict,
            connections.interface_id,
            connections.instance_id or "?",
            connections.source,
            connections.destination,
            str(connections.opened),
            str(connections.rejected),
            iso_time(connections.first),
            iso_time(connections.last),
            f"{connections.why}: {connections.tenancy}" if connections.tenancy else connections.why,
        )
        for connections in found
    ]
    print_table(header, rows)
    note(
        f"{logs.files} files of {iso_time(period.begins_at)} to {iso_time(period.ends_at)}; "
        f"{len(lease_periods)} lease periods known"
    )
    if not found:
        note("Nothing connected to the database, as far as these logs say")
    if logs.skipped:
        note(f"The logs are not complete: {logs.skipped} records say SKIPDATA")
    if logs.unreadable:
        files = len({unreadable.file for unreadable in logs.unreadable})
        note(f"Not everything could be read: {logs.unreadable_records} records could not, in {files} files:")
        for unreadable in logs.unreadable[:_SHOWN]:
            note(f"  {unreadable}")
        if len(logs.unreadable) > _SHOWN:
            note(f"  and {len(logs.unreadable) - _SHOWN} more: --json has all")


def _facts(
    session: Session, period: Period, lease_periods: Sequence[LeasePeriod], logs: FlowLogs, found: Sequence[Connections]
) -> dict[str, Any]:
    from airflow_eip_provider.audit.report import iso_time

    return {
        "account": session.account,
        "region": session.region,
        "from": iso_time(period.begins_at),
        "to": iso_time(period.ends_at),
        "tenancies": [
            {
                "token": lease_period.token,
                "name": lease_period.name,
                "from": iso_time(lease_period.period.begins_at),
                "to": iso_time(lease_period.period.ends_at),
            }
            for lease_period in lease_periods
        ],
        "connections": [connections.facts() for connections in found],
        "files": logs.files,
        "skipped_records": logs.skipped,
        "unreadable_records": logs.unreadable_records,
        "unreadable": [asdict(unreadable) for unreadable in logs.unreadable],
    }


COMMAND = Command(
    "audit",
    "prove which interfaces connected to a database",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "no stranger connected",
        FAILED: "an error, no logs, or none that can be read",
        FOUND: "a stranger connected",
        INCOMPLETE: "no stranger connected as far as the logs could be read",
    },
)
