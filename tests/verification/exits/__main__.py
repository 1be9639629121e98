"""Run the exit scenarios: ``python -m tests.verification.exits [--airflow VENV] [--only NAME]``; 0 when all pass."""

from __future__ import annotations

import argparse
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console import Console, table
from harness.processes import children_of_command, left_running
from tests.verification.exits.environment import Environment, summary
from tests.verification.exits.evidence import problems_of
from tests.verification.exits.scenarios import (
    CLEAN_UP,
    HOLDER,
    IDLE,
    NEXT_OWNER,
    NOTHING,
    SCENARIOS,
    TEARDOWN,
    TRIGGER,
    Scenario,
    run_scenario,
)

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record
    from tests.verification.exits.evidence import Evidence

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Result:
    """
    Result of a scenario; it passed if there are no problems.

    :param summary: what the event log shows.
    :param ended_by: what ended the last cluster of the run.
    """

    scenario: Scenario
    summary: str
    ended_by: str
    problems: list[str]

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def verdict(self) -> str:
        """The word for the report."""
        return "PASS" if self.passed else "FAIL"


def ended_by(scenario: Scenario, evidence: Evidence, record: Record) -> str:
    """Return what ended the last cluster of a scenario's run: one of the constants of ``scenarios``."""
    clusters = evidence.clusters_of(scenario.name)
    if not clusters:
        return NOTHING
    last = clusters[-1]
    why = next((t.why for t in record.history if t.token == last.token), "")
    names = {
        "idle termination": IDLE,
        "the triggerer": TRIGGER,
        "the other DAG": NEXT_OWNER,
        "its own DAG": TEARDOWN if why == "terminated" or not why else CLEAN_UP,
    }
    return names.get(last.ended_by, last.ended_by)


def run_and_judge(scenario: Scenario, environment: Environment) -> Result:
    """Run a scenario, and judge it from the event log, the lease record and Airflow's states."""
    problems: list[str] = []
    state, tasks = "", {}
    try:
        state, tasks = run_scenario(scenario, environment)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
    evidence, record = environment.evidence(scenario.name), environment.record(scenario.name)
    problems += problems_of(evidence, record)
    by = ended_by(scenario, evidence, record)
    clusters = evidence.clusters_of(scenario.name)
    steps = sum(len(cluster.steps) for cluster in clusters)
    allowed_states = scenario.run | (scenario.run_on_airflow_2 if environment.version < (3,) else frozenset())
    if scenario.run and state and state not in allowed_states:
        problems.append(f"the run ended {state}, not {'/'.join(sorted(allowed_states))}")
    problems += [
        f"{task_id} is {tasks.get(task_id)}, not {'/'.join(sorted(allowed))}"
        for task_id, allowed in scenario.tasks.items()
        if tasks and tasks.get(task_id) not in allowed
    ]
    if len(clusters) not in scenario.clusters:
        problems.append(f"{len(clusters)} clusters were launched")
    if steps not in scenario.steps:
        problems.append(f"{steps} steps were submitted")
    expected = scenario.ended_by(environment.version)
    if by not in expected:
        problems.append(f"the last cluster was ended by: {by}; expected: {' or '.join(sorted(expected))}")
    shown = f"{summary(evidence)}; run {state or '-'}"
    return Result(scenario=scenario, summary=shown, ended_by=by, problems=problems)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.exits", description=__doc__)
    parser.add_argument("--airflow", type=Path, default=Path(sys.prefix), metavar="VENV", help="default: this one")
    parser.add_argument("--only", action="append", metavar="NAME", help="one scenario; may be repeated")
    parser.add_argument("--side-by-side", type=int, default=8, help="scenarios at a time (default: %(default)s)")
    parser.add_argument("--time-scale", type=float, default=6.0, help="simulated seconds per real second (%(default)s)")
    parser.add_argument(
        "--state", type=Path, default=ROOT / ".exits", help="the working directory; it is emptied first"
    )
    return parser.parse_args(arguments)


def select(only: list[str] | None) -> list[Scenario]:
    """Return the scenarios of these names, or all."""
    unknown = set(only or ()) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        names = ", ".join(scenario.name for scenario in SCENARIOS)
        raise SystemExit(f"no such scenario: {', '.join(sorted(unknown))}; there are: {names}")
    return [scenario for scenario in SCENARIOS if not only or scenario.name in only]


def run_all(environment: Environment, scenarios: list[Scenario], *, console: Console, parallel: int) -> list[Result]:
    """Run the scenarios in parallel, then those that need the environment for themselves one by one."""

    def run(scenario: Scenario) -> Result:
        console.step(f"{scenario.name}: begins")
        result = run_and_judge(scenario, environment)
        console.step(f"{scenario.name}: {result.verdict} {'; '.join(result.problems)}".rstrip())
        return result

    pool = ThreadPoolExecutor(parallel)
    try:
        results = list(pool.map(run, [scenario for scenario in scenarios if not scenario.alone]))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return results + [run(scenario) for scenario in scenarios if scenario.alone]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    console, state = Console(), options.state.resolve()
    if left := left_running(state):
        raise SystemExit(f"processes of an earlier run still run; end them first: {left}")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    scenarios = select(options.only)
    with children_of_command(state) as children:
        environment = Environment(
            children,
            venv=options.airflow.absolute(),
            state=state,
            dags={scenario.name: scenario.dag_parameters for scenario in scenarios},
            next_dags={scenario.name: HOLDER if scenario.phase.holder else {} for scenario in scenarios},
            time_scale=options.time_scale,
        )
        version = ".".join(map(str, environment.version))
        try:
            environment.start()
            console.step(
                f"Airflow {version} runs at {environment.airflow.url}, the local EMR at {environment.aws.endpoint_url}"
            )
            results = run_all(environment, scenarios, console=console, parallel=options.side_by_side)
        finally:
            environment.stop()
    rows = [
        (r.scenario.name, r.scenario.title or r.scenario.phase.name, version, r.summary, r.ended_by, r.verdict)
        for r in results
    ]
    header = ("scenario", "phase", "Airflow", "event log", "last cluster ended by", "")
    console.lines("", *table(rows, header=header), "")
    failed = [result for result in results if not result.passed]
    console.lines(*(f"{r.scenario.name}: {problem}" for r in failed for problem in r.problems))
    console.lines(f"{len(results) - len(failed)} of {len(results)} pass, after {console.elapsed_seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
