"""Report of a soak: the checks, the injected faults and disruptions, and the number of calls."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from harness.console import check_lines, table
from tests.verification.soak import judge, plan
from tests.verification.stress import judge as stress
from tests.verification.stress.report import faults_by_kind

if TYPE_CHECKING:
    from harness.judge import Check
    from tests.verification.soak.environment import Outcome
    from tests.verification.soak.plan import Options

# The share of runs that may fail because of an injected fault or a disruption.
_MAX_FAILED_SHARE = 1 / 4
# In a soak with fewer runs no triggerer runs long enough for a check of its memory.
_MIN_RUNS_FOR_MEMORY = 40
# Real seconds by which a cause may be before Airflow's start, or after Airflow's end, of a try.
_SLACK_SECONDS = 15


def run_checks(outcome: Outcome, options: Options) -> list[Check]:
    events, stored = outcome.events, judge.writes(outcome.events)
    slack = timedelta(seconds=_SLACK_SECONDS * options.time_scale)
    causes = judge.Causes(events, dag_ids=options.dag_ids, slack=slack, lost=outcome.lost)
    checks = [
        stress.exclusion(events, stored, least=int(len(outcome.runs) * (1 - _MAX_FAILED_SHARE))),
        judge.one_owner(events),
        judge.no_theft(events),
        stress.nothing_left(events, stored),
        judge.no_orphans(events),
        stress.tokens_grow(events, stored),
        judge.history_is_correct(events, stored),
        judge.submitted_once(events, outcome.tries, task_id="azure.read"),
        judge.no_run_stuck(outcome.runs, expected=outcome.wanted, last=outcome.last),
        judge.failures_explained(outcome.runs, outcome.tries, causes),
    ]
    return [*checks, judge.triggerer_does_not_grow(outcome.samples)] if options.runs >= _MIN_RUNS_FOR_MEMORY else checks


def report(outcome: Outcome, options: Options) -> tuple[list[str], bool]:
    """Return the report's lines, and whether every check passed."""
    checks = run_checks(outcome, options)
    runs, minutes, days = len(outcome.runs), outcome.wall_seconds / 60, outcome.simulated_seconds / 86400
    lines = [
        f"seed {options.seed}: {runs} runs of {options.dags} DAGs on one Elastic IP, {options.depth} at a time",
        f"{minutes:.1f} min, {outcome.wall_seconds / runs:.1f} s a run; simulated {days:.1f} days",
        "",
        *check_lines(checks),
        "",
        *faults_by_kind(outcome),
        "",
        *_happened(outcome, options),
    ]
    return lines, all(check.passed for check in checks)


def _happened(outcome: Outcome, options: Options) -> list[str]:
    events = outcome.events
    disruptions = Counter(event["what"] for event in events if event["kind"] == "disruption")
    clusters = sum(event["kind"] == "fault" and event["fault"] == "cluster" for event in events)
    retries = Counter(each.task_id for each in outcome.tries if each.number > 1)
    stored = judge.writes(events)
    calls = sum(event["kind"] == "call" for event in events)
    steps = sum(event["kind"] == "step" and event["state"] == "COMPLETED" for event in events)
    rows = [
        ("processes of tasks killed by SIGKILL", str(disruptions["task"])),
        ("supervisors of tasks killed by SIGKILL", str(disruptions["supervisor"])),
        ("triggerers killed", str(disruptions["triggerer"])),
        ("tasks cleared", str(disruptions["clear"])),
        ("injected cluster failures", str(clusters)),
        ("retries of " + ", ".join(plan.TASKS), ", ".join(str(retries[task]) for task in plan.TASKS)),
        ("longest queue", str(max((len(write.record["queue"]) for write in stored), default=0))),
        ("completed steps", str(steps)),
        ("calls to AWS a run", f"{calls / len(outcome.runs):.0f}"),
    ]
    return table(rows, header=("what happened", ""), right=frozenset({1}))
