"""Run the exits: ``python -m tests.verification.exits [--airflow VENV] [--only NAME]``; exit code 0 when all pass."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.airflow import LOCAL_ONLY
from harness.console import Console, table
from harness.processes import Children, left_running
from tests.verification.exits.evidence import faults
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
    play,
)
from tests.verification.exits.world import World, told

if TYPE_CHECKING:
    from types import FrameType

    from airflow_eip_provider.lease.record import Record
    from tests.verification.exits.evidence import Evidence

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a scenario; it passed when there are no problems."""

    scenario: Scenario
    shows: str
    net: str
    problems: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def net_of(scenario: Scenario, evidence: Evidence, record: Record) -> str:
    """Return what ended the last cluster of the run that was made to exit."""
    clusters = evidence.clusters_of(scenario.name)
    if not clusters:
        return NOTHING
    last = clusters[-1]
    why = next((t.why for t in record.history if t.token == last.token), "")
    nets = {
        "idle termination": IDLE,
        "the triggerer": TRIGGER,
        "the other DAG": NEXT_OWNER,
        "its own DAG": TEARDOWN if why == "terminated" or not why else CLEAN_UP,
    }
    return nets.get(last.ended_by, last.ended_by)


def judge(scenario: Scenario, world: World) -> Verdict:
    """Play a scenario, and judge it from AWS's log, the lock's record and Airflow's states."""
    problems: list[str] = []
    state, tasks = "", {}
    try:
        state, tasks = play(scenario, world)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
    evidence, record = world.evidence(scenario.name), world.record(scenario.name)
    problems += faults(evidence, record)
    net = net_of(scenario, evidence, record)
    clusters = evidence.clusters_of(scenario.name)
    steps = sum(len(cluster.steps) for cluster in clusters)
    wanted_states = scenario.run | (scenario.run_on_airflow_2 if world.version < (3,) else frozenset())
    if scenario.run and state and state not in wanted_states:
        problems.append(f"the run ended {state}, not {'/'.join(sorted(wanted_states))}")
    problems += [
        f"{task_id} is {tasks.get(task_id)}, not {'/'.join(sorted(wanted))}"
        for task_id, wanted in scenario.tasks.items()
        if tasks and tasks.get(task_id) not in wanted
    ]
    if len(clusters) not in scenario.clusters:
        problems.append(f"{len(clusters)} clusters were launched")
    if steps not in scenario.steps:
        problems.append(f"{steps} steps were submitted")
    if net not in scenario.net(world.version):
        problems.append(f"the net was: {net}; expected: {' or '.join(sorted(scenario.net(world.version)))}")
    return Verdict(scenario=scenario, shows=f"{told(evidence)}; run {state or '-'}", net=net, problems=problems)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.exits", description=__doc__)
    parser.add_argument("--airflow", type=Path, default=Path(sys.prefix), metavar="VENV", help="default: this one")
    parser.add_argument("--only", action="append", metavar="NAME", help="one scenario; may be repeated")
    parser.add_argument("--side-by-side", type=int, default=8, help="how many play at a time (default: %(default)s)")
    parser.add_argument("--time-scale", type=float, default=6.0, help="simulated seconds a real one (%(default)s)")
    parser.add_argument("--state", type=Path, default=ROOT / ".exits", help="a directory of its own; emptied first")
    return parser.parse_args(arguments)


def chosen(only: list[str] | None) -> list[Scenario]:
    """Return the scenarios to play."""
    unknown = set(only or ()) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        names = ", ".join(scenario.name for scenario in SCENARIOS)
        raise SystemExit(f"no such scenario: {', '.join(sorted(unknown))}; there are: {names}")
    return [scenario for scenario in SCENARIOS if not only or scenario.name in only]


def play_all(world: World, scenarios: list[Scenario], *, console: Console, side_by_side: int) -> list[Verdict]:
    """Play those that go together side by side, then the others one by one."""

    def one(scenario: Scenario) -> Verdict:
        console.step(f"{scenario.name}: begins")
        verdict = judge(scenario, world)
        console.step(f"{scenario.name}: {'PASS' if verdict.passed else 'FAIL ' + '; '.join(verdict.problems)}")
        return verdict

    pool = ThreadPoolExecutor(side_by_side)
    try:
        together = list(pool.map(one, [scenario for scenario in scenarios if not scenario.alone]))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return together + [one(scenario) for scenario in scenarios if scenario.alone]


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run it and return the exit code."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.update(LOCAL_ONLY)
    console, state = Console(), options.state.resolve()
    if left := left_running(state):
        raise SystemExit(f"processes of an earlier run are still there: {left}")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    scenarios = chosen(options.only)
    world = World(
        Children(directory=state),
        venv=options.airflow.absolute(),
        state=state,
        dags={scenario.name: scenario.dag for scenario in scenarios},
        next_dags={scenario.name: HOLDER if scenario.holder else {} for scenario in scenarios},
        time_scale=options.time_scale,
    )
    version = ".".join(map(str, world.version))
    try:
        world.start()
        console.step(f"Airflow {version} runs at {world.airflow.url}, the local EMR at {world.aws.endpoint_url}")
        verdicts = play_all(world, scenarios, console=console, side_by_side=options.side_by_side)
    finally:
        world.stop()
    rows = [
        (v.scenario.name, v.scenario.phase, version, v.shows, v.net, "PASS" if v.passed else "FAIL") for v in verdicts
    ]
    header = ("scenario", "phase", "Airflow", "what AWS's log shows", "net", "")
    console.lines("", *table(rows, header=header), "")
    failed = [verdict for verdict in verdicts if not verdict.passed]
    console.lines(*(f"{v.scenario.name}: {problem}" for v in failed for problem in v.problems))
    console.lines(f"{len(verdicts) - len(failed)} of {len(verdicts)} pass, after {console.elapsed_seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
