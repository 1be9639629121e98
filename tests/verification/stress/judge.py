"""The verdicts on a run, from the event log; each is a pure function, and each fails when it saw nothing."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.judge import Check, address_left, clusters_left, follow
from tests.verification.stress.journal import ABSENT, SUCCESS
from tests.verification.stress.traces import endings, tokens_of
from tests.verification.stress.weather import CLUSTER_REASON

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.judge import Event
    from tests.verification.stress.journal import Note
    from tests.verification.stress.traces import Stored


def exclusion(events: Iterable[Event], writes: Sequence[Stored], *, least: int) -> Check:
    """
    See that one cluster at a time had the address, and that steps ran on clusters that had it, on one at a time.

    A lease period counts when its cluster had the address, was handed over in the record, and a step on it ended well.

    :param least: how many lease periods there must be.
    """
    address = follow(events)
    handed = {write.lease["carrier"] for write in writes if write.lease and write.lease["phase"] == "held"}
    served = len(address.served & handed)
    problems = [*address.problems, *([f"{served} lease periods, fewer than {least}"] if served < least else [])]
    detail = f"{served:,} lease periods, {len(address.bound):,} associations, no two at a time"
    return Check("exclusion", tuple(problems), detail)


def nothing_lost(events: Sequence[Event], writes: Sequence[Stored]) -> Check:
    """See that every cluster has ended, the address is free, and the record has neither lease nor queue."""
    started = {event["job_flow_id"] for event in events if event["kind"] == "cluster"}
    problems = [*clusters_left(events), *address_left(events)]
    if not started or not writes or not follow(events).bound:
        problems.append("nothing was launched, bound or written")
    if writes and writes[-1].lease:
        problems.append(f"the lease is still {writes[-1].lease['speaker']['name']}'s")
    if writes and (queue := writes[-1].record["queue"]):
        problems.append(f"{len(queue)} still queue, the first is {queue[0]['speaker']['name']}")
    detail = f"{len(started):,} clusters launched and ended; the address is free; no lease, no queue"
    return Check("nothing lost", tuple(problems), detail)


def tokens_grow(events: Sequence[Event], writes: Sequence[Stored]) -> Check:
    """
    See that tokens grow: those that are issued, those of leases, in the history, and of clusters that are bound.

    An owner that was passed over has its lease, with the smaller token, after those that came later.
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
    tokens, bound = tokens_of(events), follow(events).bound
    for one, two in pairwise(bound):
        if one != two and tokens.get(two) not in late and not tokens.get(one, 0) < tokens.get(two, 0):
            problems.append(f"{two} (token {tokens.get(two)}) was bound after {one} (token {tokens.get(one)})")
    if not leased or not bound:
        problems.append("no lease was taken, or no cluster bound")
    return Check("tokens grow", tuple(problems), f"{len(set(leased)):,} leases, {len(bound):,} bound clusters")


def runs_ended(events: Sequence[Event], notes: Sequence[Note], *, expected: int) -> Check:
    """
    See that every owner's DAG run came to its end, and that each failure has a cause that was injected.

    These are: its cluster ended by itself, or a try was killed and its retry came so late that the lease had been ended
    by fact, or its cluster had waited so long behind such an owner that it ended for being idle.
    """
    ends = {note.run_id: note for note in notes if not note.task}
    why = endings(events)
    problems, causes = [], dict.fromkeys(("cluster ended by itself", "came back too late", "cluster idled too long"), 0)
    for run_id, end in ends.items():
        if end.what == SUCCESS:
            continue
        its = [note for note in notes if note.run_id == run_id and note.task]
        clusters = [note.text for note in its if note.task == "create" and note.what == SUCCESS]
        if any(note.what == ABSENT for note in its):
            causes["came back too late"] += 1
        elif any(why.get(cluster, ("", ""))[0] == CLUSTER_REASON for cluster in clusters):
            causes["cluster ended by itself"] += 1
        elif any("idle" in why.get(cluster, ("", ""))[1] for cluster in clusters):
            causes["cluster idled too long"] += 1
        else:
            last = next((note.text for note in reversed(its) if note.text), "no reason is known")
            problems.append(f"{run_id} failed without an injected cause: {last}")
    if len(ends) != expected:
        problems.append(f"{len(ends)} of {expected} runs came to an end")
    succeeded = sum(end.what == SUCCESS for end in ends.values())
    told = ", ".join(f"{count} {cause}" for cause, count in causes.items())
    return Check("runs ended", tuple(problems), f"{succeeded:,} succeeded, {len(ends) - succeeded} failed ({told})")
