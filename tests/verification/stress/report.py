"""Report of a stress test: the checks, the injected faults, and the number of calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.console import check_lines, table
from harness.judge import of_address
from tests.verification.stress import judge, plan, queue_order
from tests.verification.stress.log_reader import record_versions, worker_of_owner
from tests.verification.stress.random_faults import KINDS
from tests.verification.stress.try_log import BEGUN, FAILED, KILLED, KILLED_LATE_RETRY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.judge import Check
    from tests.verification.stress.environment import Outcome
    from tests.verification.stress.log_reader import RecordVersion
    from tests.verification.stress.plan import Options

# The share of runs that may fail because of an injected fault: a failed cluster, or a late retry.
_MAX_FAILED_SHARE = 1 / 16
_STORE_CALLS = ("GetItem", "PutItem", "GetObject", "PutObject", "DescribeTable", "HeadBucket")


def run_checks(outcome: Outcome, writes: Sequence[RecordVersion], options: Options) -> list[Check]:
    """Return every check of a stress test; with several addresses, those of each address and then those of all."""
    least = int(options.total * (1 - _MAX_FAILED_SHARE))
    ended = judge.runs_ended(outcome.events, outcome.try_events, expected=options.total)
    if options.addresses > 1:
        return [*_checks_of_pool(outcome, writes, least=least, options=options), ended]
    activity = queue_order.WorkerActivity(outcome.events, outcome.try_events)
    poll = options.poll("create")
    return [
        judge.exclusion(outcome.events, writes, least=least),
        judge.nothing_left(outcome.events, writes),
        judge.tokens_grow(outcome.events, writes),
        ended,
        queue_order.served_in_order(writes, activity, poll=poll),
    ]


def _checks_of_pool(outcome: Outcome, writes: Sequence[RecordVersion], *, least: int, options: Options) -> list[Check]:
    checks, served, leases = [], [], queue_order.Leases(writes)
    poll = options.poll("create")
    for number, (allocation_id, own_writes) in enumerate(_by_address(writes).items(), start=1):
        events = of_address(outcome.events, allocation_id)
        activity = queue_order.WorkerActivity(outcome.events, outcome.try_events, allocation_id=allocation_id)
        of_one = [
            judge.exclusion(events, own_writes, least=1),
            judge.nothing_left(events, own_writes),
            judge.tokens_grow(events, own_writes),
            judge.leases_ended(own_writes),
            queue_order.served_in_order(own_writes, activity, poll=poll, leases=leases),
        ]
        checks += [replace(check, name=f"{number}: {check.name}") for check in of_one]
        served.append(judge.served_clusters(events, own_writes))
    return [
        *checks,
        judge.enough_periods(served, least=least, addresses=options.addresses),
        judge.one_lease_an_owner(writes),
    ]


def _by_address(writes: Sequence[RecordVersion]) -> dict[str | None, list[RecordVersion]]:
    by_address: dict[str | None, list[RecordVersion]] = defaultdict(list)
    for write in writes:
        by_address[write.allocation_id].append(write)
    return dict(sorted(by_address.items(), key=lambda item: str(item[0])))


def report(outcome: Outcome, options: Options) -> tuple[list[str], bool]:
    """Return the report's lines, and whether every check passed."""
    writes = record_versions(outcome.events)
    checks = run_checks(outcome, writes, options)
    lines = [
        f"{options.processes} processes x {options.periods} lease periods on {_named(options)}, {options.lock_store}",
        f"seed {options.seed}; {outcome.wall_seconds:.0f} s, simulated {outcome.simulated_seconds / 3600:.0f} h",
        "",
        *check_lines(checks),
        "",
        *faults_by_kind(outcome),
        "",
        *_happened(outcome, writes),
        "",
        *_costs(outcome, options),
    ]
    return lines, all(check.passed for check in checks)


def _named(options: Options) -> str:
    if options.addresses == 1:
        return "one Elastic IP"
    return f"{options.addresses} Elastic IPs, most in pools of two of them"


def faults_by_kind(outcome: Any) -> list[str]:
    """Return a table of the injected faults, by operation and kind; ``outcome`` has ``events``."""
    happened = Counter(
        (e["operation"], e["fault"]) for e in outcome.events if e["kind"] == "fault" and "operation" in e
    )
    calls = Counter(event["operation"] for event in outcome.events if event["kind"] == "call")
    rows = [
        (operation, f"{calls[operation]:,}", *(f"{happened[operation, kind]:,}" for kind in KINDS))
        for operation in sorted({operation for operation, _ in happened})
    ]
    numbers = frozenset(range(1, 2 + len(KINDS)))
    return table(rows, header=("faults", "calls", *KINDS), right=numbers)


def _happened(outcome: Outcome, writes: Sequence[RecordVersion]) -> list[str]:
    tries = Counter(event.what for event in outcome.try_events if event.task)
    retries = Counter(event.task for event in outcome.try_events if event.what == BEGUN and event.try_number > 1)
    events, each = outcome.events, _by_address(writes).values()
    clusters = sum(event["kind"] == "fault" and event["fault"] == "cluster" for event in events)
    kills = sum(event["kind"] == "kill" for event in events)
    rows = [
        ("worker processes killed by SIGKILL", kills),
        ("tries killed between two calls", tries[KILLED]),
        ("tries killed, with a late retry", tries[KILLED_LATE_RETRY]),
        ("tries that failed", tries[FAILED]),
        ("retries of " + ", ".join(plan.TASKS), ", ".join(f"{retries[task]:,}" for task in plan.TASKS)),
        ("leases and places in the queue continued by a retry", sum(map(_reentered, each))),
        ("leases closed or ended by another owner", sum(map(_taken_over, each))),
        ("injected cluster failures", clusters),
    ]
    shown = [(what, f"{count:,}" if isinstance(count, int) else count) for what, count in rows]
    return table(shown, header=("what happened", ""), right=frozenset({1}))


def _reentered(writes: Sequence[RecordVersion]) -> int:
    """Count the writes that record a newer try for a token."""
    count = 0
    for before, after in pairwise(writes):
        old, new = _tries(before), _tries(after)
        count += any(number > old.get(token, number) for token, number in new.items())
    return count


def _tries(write: RecordVersion) -> dict[int, int]:
    holders = [write.lease] if write.lease else []
    return {one["token"]: one["speaker"]["try_number"] for one in (*holders, *write.record["queue"])}


def _taken_over(writes: Sequence[RecordVersion]) -> int:
    """Count the leases that another owner closed or ended."""
    tokens = set()
    for before, after in pairwise(writes):
        if before.lease is None or after.worker == worker_of_owner(before.lease["speaker"]["name"]):
            continue
        closed = after.lease and after.lease["phase"] == "closing" and before.lease["phase"] != "closing"
        if closed or after.lease is None:
            tokens.add(before.token)
    return len(tokens)


def _costs(outcome: Outcome, options: Options) -> list[str]:
    calls = Counter(event["operation"] for event in outcome.events if event["kind"] == "call")
    store = {name: calls[name] / options.total for name in _STORE_CALLS if calls[name]}
    rows = [(name, f"{count:.2f}") for name, count in store.items()]
    rows.append(("all calls to AWS", f"{sum(calls.values()) / options.total:.1f}"))
    rows.append(("answered a second", f"{sum(calls.values()) / outcome.wall_seconds:.0f}"))
    return table(rows, header=("calls a lease period", ""), right=frozenset({1}))
