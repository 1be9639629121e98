"""``airflow-eip status``: where the address is, whose turn it is, and who had it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.tags import CANDIDATE_TAG
from airflow_eip_provider.cli.address import add_address_arguments, named_addresses
from airflow_eip_provider.cli.command import OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_pairs, print_table

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
Show where an Elastic IP is: what carries it, and the state and the steps of that cluster; for a job with fallbacks also
which of its candidates the cluster is. With a lock store also who has its lease since when, who queues for it, and who
had it last. Nothing is changed.

Of several addresses there is one row for each, and each owner that waits is listed once, with its place in every queue
that it is in: a task that takes any one of several addresses waits in all their queues. With --json the result has
"addresses", a list of what one address has as the whole result, and "waiting".

With --watch the terminal shows it again every few seconds, until Ctrl-C; the lock store is read once each time for each
address."""

EXAMPLES = r"""
# where it is, with the lock store of airflow.cfg
airflow-eip status --allocation-id eipalloc-0123456789abcdef0
# the owner of the lease, for a script
airflow-eip status --allocation-id eipalloc-0123456789abcdef0 --json \
    | jq -r .lease.owner
# all addresses with a tag, and who waits for any of them
airflow-eip status --tag purpose=azure-sql
# again and again, on a terminal
airflow-eip status --allocation-id eipalloc-0123456789abcdef0 --watch"""

_LAST = 5
_SHORTEST = timedelta(seconds=2)


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    parser.add_argument("--watch", action="store_true", help="show it again and again, until Ctrl-C; needs a terminal")
    parser.add_argument(
        "--every", type=span, default="5s", metavar="SPAN", help="with --watch: how often, at least 2s (default: 5s)"
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Look, and show."""
    _check_watch(options)
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.exceptions import AddressNotFoundError

        named = named_addresses(options)
        lock_store = lock_store_of(options)
        session = open_session(options)
        note(session)
        allocation_ids = named.read(session.hooks)

        def look() -> list[_Status]:
            return _look_at_each(session, allocation_ids, lock_store)

        seen = look()
        for missing in sorted({*allocation_ids} - {status.address.allocation_id for status in seen}):
            note(f"warning: {AddressNotFoundError(missing, region=session.region)}")
    if options.watch:
        from airflow_eip_provider.cli.watch import watch

        watch(look, _parts, first=seen, every=options.every)
    if options.json:
        facts = _facts_of_several(seen) if named.is_pool else _facts(seen[0])
        print_json({"account": session.account, "region": session.region, **facts})
    else:
        _print(seen)
    return OK


@dataclass(frozen=True, slots=True)
class _Status:
    """What one look found; without a lock store there is no ``observation``."""

    address: Address
    holder: Holder | None
    cluster: Cluster | None
    steps: list[Step]
    lock_store: str | None
    observation: Observation | None

    @property
    def record(self) -> Record | None:
        return self.observation.snapshot.record if self.observation else None


def _look_at_each(session: Session, allocation_ids: Sequence[str], lock_store: str | None) -> list[_Status]:
    """
    Look at every address that exists.

    :raises AddressNotFoundError: when none does.
    """
    from airflow_eip_provider.exceptions import AddressNotFoundError

    seen, missing = [], []
    for allocation_id in allocation_ids:
        try:
            seen.append(_look(session, allocation_id, lock_store))
        except AddressNotFoundError as error:
            missing.append(error)
    if not seen:
        raise missing[0]
    return seen


def _look(session: Session, allocation_id: str, lock_store: str | None) -> _Status:
    from airflow_eip_provider.aws.clusters import read_active_steps
    from airflow_eip_provider.exceptions import AddressNotFoundError
    from airflow_eip_provider.triggers.observed import Observed

    eip, emr = session.hooks.eip, session.hooks.emr
    observation = Observed(session.hooks.client_for).lease(lock_store, allocation_id) if lock_store else None
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
    from airflow_eip_provider.exceptions import UsageError

    if not options.watch:
        return
    if options.json or not sys.stdout.isatty():
        problem = "--json is given, too" if options.json else "standard output is no terminal"
        raise UsageError("reading --watch", problem=problem, remedy="leave --watch out, and ask again and again")
    if options.every < _SHORTEST:
        raise UsageError("reading --every", problem="it is shorter than 2s", remedy="AWS throttles; give 2s or more")


def _print(seen: Sequence[_Status]) -> None:
    pairs, *tables = _parts(seen)
    print_pairs(pairs)
    for header, rows in tables:
        print()
        print_table(header, rows)


def _parts(seen: Sequence[_Status]) -> Parts:
    """Return names with what they stand for, and the tables that follow."""
    return _parts_of_one(seen[0]) if len(seen) == 1 else _parts_of_several(seen)


def _parts_of_several(seen: Sequence[_Status]) -> Parts:
    from airflow_eip_provider.lease.description import utc

    waiting = _waiting(seen)
    free = sum(status.address.is_free for status in seen)
    pairs = [("addresses", f"{len(seen)}, {free} of them on nothing"), ("lock store", seen[0].lock_store or "none")]
    if seen[0].lock_store:
        several = sum(len(one.places) > 1 for one in waiting)
        pairs.append(("waiting", f"{len(waiting)}, {several} of them for more than one of these addresses"))
    header = ("ADDRESS", "PUBLIC IP", "QUEUE", "ON", "LEASE")
    tables: list[Any] = [(header, [_row(status) for status in seen])]
    if waiting:
        rows = [(utc(one.since), _places_in_words(one), one.name) for one in waiting]
        tables.append((("WAITS SINCE", "PLACE", "OWNER"), rows))
    return (pairs, *tables)


def _row(status: _Status) -> tuple[str, ...]:
    observation, holder, cluster = status.observation, status.holder, status.cluster
    queue = "-" if observation is None else str(len(observation.snapshot.record.queue))
    on = holder.description if holder else "nothing"
    lease = "-" if observation is None else _lease_in_words(observation)
    where = f"{cluster.job_flow_id} ({cluster.state})" if cluster else on
    return (status.address.allocation_id, status.address.public_ip, queue, where, lease)


def _waiting(seen: Sequence[_Status]) -> list[WaitingOwner]:
    from airflow_eip_provider.lease.waiting import waiting_owners

    return list(
        waiting_owners({one.address.allocation_id: one.record for one in seen if one.record is not None}).values()
    )


def _places_in_words(waiting: WaitingOwner) -> str:
    return ", ".join(f"{place} for {allocation_id}" for allocation_id, place in waiting.places.items())


def _facts_of_several(seen: Sequence[_Status]) -> dict[str, Any]:
    from airflow_eip_provider.lease.description import utc

    waiting = [{"owner": one.name, "since": utc(one.since), "places": dict(one.places)} for one in _waiting(seen)]
    return {"addresses": [_facts(status) for status in seen], "waiting": waiting}


def _parts_of_one(status: _Status) -> Parts:
    from airflow_eip_provider.lease.description import utc

    record = status.record
    tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = []
    if record is not None and record.queue:
        rows = [(str(k), utc(e.arrived_at), str(e.passed), e.attempt.name) for k, e in enumerate(record.queue, 1)]
        tables.append((("QUEUE", "SINCE", "PASSED OVER", "OWNER"), list(rows)))
    if record is not None and record.history:
        last = [
            (str(t.token), t.resource_id or "-", utc(t.acquired_at), utc(t.ended_at), f"{t.owner}: {t.why}")
            for t in reversed(record.history[-_LAST:])
        ]
        tables.append((("TOKEN", "LAST ON", "FROM", "TO", "OWNER AND END"), list(last)))
    return (list(_lines(status)), *tables)


def _lines(status: _Status) -> Iterator[tuple[str, str]]:
    address, cluster = status.address, status.cluster
    yield "address", f"{address.allocation_id} ({address.public_ip})"
    yield "on", status.holder.description if status.holder else "nothing: it is free"
    if cluster is not None:
        steps = ", ".join(f"{step.step_id} {step.state} ({step.name})" for step in reversed(status.steps))
        yield "cluster", f"{cluster.job_flow_id} ({cluster.name}) is {cluster.state}"
        yield "steps", steps or "none is running or pending"
        if CANDIDATE_TAG in cluster.tags:
            yield "candidate", _candidate_in_words(cluster)
    yield "lock store", status.lock_store or "none"
    if status.observation is not None:
        yield "lease", _lease_in_words(status.observation)
        yield "grace", f"{status.observation.snapshot.record.grace:g} s, doubled for an owner that was passed over"


def _candidate_in_words(cluster: Cluster) -> str:
    """Say which of its job's candidates a cluster is."""
    place = "the first choice" if cluster.candidate == 0 else "0 is the first choice"
    where = ", ".join(filter(None, (cluster.zone, cluster.subnet_id))) or "no zone yet"
    return f"{cluster.candidate} ({place}), in {where}"


def _lease_in_words(observation: Observation) -> str:
    from airflow_eip_provider.lease.description import holder_of
    from airflow_eip_provider.lease.observation import LeaseCondition, condition_of

    lease = observation.snapshot.record.lease
    if lease is None:
        return holder_of(observation)
    over = {
        LeaseCondition.FINISHED: "; its cluster or instance has ended, so the next owner takes over at once",
        LeaseCondition.OVERDUE: "; it was not handed over in time, so the next owner releases it",
    }
    return f"{holder_of(observation)}, token {lease.token}{over.get(condition_of(observation), '')}"


def _facts(status: _Status) -> dict[str, Any]:
    cluster, holder = status.cluster, status.holder
    return {
        **status.address.facts(job_flow_id=holder.job_flow_id if holder else None),
        "free": status.address.is_free,
        "holder": holder.description if holder else None,
        "permanent": bool(holder and holder.permanent),
        "cluster": cluster and {"name": cluster.name, "state": cluster.state, "reason": cluster.reason},
        "candidate": _facts_of_candidate(cluster),
        "steps": [{"step_id": step.step_id, "name": step.name, "state": step.state} for step in status.steps],
        "lock_store": status.lock_store,
        **_facts_of_lock(status),
    }


def _facts_of_candidate(cluster: Cluster | None) -> dict[str, Any] | None:
    """Return which candidate has the address; ``None`` for a cluster of a job without fallbacks."""
    if cluster is None or CANDIDATE_TAG not in cluster.tags:
        return None
    return {
        "number": cluster.candidate,
        "subnet": cluster.subnet_id,
        "zone": cluster.zone,
    }


def _facts_of_lock(status: _Status) -> dict[str, Any]:
    from airflow_eip_provider.lease.description import utc
    from airflow_eip_provider.lease.observation import condition_of

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
    "show where an address is and who queues for it",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "shown",
    },
)
