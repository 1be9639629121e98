"""What a run says of itself: verdicts, what went wrong in it on purpose, and what it cost."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.console import table
from tests.verification.stress import judge, order, plan
from tests.verification.stress.journal import ABSENT, BEGUN, FAILED, VANISHED
from tests.verification.stress.traces import stored, worker_of_owner
from tests.verification.stress.weather import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.judge import Check
    from tests.verification.stress.arena import Outcome
    from tests.verification.stress.plan import Options
    from tests.verification.stress.traces import Stored

# So many of the runs may fail, their clusters having ended by themselves or their owners having been away.
_ALLOWANCE = 1 / 16
_STORE_CALLS = ("GetItem", "PutItem", "GetObject", "PutObject", "DescribeTable", "HeadBucket")


def verdicts(outcome: Outcome, writes: Sequence[Stored], options: Options) -> list[Check]:
    """Judge a run."""
    lives = order.Lives(outcome.events, outcome.notes)
    return [
        judge.exclusion(outcome.events, writes, least=int(options.total * (1 - _ALLOWANCE))),
        judge.nothing_lost(outcome.events, writes),
        judge.tokens_grow(outcome.events, writes),
        judge.runs_ended(outcome.events, outcome.notes, expected=options.total),
        order.in_order(writes, lives, poll=plan.POLL["create"]),
    ]


def report(outcome: Outcome, options: Options) -> tuple[list[str], bool]:
    """Return the report's lines, and whether every check passed."""
    writes = stored(outcome.events)
    checks = verdicts(outcome, writes, options)
    rows = [(check.name, "PASS" if check.passed else "FAIL", check.detail) for check in checks]
    problems = [f"  {check.name}: {problem}" for check in checks for problem in check.problems[:20]]
    lines = [
        f"{options.processes} processes x {options.periods} lease periods on one Elastic IP, {options.lock_store}",
        f"seed {options.seed}; {outcome.wall_seconds:.0f} s, simulated {outcome.simulated_seconds / 3600:.0f} h",
        "",
        *table(rows, header=("check", "", "")),
        *(["", "Problems", *problems] if problems else []),
        "",
        *faults_by_kind(outcome),
        "",
        *_happened(outcome, writes),
        "",
        *_costs(outcome, options),
    ]
    return lines, all(check.passed for check in checks)


def faults_by_kind(outcome: Any) -> list[str]:
    """Count the calls of each operation that was made to fail, and in which way; ``outcome`` has ``events``."""
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


def _happened(outcome: Outcome, writes: Sequence[Stored]) -> list[str]:
    tries = Counter(note.what for note in outcome.notes if note.task)
    retries = Counter(note.task for note in outcome.notes if note.what == BEGUN and note.try_number > 1)
    events = outcome.events
    clusters = sum(event["kind"] == "fault" and event["fault"] == "cluster" for event in events)
    kills = sum(event["kind"] == "kill" for event in events)
    rows = [
        ("worker processes killed by SIGKILL", kills),
        ("tries that vanished between two calls", tries[VANISHED]),
        ("and whose owner came back late", tries[ABSENT]),
        ("tries that failed", tries[FAILED]),
        ("retries of " + ", ".join(plan.TASKS), ", ".join(f"{retries[task]:,}" for task in plan.TASKS)),
        ("leases and places that a retry took up again", _reentered(writes)),
        ("leases closed or ended by another owner", _taken_over(writes)),
        ("clusters that were to end by themselves", clusters),
    ]
    told = [(what, f"{count:,}" if isinstance(count, int) else count) for what, count in rows]
    return table(told, header=("what happened", ""), right=frozenset({1}))


def _reentered(writes: Sequence[Stored]) -> int:
    """Count the writes after which a newer try speaks for a token."""
    count = 0
    for before, after in pairwise(writes):
        then, now = _tries(before), _tries(after)
        count += any(number > then.get(token, number) for token, number in now.items())
    return count


def _tries(write: Stored) -> dict[int, int]:
    holders = [write.lease] if write.lease else []
    return {one["token"]: one["speaker"]["try_number"] for one in (*holders, *write.record["queue"])}


def _taken_over(writes: Sequence[Stored]) -> int:
    """Count the leases that somebody else closed or ended."""
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
