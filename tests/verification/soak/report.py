"""What a soak says of itself: verdicts, what went wrong in it on purpose, and what it took."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from harness.console import table
from tests.verification.soak import judge, plan
from tests.verification.stress import judge as stress
from tests.verification.stress.report import faults_by_kind

if TYPE_CHECKING:
    from harness.judge import Check
    from tests.verification.soak.arena import Outcome
    from tests.verification.soak.plan import Options

# So many of the runs may fail, their clusters having ended by themselves or their tries having been killed.
_ALLOWANCE = 1 / 4
# In a shorter soak no triggerer lives long enough for its memory to be judged.
_MEASURED_RUNS = 40
# Between what was done to a try and what Airflow notes as its start and end, in real seconds.
_SLACK_SECONDS = 15


def verdicts(outcome: Outcome, options: Options) -> list[Check]:
    """Judge a soak."""
    events, stored = outcome.events, judge.writes(outcome.events)
    slack = timedelta(seconds=_SLACK_SECONDS * options.time_scale)
    causes = judge.Causes(events, dag_ids=options.dag_ids, slack=slack, lost=outcome.lost)
    checks = [
        stress.exclusion(events, stored, least=int(len(outcome.runs) * (1 - _ALLOWANCE))),
        judge.one_owner(events),
        judge.no_theft(events),
        stress.nothing_lost(events, stored),
        judge.no_orphans(events),
        stress.tokens_grow(events, stored),
        judge.history_is_honest(events, stored),
        judge.submitted_once(events, outcome.tries, task_id="azure.read"),
        judge.none_stuck(outcome.runs, expected=outcome.wanted, last=outcome.last),
        judge.failures_explained(outcome.runs, outcome.tries, causes),
    ]
    return [*checks, judge.triggerer_is_flat(outcome.readings)] if options.runs >= _MEASURED_RUNS else checks


def report(outcome: Outcome, options: Options) -> tuple[list[str], bool]:
    """Return the report's lines, and whether every check passed."""
    checks = verdicts(outcome, options)
    rows = [(check.name, "PASS" if check.passed else "FAIL", check.detail) for check in checks]
    problems = [f"  {check.name}: {problem}" for check in checks for problem in check.problems[:20]]
    runs, minutes, days = len(outcome.runs), outcome.wall_seconds / 60, outcome.simulated_seconds / 86400
    lines = [
        f"seed {options.seed}: {runs} runs of {options.dags} DAGs on one Elastic IP, {options.depth} at a time",
        f"{minutes:.1f} min, {outcome.wall_seconds / runs:.1f} s a run; simulated {days:.1f} days",
        "",
        *table(rows, header=("check", "", "")),
        *(["", "Problems", *problems] if problems else []),
        "",
        *faults_by_kind(outcome),
        "",
        *_happened(outcome, options),
    ]
    return lines, all(check.passed for check in checks)


def _happened(outcome: Outcome, options: Options) -> list[str]:
    events = outcome.events
    harm = Counter(event["what"] for event in events if event["kind"] == "harm")
    clusters = sum(event["kind"] == "fault" and event["fault"] == "cluster" for event in events)
    retries = Counter(one.task_id for one in outcome.tries if one.number > 1)
    stored = judge.writes(events)
    calls = sum(event["kind"] == "call" for event in events)
    steps = sum(event["kind"] == "step" and event["state"] == "COMPLETED" for event in events)
    rows = [
        ("processes of tasks killed by SIGKILL", str(harm["task"])),
        ("processes that supervise a task killed", str(harm["supervisor"])),
        ("triggerers killed", str(harm["triggerer"])),
        ("tasks cleared", str(harm["clear"])),
        ("clusters that were to end by themselves", str(clusters)),
        ("further tries of " + ", ".join(plan.TASKS), ", ".join(str(retries[task]) for task in plan.TASKS)),
        ("the longest queue", str(max((len(write.record["queue"]) for write in stored), default=0))),
        ("steps that were completed", str(steps)),
        ("calls to AWS a run", f"{calls / len(outcome.runs):.0f}"),
    ]
    return table(rows, header=("what happened", ""), right=frozenset({1}))
