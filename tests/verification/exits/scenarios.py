"""The scenarios: one for each way in which a task or a DAG run can end, with the expected result."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.verification.exits.environment import DagRun, next_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Version = tuple[int, ...]

# What ended the last cluster of the run.
CLEAN_UP = "task's clean-up"
TRIGGER = "trigger's on_kill"
TEARDOWN = "teardown"
NEXT_OWNER = "next owner"
IDLE = "idle termination"
NOTHING = "nothing was launched"

# Longer than any scenario, so that a run which starts meanwhile stays in the queue.
HOLDER = {"step_seconds": 300}


@dataclass(frozen=True)
class Phase:
    """
    A phase in which a run is ended.

    :param reach: starts a run and waits until it is in the phase.
    :param dag: parameters of the DAG with which a run comes into the phase.
    :param holder: whether the other DAG has the address already when the run starts.
    """

    name: str
    reach: Callable[[DagRun], object]
    dag: Mapping[str, Any] = field(default_factory=dict)
    holder: bool = False


@dataclass(frozen=True)
class Scenario:
    """
    One way in which a run or one of its tasks ends.

    :param end: ends the run in the phase; None if it ends without that, e.g. by a timeout.
    :param dag: further parameters of the DAG.
    :param run: the final states that the run may have; empty if it does not end or is deleted.
    :param run_on_airflow_2: further allowed states on Airflow 2.
    :param tasks: the final states that tasks may have.
    :param clusters: the allowed numbers of clusters.
    :param steps: the allowed numbers of submitted steps.
    :param ended_by: what may end its last cluster, by Airflow version.
    :param alone: whether no other scenario may run at the same time, because it disrupts what all share.
    :param title: of the phase in the report, if that is not the phase's name.
    """

    name: str
    phase: Phase
    end: Callable[[DagRun], object] | None = None
    ended_by: Callable[[Version], set[str]] = lambda _: {TEARDOWN}
    dag: Mapping[str, Any] = field(default_factory=dict)
    run: frozenset[str] = frozenset({"failed"})
    run_on_airflow_2: frozenset[str] = frozenset()
    tasks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    clusters: range = range(1, 2)
    steps: range = range(2)
    alone: bool = False
    title: str = ""

    @property
    def dag_parameters(self) -> dict[str, Any]:
        return {**self.phase.dag, **self.dag}


def by(*ended_by: str) -> Callable[[Version], set[str]]:
    """Allow the same for every version."""
    return lambda _: set(ended_by)


def since_3_3(new: set[str], old: set[str]) -> Callable[[Version], set[str]]:
    """Allow ``new`` where the kill of a deferred task calls the trigger's on_kill, and ``old`` where it does not."""
    return lambda version: new if version >= (3, 3) else old


SUCCESS, FAILED = frozenset({"success"}), frozenset({"failed"})
EITHER = SUCCESS | FAILED


# --- The phases ------------------------------------------------------------------------------------------------------


def launch(run: DagRun) -> None:
    run.start().launched()


def run_create(run: DagRun) -> None:
    launch(run)
    run.reach("create", "running")


def defer_create(run: DagRun) -> None:
    launch(run)
    run.defer("create")


def queue(run: DagRun) -> None:
    run.start().defer("create")


def run_step(run: DagRun) -> None:
    run.start().step_runs()
    run.reach("steps", "running")


def defer_steps(run: DagRun) -> None:
    run.start().step_runs()
    run.defer("steps")


def defer_terminate(run: DagRun) -> None:
    run.start().reach("terminate", "deferred")


BLOCKING = {"deferrable": False}
CREATING = Phase("create runs", run_create, BLOCKING)
LAUNCHED = Phase("create is deferred", launch)
LAUNCHING = Phase("create is deferred", defer_create)
QUEUED = Phase("create is queued", queue, holder=True)
STEPPING = Phase("steps run", run_step, {**BLOCKING, "step_seconds": 300})
STEPPING_DEFERRED = Phase("steps are deferred", defer_steps, {"step_seconds": 300})
ENDING = Phase("terminate is deferred", defer_terminate)


# --- Functions that end a run ----------------------------------------------------------------------------------------


def mark(task_id: str, state: str) -> Callable[[DagRun], None]:
    return lambda run: run.mark(task_id, state)


def clear(task_id: str) -> Callable[[DagRun], None]:
    return lambda run: run.clear(task_id)


def sigterm(task_id: str, *, supervisor: bool) -> Callable[[DagRun], None]:
    return lambda run: run.kill(task_id, supervisor=supervisor)


def sigkill(run: DagRun) -> None:
    run.kill("create", supervisor=True, number=signal.SIGKILL)


def fail_run(run: DagRun) -> None:
    run.rest.set_run_state(run.dag_id, run.run_id, "failed")


def delete_dag(run: DagRun) -> None:
    run.rest.delete_dag(run.dag_id)


def kill_triggerer(run: DagRun) -> None:
    airflow = run.environment.airflow
    airflow.end_triggerer()
    time.sleep(3)
    airflow.start_triggerer()


def two_triggerers(run: DagRun) -> None:
    """Stop a triggerer until another has its triggers, resume it, so that both run the same, and end both in turn."""
    airflow = run.environment.airflow
    airflow.start_triggerer("triggerer-2")
    airflow.signal_triggerer("triggerer", signal.SIGSTOP)
    run.reach("create", "success")
    airflow.signal_triggerer("triggerer", signal.SIGCONT)
    run.step_runs()
    run.reach("steps", "deferred")
    airflow.end_triggerer("triggerer", number=signal.SIGTERM)
    airflow.start_triggerer("triggerer")
    airflow.end_triggerer("triggerer-2", number=signal.SIGKILL)


SCENARIOS = [
    Scenario(
        "undisturbed",
        QUEUED,
        title="from the queue on",
        run=SUCCESS,
        tasks={"create": SUCCESS, "steps": SUCCESS, "terminate": SUCCESS},
        steps=range(1, 2),
    ),
    Scenario(
        "mark_failed_creating", CREATING, mark("create", "failed"), tasks={"create": FAILED}, ended_by=by(CLEAN_UP)
    ),
    Scenario(
        "mark_failed_launching",
        LAUNCHING,
        mark("create", "failed"),
        tasks={"create": FAILED},
        ended_by=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        "mark_failed_queued",
        QUEUED,
        mark("create", "failed"),
        tasks={"create": FAILED},
        clusters=range(1),
        ended_by=by(NOTHING),
    ),
    Scenario("mark_failed_stepping", STEPPING, mark("steps", "failed"), tasks={"steps": FAILED, "terminate": SUCCESS}),
    Scenario(
        "mark_failed_stepping_deferred",
        STEPPING_DEFERRED,
        mark("steps", "failed"),
        tasks={"steps": FAILED, "terminate": SUCCESS},
    ),
    Scenario("mark_failed_ending", ENDING, mark("terminate", "failed"), tasks={"terminate": FAILED}),
    Scenario(
        "mark_success_creating",
        CREATING,
        mark("create", "success"),
        dag={"bind_at": "cluster_ready"},
        # The task may have handed over before Airflow kills it; then the run continues as if it had not been marked.
        run=EITHER,
        tasks={"create": SUCCESS},
        ended_by=by(CLEAN_UP, TEARDOWN),
    ),
    Scenario(
        "mark_success_launching",
        LAUNCHING,
        mark("create", "success"),
        tasks={"create": SUCCESS},
        ended_by=since_3_3({TRIGGER}, {NEXT_OWNER, IDLE, TEARDOWN}),
    ),
    Scenario(
        "mark_success_stepping_deferred",
        STEPPING_DEFERRED,
        mark("steps", "success"),
        run=SUCCESS,
        tasks={"steps": SUCCESS, "terminate": SUCCESS},
    ),
    Scenario(
        "clear_creating",
        CREATING,
        clear("create"),
        run=SUCCESS,
        # The process of the old try may mark the new one, which is already queued, as failed.
        run_on_airflow_2=FAILED,
        clusters=range(1, 3),
        ended_by=lambda version: {TEARDOWN} if version >= (3,) else {TEARDOWN, CLEAN_UP},
    ),
    Scenario("clear_launching", LAUNCHING, clear("create"), run=SUCCESS, clusters=range(1, 3)),
    Scenario("clear_queued", QUEUED, clear("create"), run=SUCCESS),
    Scenario("clear_create_only", STEPPING, clear("create"), run=SUCCESS),
    Scenario("clear_create_only_deferred", STEPPING_DEFERRED, clear("create"), run=SUCCESS),
    Scenario("clear_stepping_deferred", STEPPING_DEFERRED, clear("steps"), run=SUCCESS, steps=range(1, 3)),
    Scenario("sigterm_creating", CREATING, sigterm("create", supervisor=False), run=SUCCESS, clusters=range(2, 3)),
    Scenario(
        "sigterm_worker_creating",
        CREATING,
        sigterm("create", supervisor=True),
        run=EITHER,
        clusters=range(1, 3),
        ended_by=by(TEARDOWN, CLEAN_UP, NEXT_OWNER),
    ),
    Scenario("sigterm_stepping", STEPPING, sigterm("steps", supervisor=False), run=SUCCESS, steps=range(2, 3)),
    Scenario(
        "sigkill_creating",
        CREATING,
        sigkill,
        run=EITHER,
        # A task that is talking to its supervisor when that is killed fails, and ends its cluster before the retry.
        # That a retry adopts the cluster after a kill is shown by the chaos test.
        clusters=range(1, 3),
        # Airflow 2 does not end the task's own process; its late failure may overwrite the success of the retry.
        ended_by=lambda version: {TEARDOWN, NEXT_OWNER} if version >= (3,) else {TEARDOWN, NEXT_OWNER, IDLE},
    ),
    Scenario(
        "deferral_timeout_launching",
        LAUNCHED,
        dag={"airflow_times_out_first": True},
        tasks={"create": FAILED},
        clusters=range(1, 3),
        ended_by=by(CLEAN_UP),
    ),
    Scenario(
        "lock_timeout_queued",
        QUEUED,
        dag={"lock_timeout": 3},
        tasks={"create": FAILED},
        clusters=range(1),
        ended_by=by(NOTHING),
    ),
    Scenario(
        "execution_timeout_creating",
        CREATING,
        dag={"bind_at": "cluster_ready", "execution_timeout": {"eip.create": 18}},
        tasks={"create": FAILED},
        clusters=range(1, 3),
        ended_by=by(CLEAN_UP),
    ),
    Scenario(
        "execution_timeout_stepping",
        STEPPING,
        dag={"step_seconds": 600, "execution_timeout": {"eip.steps": 15}},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        steps=range(1, 3),
    ),
    Scenario(
        "execution_timeout_stepping_deferred",
        STEPPING_DEFERRED,
        dag={"step_seconds": 600, "execution_timeout": {"eip.steps": 15}},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        steps=range(1, 3),
    ),
    Scenario(
        "execution_timeout_launching",
        LAUNCHED,
        dag={"execution_timeout": {"eip.create": 8}},
        run=EITHER,
        clusters=range(1, 3),
        ended_by=by(CLEAN_UP, TEARDOWN),
    ),
    Scenario(
        "dagrun_timeout_creating",
        CREATING,
        dag={"bind_at": "cluster_ready", "dagrun_timeout": 18},
        ended_by=by(CLEAN_UP),
    ),
    Scenario(
        "dagrun_timeout_launching",
        LAUNCHING,
        dag={"bind_at": "cluster_ready", "dagrun_timeout": 20},
        ended_by=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        "dagrun_timeout_stepping", STEPPING_DEFERRED, dag={"dagrun_timeout": 60, "step_seconds": 900}, ended_by=by(IDLE)
    ),
    Scenario("run_marked_failed_launching", LAUNCHING, fail_run, ended_by=since_3_3({TRIGGER}, {NEXT_OWNER})),
    Scenario(
        "run_marked_failed_stepping",
        STEPPING_DEFERRED,
        fail_run,
        # Airflow lets the teardown run and then computes the run's state again, from leaf tasks that it has skipped.
        run=EITHER,
        ended_by=by(IDLE, TEARDOWN),
    ),
    Scenario(
        "dag_deleted_launching",
        LAUNCHING,
        delete_dag,
        run=frozenset(),
        ended_by=since_3_3({TRIGGER, NEXT_OWNER}, {NEXT_OWNER}),
    ),
    Scenario("dag_deleted_stepping", STEPPING_DEFERRED, delete_dag, run=frozenset(), ended_by=by(IDLE)),
    Scenario(
        "teardown_skipped",
        STEPPING_DEFERRED,
        mark("terminate", "skipped"),
        dag={"step_seconds": 150},
        run=EITHER,
        tasks={"terminate": frozenset({"skipped"})},
        ended_by=by(IDLE),
    ),
    *(
        Scenario(f"triggerer_killed_{name}", phase, kill_triggerer, run=SUCCESS, alone=True)
        for name, phase in (
            ("queued", QUEUED),
            ("launching", LAUNCHING),
            ("stepping", STEPPING_DEFERRED),
            ("ending", ENDING),
        )
    ),
    Scenario(
        "two_triggerers",
        LAUNCHING,
        two_triggerers,
        title="every deferral",
        dag={"step_seconds": 400},
        run=SUCCESS,
        alone=True,
    ),
]


def run_scenario(scenario: Scenario, environment: Any) -> tuple[str, dict[str, str | None]]:
    """
    Run a scenario, and then a run of the next owner.

    :return: the run's final state, empty if it does not end, and its tasks' states.
    """
    run = DagRun(environment, scenario.name)
    holder = DagRun(environment, scenario.name, dag_id=next_of(scenario.name))
    if scenario.phase.holder:
        launch(holder)
    scenario.phase.reach(run)
    if scenario.end:
        scenario.end(run)
    state = run.end() if scenario.run else ""
    tasks = run.states() if scenario.run else {}
    if scenario.phase.holder:
        _must_succeed(holder)
    _must_succeed(DagRun(environment, scenario.name, dag_id=next_of(scenario.name)).start())
    run.wait("end of all clusters", lambda: all(c.ended for c in environment.evidence(scenario.name).clusters))
    return state, tasks


def _must_succeed(run: DagRun) -> None:
    state = run.end()
    if state != "success":
        raise AssertionError(f"the next run on the address ended {state}: {run.states()}")
