"""``airflow-eip status``: show where an address is, who has its lease, and who waits for it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.tags import CANDIDATE_TAG
from airflow_eip_provider.cli.arguments import (
    add_address_arguments,
    add_common_arguments,
    add_duration,
    named_addresses,
)
from airflow_eip_provider.cli.command import OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_pairs, print_table
from airflow_eip_provider.exceptions import AddressNotFoundError, LockStoreNotCreatedError, UsageError
from airflow_eip_provider.lease.description import holder_of, utc
from airflow_eip_provider.lease.forecast import expected_end
from airflow_eip_provider.lease.observation import LeaseCondition, condition_of
from airflow_eip_provider.lease.waiting import waiting_owners

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.aws.addresses import Address, Holder
    from airflow_eip_provider.aws.clusters import Cluster, Step
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.cli.watch import Parts
    from airflow_eip_provider.lease.observation import Observation
    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.waiting import WaitingOwner

DESCRIPTION = """\
Show where an Elastic IP is: the resource that it is on, and the state and the steps of the cluster. For a job with
fallbacks, also show which of its candidates the cluster is. With a lock store, also show who has the lease, who waits
in the queue, and the most recent leases. The command changes nothing.

With several addresses, there is one row for each address, and one row for each waiting owner with its place in every
queue: a task that can use any one of several addresses waits in all of their queues. With --json the result has
"addresses", a list of what the result for one address contains, and "waiting".

With --watch, the terminal is refreshed every few seconds until Ctrl-C; each refresh reads the lock store once for each
address."""

EXAMPLES = r"""
# Show the address, with the lock store of airflow.cfg
airflow-eip status --allocation-id eipalloc-0123456789abcdef0
# Print the owner of the lease, for a script
airflow-eip status --allocation-id eipalloc-0123456789abcdef0 --json \
    | jq -r .lease.owner
# Show all addresses with a tag, and who waits for any of them
airflow-eip status --tag purpose=azure-sql
# Refresh the screen every five seconds
airflow-eip status --allocation-id eipalloc-0123456789abcdef0 --watch"""

_RECENT_LEASES = 3
_MIN_INTERVAL = timedelta(seconds=2)


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    parser.add_argument("--watch", action="store_true", help="refresh the screen until Ctrl-C; needs a terminal")
    add_duration(parser, "--every", "with --watch: the time between two refreshes, at least 2s", default="5s")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Read the state of the addresses, and show it."""
    _check_watch(options)
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session

        addresses = named_addresses(options)
        lock_store = lock_store_of(options)
        session = open_session(options)
        allocation_ids = addresses.resolve(session.hooks)

        def poll() -> list[_Status]:
            return _read_all(session, allocation_ids, lock_store)

        statuses = poll()
        for missing in sorted({*allocation_ids} - {status.address.allocation_id for status in statuses}):
            note(f"warning: {AddressNotFoundError(missing, region=session.region)}")
    if options.watch:
        from airflow_eip_provider.cli.watch import watch

        watch(poll, _parts, first=statuses, every=options.every)
    if options.json:
        print_json({**session.facts, **(_facts_of_several(statuses) if addresses.is_pool else _facts(statuses[0]))})
    else:
        _print(statuses)
    return OK


@dataclass(frozen=True, slots=True)
class _Status:
    """
    The state of one address.

    :param observation: ``None`` without a lock store, or when no task has created it yet.
    """

    address: Address
    holder: Holder | None
    cluster: Cluster | None
    steps: list[Step]
    lock_store: str | None
    observation: Observation | None

    @property
    def described_store(self) -> str:
        if self.lock_store is None or self.observation is not None:
            return self.lock_store or "none"
        return f"{self.lock_store} (not created yet; the first task creates it)"

    @property
    def record(self) -> Record | None:
        return self.observation.snapshot.record if self.observation else None


def _read_all(session: Session, allocation_ids: Sequence[str], lock_store: str | None) -> list[_Status]:
    """
    Read the state of every address that exists.

    :raises AddressNotFoundError: when none exists.
    """
    statuses, missing = [], []
    for allocation_id in allocation_ids:
        try:
            statuses.append(_read(session, allocation_id, lock_store))
        except AddressNotFoundError as error:
            missing.append(error)
    if not statuses:
        raise missing[0]
    return statuses


def _read(session: Session, allocation_id: str, lock_store: str | None) -> _Status:
    from airflow_eip_provider.aws.clusters import read_active_steps
    from airflow_eip_provider.triggers.observed import Observed

    eip, emr = session.hooks.eip, session.hooks.emr
    observation: Observation | None = None
    if lock_store:
        with contextlib.suppress(LockStoreNotCreatedError):
            observation = Observed(session.hooks.client_for).lease(lock_store, allocation_id)
    address = eip.get_address(allocation_id)
    if address is None:
        raise AddressNotFoundError(allocation_id, region=session.region)
    holder = None if address.is_free else eip.get_holder(address)
    job_flow_id = holder.job_flow_id if holder else None
    return _Status(
        address=address,
        holder=holder,
        cluster=emr.get_cluster(job_flow_id) if job_flow_id else None,
        steps=read_active_steps(emr.conn, job_flow_id) if job_flow_id else [],
        lock_store=lock_store,
        observation=observation,
    )


def _check_watch(options: argparse.Namespace) -> None:
    if not options.watch:
        return
    if options.json or not sys.stdout.isatty():
        problem = "--json is given, too" if options.json else "standard output is not a terminal"
        raise UsageError("reading --watch", problem=problem, remedy="omit --watch, and repeat the command")
    if options.every < _MIN_INTERVAL:
        raise UsageError("reading --every", problem="it is shorter than 2s", remedy="AWS throttles; give 2s or more")


def _print(statuses: Sequence[_Status]) -> None:
    pairs, *tables = _parts(statuses)
    print_pairs(pairs)
    for header, rows in tables:
        print()
        print_table(header, rows)


def _parts(statuses: Sequence[_Status]) -> Parts:
    """Return pairs of a name and a text, and the tables that follow them."""
    return _parts_of_one(statuses[0]) if len(statuses) == 1 else _parts_of_several(statuses)


def _parts_of_several(statuses: Sequence[_Status]) -> Parts:
    waiting = _waiting(statuses)
    free = sum(status.address.is_free for status in statuses)
    pairs = [("addresses", f"{len(statuses)}, {free} of them free"), ("lock store", statuses[0].described_store)]
    if statuses[0].lock_store:
        several = sum(len(owner.places) > 1 for owner in waiting)
        pairs.append(("waiting", f"{len(waiting)}, {several} of them for more than one of these addresses"))
    header = ("ADDRESS", "PUBLIC IP", "QUEUE", "ON", "LEASE")
    tables: list[Any] = [(header, [_row(status) for status in statuses])]
    if waiting:
        rows = []
        for owner in waiting:
            places = ", ".join(f"{place} for {allocation_id}" for allocation_id, place in owner.places.items())
            rows.append((utc(owner.since), places, owner.name))
        tables.append((("WAITS SINCE", "PLACE", "OWNER"), rows))
    return (pairs, *tables)


def _row(status: _Status) -> tuple[str, ...]:
    observation, holder, cluster = status.observation, status.holder, status.cluster
    queue = "-" if observation is None else str(len(observation.snapshot.record.queue))
    on = holder.description if holder else "nothing"
    lease = "-" if observation is None else _describe_lease(observation)
    where = f"{cluster.job_flow_id} ({cluster.state})" if cluster else on
    return (status.address.allocation_id, status.address.public_ip, queue, where, lease)


def _waiting(statuses: Sequence[_Status]) -> list[WaitingOwner]:
    records = {status.address.allocation_id: status.record for status in statuses if status.record is not None}
    return list(waiting_owners(records).values())


def _parts_of_one(status: _Status) -> Parts:
    record = status.record
    tables: list[Any] = []
    if record is not None and record.queue:
        rows = [
            (str(place), utc(entry.arrived_at), str(entry.passed), entry.attempt.name)
            for place, entry in enumerate(record.queue, 1)
        ]
        tables.append((("QUEUE", "SINCE", "PASSED OVER", "OWNER"), rows))
    if record is not None and record.history:
        recent = [
            (
                str(lease.token),
                lease.resource_id or "-",
                utc(lease.acquired_at),
                utc(lease.ended_at),
                lease.owner,
                lease.why,
            )
            for lease in reversed(record.history[-_RECENT_LEASES:])
        ]
        tables.append((("TOKEN", "LAST ON", "FROM", "TO", "OWNER", "ENDED BECAUSE"), recent))
    return (list(_pairs(status)), *tables)


def _pairs(status: _Status) -> Iterator[tuple[str, str]]:
    address, cluster = status.address, status.cluster
    yield "address", f"{address.allocation_id} ({address.public_ip})"
    yield "on", status.holder.description if status.holder else "nothing: it is free"
    if address.association_id is not None:
        yield "association", address.association_id
    if cluster is not None:
        steps = ", ".join(f"{step.step_id} {step.state} ({step.name})" for step in reversed(status.steps))
        yield "cluster", f"{cluster.job_flow_id} ({cluster.name}) is {cluster.state}"
        yield "steps", steps or "none is running or pending"
        if CANDIDATE_TAG in cluster.tags:
            yield "candidate", _describe_candidate(cluster)
    yield "lock store", status.described_store
    if status.observation is not None:
        record = status.observation.snapshot.record
        yield "lease", _describe_lease(status.observation)
        if expected := _describe_expected_end(status.observation):
            yield "expected", expected
        yield "grace", f"{record.grace:g} s, doubled for an owner that was passed over"
        if len(record.history) > _RECENT_LEASES:
            all_of_them = f"airflow-eip history --allocation-id {address.allocation_id}"
            yield (
                "earlier",
                f"{len(record.history)} leases have ended; the newest {_RECENT_LEASES} are below, all: {all_of_them}",
            )


def _describe_candidate(cluster: Cluster) -> str:
    """Describe which candidate of its job a cluster is."""
    place = "the first choice" if cluster.candidate == 0 else "0 is the first choice"
    where = ", ".join(filter(None, (cluster.zone, cluster.subnet_id))) or "no zone yet"
    return f"{cluster.candidate} ({place}), in {where}"


def _describe_lease(observation: Observation) -> str:
    lease = observation.snapshot.record.lease
    if lease is None:
        location = observation.location
        if location is None or location.is_free:
            return "none"
        return f"none; the address is on {' / '.join(reversed(location.resource_ids))} without a lease"
    ends = {
        LeaseCondition.FINISHED: "; its cluster or instance has ended, so the next owner takes over at once",
        LeaseCondition.OVERDUE: "; it was not handed over in time, so the next owner releases it",
    }
    return f"{holder_of(observation)}; token {lease.token}{ends.get(condition_of(observation), '')}"


def _describe_expected_end(observation: Observation) -> str | None:
    """Say when the lease probably ends, from the newest leases of the same job; ``None`` when that is unknown."""
    expected = expected_end(observation.snapshot.record, now=observation.snapshot.now)
    if expected is None or condition_of(observation) is LeaseCondition.FINISHED:
        return None
    at, leases = expected
    last = "the last lease" if leases == 1 else f"the last {leases} leases"
    return f"free about {utc(at)[:-4]}Z, from {last} of this job"


def _facts_of_several(statuses: Sequence[_Status]) -> dict[str, Any]:
    waiting = [
        {"owner": owner.name, "since": utc(owner.since), "places": dict(owner.places)} for owner in _waiting(statuses)
    ]
    return {"addresses": [_facts(status) for status in statuses], "waiting": waiting}


def _facts(status: _Status) -> dict[str, Any]:
    cluster, holder, candidate = status.cluster, status.holder, None
    if cluster is not None and CANDIDATE_TAG in cluster.tags:
        candidate = {"number": cluster.candidate, "subnet": cluster.subnet_id, "zone": cluster.zone}
    return {
        **status.address.facts(job_flow_id=holder.job_flow_id if holder else None),
        "free": status.address.is_free,
        "holder": holder.description if holder else None,
        "permanent": bool(holder and holder.permanent),
        "cluster": cluster and {"name": cluster.name, "state": cluster.state, "reason": cluster.reason},
        "candidate": candidate,
        "steps": [{"step_id": step.step_id, "name": step.name, "state": step.state} for step in status.steps],
        "lock_store": status.lock_store,
        **_lease_facts(status),
    }


def _lease_facts(status: _Status) -> dict[str, Any]:
    if status.observation is None or status.record is None:
        return {"lease": None, "grace": None, "queue": [], "history": []}
    record, lease = status.record, status.record.lease
    return {
        "lease": lease
        and {
            "token": lease.token,
            "owner": lease.attempt.name,
            "phase": lease.phase.value,
            "standing": condition_of(status.observation).value,
            "carrier": lease.resource_id,
            "since": utc(lease.acquired_at),
        },
        "grace": record.grace,
        "queue": [
            {"owner": entry.attempt.name, "since": utc(entry.arrived_at), "passed": entry.passed}
            for entry in record.queue
        ],
        "history": [
            {
                "token": ended.token,
                "owner": ended.owner,
                "carrier": ended.resource_id,
                "from": utc(ended.acquired_at),
                "to": utc(ended.ended_at),
                "why": ended.why,
            }
            for ended in reversed(record.history)
        ],
    }


COMMAND = Command(
    "status",
    "show where an address is and who waits for it",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
)
