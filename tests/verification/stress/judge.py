"""Checks of a stress test from its event log: pure functions that fail when the log has nothing to check."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.judge import Check, address_left, clusters_left, follow
from tests.verification.stress.log_reader import termination_reasons, tokens_of_clusters
from tests.verification.stress.random_faults import CLUSTER_REASON
from tests.verification.stress.try_log import KILLED_LATE_RETRY, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.judge import Event
    from tests.verification.stress.log_reader import RecordVersion
    from tests.verification.stress.try_log import TryEvent


def exclusion(events: Iterable[Event], writes: Sequence[RecordVersion], *, least: int) -> Check:
    """
    Check that one cluster at a time had the address, and that steps ran only on the cluster that had it.

    A lease period counts if its cluster had the address, was handed over in the record, and completed a step.

    :param least: the smallest number of lease periods that passes.
    """
    address, served = follow(events), len(served_clusters(events, writes))
    problems = [*address.problems, *([f"{served} lease periods, fewer than {least}"] if served < least else [])]
    detail = f"{served:,} lease periods, {len(address.bound):,} associations, no two at a time"
    return Check("exclusion", tuple(problems), detail)


def served_clusters(events: Iterable[Event], writes: Sequence[RecordVersion]) -> set[str]:
    """Return the clusters that were handed over in the record and completed a step."""
    handed = {write.lease["carrier"] for write in writes if write.lease and write.lease["phase"] == "held"}
    return follow(events).served & handed


def enough_periods(served: Sequence[set[str]], *, least: int, addresses: int) -> Check:
    """
    Check how many lease periods there were on several addresses, and that no cluster counts for two of them.

    :param served: the clusters of each address that was leased.
    """
    counted = Counter(cluster for clusters in served for cluster in clusters)
    problems = [f"{cluster} had {times} addresses" for cluster, times in counted.items() if times > 1]
    problems += [f"{len(counted)} lease periods, fewer than {least}"] if len(counted) < least else []
    problems += [f"{len(served)} of {addresses} addresses were leased"] if len(served) < addresses else []
    return Check("lease periods", tuple(problems), f"{len(counted):,} on all addresses, one address for each cluster")


def one_lease_an_owner(writes: Sequence[RecordVersion]) -> Check:
    """
    Check that no owner had the active leases of two addresses at a time.

    :param writes: of all records.
    """
    active: dict[str | None, str] = {}
    problems, leases = [], set()
    for write in sorted(writes, key=lambda write: write.seq):
        active.pop(write.allocation_id, None)
        if write.lease and write.lease["phase"] == "held":
            owner = write.lease["speaker"]["name"]
            leases.add((write.allocation_id, write.token))
            if owner in active.values():
                problems.append(f"{write.seq}: {owner} has {write.allocation_id} besides another address")
            active[write.allocation_id] = owner
    if not leases:
        problems.append("no lease was active")
    return Check("one lease an owner", tuple(problems), f"{len(leases):,} active leases")


def leases_ended(writes: Sequence[RecordVersion]) -> Check:
    """Check that every lease that was acquired was at some time in the history, which keeps only the newest."""
    acquired = {write.token for write in writes if write.token is not None}
    ended = {ended["token"] for write in writes for ended in write.record["history"]}
    problems = [f"the lease with token {token} never ended" for token in sorted(acquired - ended)]
    if not acquired:
        problems.append("no lease was acquired")
    return Check("leases ended", tuple(problems), f"{len(acquired):,} acquired, each ended once")


def nothing_left(events: Sequence[Event], writes: Sequence[RecordVersion]) -> Check:
    """Check that every cluster has ended, the address is free, and the record has neither lease nor queue."""
    started = {event["job_flow_id"] for event in events if event["kind"] == "cluster"}
    problems = [*clusters_left(events), *address_left(events)]
    if not started or not writes or not follow(events).bound:
        problems.append("nothing was launched, bound or written")
    if writes and writes[-1].lease:
        problems.append(f"the lease is still {writes[-1].lease['speaker']['name']}'s")
    if writes and (queue := writes[-1].record["queue"]):
        problems.append(f"{len(queue)} still queue, the first is {queue[0]['speaker']['name']}")
    detail = f"{len(started):,} clusters launched and ended; the address is free; no lease, no queue"
    return Check("nothing left", tuple(problems), detail)


def tokens_grow(events: Sequence[Event], writes: Sequence[RecordVersion]) -> Check:
    """
    Check that fencing tokens grow: the issued ones, and those of leases, of the history and of bound clusters.

    An owner that was passed over is left out: it has its lease later than owners with greater tokens.
    """
    problems = []
    late = {entry["token"] for write in writes for entry in write.record["queue"] if entry.get("passed")}
    for before, after in pairwise(writes):
        if after.record["issued"] < before.record["issued"]:
            problems.append(f"{after.seq}: issued fell from {before.record['issued']} to {after.record['issued']}")
    leased = [write.token for write in writes if write.token is not None]
    changes = [(one, two) for one, two in pairwise(leased) if one != two]
    problems += [f"the lease went from token {one} to {two}" for one, two in changes if two < one and two not in late]
    problems += [
        f"token {two} was leased again" for two, times in Counter(two for _, two in changes).items() if times > 1
    ]
    histories = [
        [ended["token"] for ended in write.record["history"] if ended["token"] not in late] for write in writes
    ]
    problems += [f"a history is {history}" for history in histories if history != sorted(set(history))][:3]
    tokens, bound = tokens_of_clusters(events), follow(events).bound
    for one, two in pairwise(bound):
        if one != two and tokens.get(two) not in late and not tokens.get(one, 0) < tokens.get(two, 0):
            problems.append(f"{two} (token {tokens.get(two)}) was bound after {one} (token {tokens.get(one)})")
    if not leased or not bound:
        problems.append("no lease was taken, or no cluster bound")
    return Check("tokens grow", tuple(problems), f"{len(set(leased)):,} leases, {len(bound):,} bound clusters")


def runs_ended(events: Sequence[Event], try_events: Sequence[TryEvent], *, expected: int) -> Check:
    """
    Check that every DAG run ended, and that each failure has an injected cause.

    The causes are: the cluster failed; a try was killed and its retry came after others had ended its lease; or
    the cluster waited behind such an owner until its idle timeout.
    """
    ends = {event.run_id: event for event in try_events if not event.task}
    reasons = termination_reasons(events)
    problems, causes = [], dict.fromkeys(("cluster failed", "late retry", "cluster idle for too long"), 0)
    for run_id, end in ends.items():
        if end.what == SUCCESS:
            continue
        tries = [event for event in try_events if event.run_id == run_id and event.task]
        clusters = [event.text for event in tries if event.task == "create" and event.what == SUCCESS]
        if any(event.what == KILLED_LATE_RETRY for event in tries):
            causes["late retry"] += 1
        elif any(reasons.get(cluster, ("", ""))[0] == CLUSTER_REASON for cluster in clusters):
            causes["cluster failed"] += 1
        elif any("idle" in reasons.get(cluster, ("", ""))[1] for cluster in clusters):
            causes["cluster idle for too long"] += 1
        else:
            last = next((event.text for event in reversed(tries) if event.text), "no reason is known")
            problems.append(f"{run_id} failed without an injected cause: {last}")
    if len(ends) != expected:
        problems.append(f"{len(ends)} of {expected} runs ended")
    succeeded = sum(end.what == SUCCESS for end in ends.values())
    counts = ", ".join(f"{count} {cause}" for cause, count in causes.items())
    return Check("runs ended", tuple(problems), f"{succeeded:,} succeeded, {len(ends) - succeeded} failed ({counts})")
