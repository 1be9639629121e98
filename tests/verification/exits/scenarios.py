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

BLOCKING = {"deferrable": False}
# So long that a run which starts meanwhile is in the queue until its scenario is over.
HOLDER = {"step_seconds": 300}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """
    One way in which a run or one of its tasks ends.

    :param phase: the phase in which it is ended.
    :param act: brings the run into that phase and ends it.
    :param dag: parameters of the DAG.
    :param run: the final states that the run may have; empty when it does not end or is deleted.
    :param run_on_airflow_2: further allowed states on Airflow 2.
    :param tasks: the final states that tasks may have.
    :param clusters: the allowed numbers of clusters.
    :param steps: the allowed numbers of submitted steps.
    :param ended_by: what may end its last cluster, by Airflow version.
    :param alone: whether no other scenario may run at the same time, because it disrupts what all share.
    :param holder: whether the other DAG holds the address already when the run starts.
    """

    name: str
    phase: str
    act: Callable[[DagRun], None]
    ended_by: Callable[[Version], set[str]]
    dag: Mapping[str, Any] = field(default_factory=dict)
    run: frozenset[str] = frozenset({"failed"})
    run_on_airflow_2: frozenset[str] = frozenset()
    tasks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    clusters: range = range(1, 2)
    steps: range = range(2)
    alone: bool = False
    holder: bool = False


def by(*ended_by: str) -> Callable[[Version], set[str]]:
    """Allow the same for every version."""
    return lambda _: set(ended_by)


def since_3_3(new: set[str], old: set[str]) -> Callable[[Version], set[str]]:
    """Allow ``new`` where the kill of a deferred task calls the trigger's on_kill, and ``old`` where it does not."""
    return lambda version: new if version >= (3, 3) else old


def is_(*states: str) -> frozenset[str]:
    return frozenset(states)


SUCCESS, FAILED = is_("success"), is_("failed")


# --- Functions that bring a run into a phase -------------------------------------------------------------------------


def creating(run: DagRun) -> DagRun:
    """Until the creating task runs, and its cluster is launched."""
    run.start().launched()
    run.reach("create", "running")
    return run


def launched(run: DagRun) -> DagRun:
    """Until the cluster is launched."""
    run.start().launched()
    return run


def launching(run: DagRun) -> DagRun:
    """Until the creating task is deferred to wait for the primary node."""
    run.start().launched()
    run.defer("create")
    return run


def queued(run: DagRun) -> DagRun:
    """Until the creating task is deferred in the queue, behind the other DAG."""
    run.start().defer("create")
    return run


def stepping(state: str) -> Callable[[DagRun], DagRun]:
    """Until the step runs, and its task is in a state: deferred or running."""

    def phase(run: DagRun) -> DagRun:
        run.start().step_runs()
        if state == "deferred":
            run.defer("steps")
        run.reach("steps", state)
        return run

    return phase


def ending(run: DagRun) -> DagRun:
    """Until the teardown is deferred."""
    run.start().reach("terminate", "deferred")
    return run


# --- Functions that end it -------------------------------------------------------------------------------------------


def mark(task_id: str, state: str, phase: Callable[[DagRun], DagRun]) -> Callable[[DagRun], None]:
    return lambda run: phase(run).mark(task_id, state)


def clear(task_id: str, phase: Callable[[DagRun], DagRun]) -> Callable[[DagRun], None]:
    return lambda run: phase(run).clear(task_id)


def sigterm(task_id: str, phase: Callable[[DagRun], DagRun], *, supervisor: bool) -> Callable[[DagRun], None]:
    return lambda run: phase(run).kill(task_id, supervisor=supervisor)


def sigkill(run: DagRun) -> None:
    creating(run).kill("create", supervisor=True, number=signal.SIGKILL)


def wait_for(phase: Callable[[DagRun], DagRun]) -> Callable[[DagRun], None]:
    """Only bring the run into the phase: it ends by itself, e.g. by a timeout."""
    return lambda run: phase(run) and None


def fail_run(phase: Callable[[DagRun], DagRun]) -> Callable[[DagRun], None]:
    def act(run: DagRun) -> None:
        phase(run)
        run.rest.set_run_state(run.dag_id, run.run_id, "failed")

    return act


def delete_dag(phase: Callable[[DagRun], DagRun]) -> Callable[[DagRun], None]:
    def act(run: DagRun) -> None:
        phase(run).rest.delete_dag(run.dag_id)

    return act


def skip_teardown(run: DagRun) -> None:
    stepping("deferred")(run).mark("terminate", "skipped")


def kill_triggerer(phase: Callable[[DagRun], DagRun]) -> Callable[[DagRun], None]:
    def act(run: DagRun) -> None:
        phase(run)
        airflow = run.environment.airflow
        airflow.end_triggerer()
        time.sleep(3)
        airflow.start_triggerer()

    return act


def two_triggerers(run: DagRun) -> None:
    """Stop a triggerer until another has its triggers, resume it, so that both run the same, and end both in turn."""
    airflow = run.environment.airflow
    launching(run)
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
        name="undisturbed",
        phase="from the queue on",
        act=wait_for(queued),
        run=SUCCESS,
        tasks={"create": SUCCESS, "steps": SUCCESS, "terminate": SUCCESS},
        holder=True,
        steps=range(1, 2),
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="mark_failed_creating",
        phase="create runs",
        act=mark("create", "failed", creating),
        dag=BLOCKING,
        tasks={"create": FAILED},
        ended_by=by(CLEAN_UP),
    ),
    Scenario(
        name="mark_failed_launching",
        phase="create is deferred",
        act=mark("create", "failed", launching),
        tasks={"create": FAILED},
        ended_by=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="mark_failed_queued",
        phase="create is queued",
        act=mark("create", "failed", queued),
        tasks={"create": FAILED},
        holder=True,
        clusters=range(1),
        ended_by=by(NOTHING),
    ),
    Scenario(
        name="mark_failed_stepping",
        phase="steps run",
        act=mark("steps", "failed", stepping("running")),
        dag={**BLOCKING, "step_seconds": 300},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="mark_failed_stepping_deferred",
        phase="steps are deferred",
        act=mark("steps", "failed", stepping("deferred")),
        dag={"step_seconds": 300},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="mark_failed_ending",
        phase="terminate is deferred",
        act=mark("terminate", "failed", ending),
        tasks={"terminate": FAILED},
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="mark_success_creating",
        phase="create runs",
        act=mark("create", "success", creating),
        dag={**BLOCKING, "bind_at": "cluster_ready"},
        # The task may have handed over before Airflow kills it; then the run goes on as if it had not been marked.
        run=is_("failed", "success"),
        tasks={"create": SUCCESS},
        ended_by=by(CLEAN_UP, TEARDOWN),
    ),
    Scenario(
        name="mark_success_launching",
        phase="create is deferred",
        act=mark("create", "success", launching),
        tasks={"create": SUCCESS},
        ended_by=since_3_3({TRIGGER}, {NEXT_OWNER, IDLE, TEARDOWN}),
    ),
    Scenario(
        name="mark_success_stepping_deferred",
        phase="steps are deferred",
        act=mark("steps", "success", stepping("deferred")),
        dag={"step_seconds": 300},
        run=SUCCESS,
        tasks={"steps": SUCCESS, "terminate": SUCCESS},
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="clear_creating",
        phase="create runs",
        act=clear("create", creating),
        dag=BLOCKING,
        run=SUCCESS,
        # The process of the old try may mark the new one, which is already queued, as failed.
        run_on_airflow_2=FAILED,
        clusters=range(1, 3),
        ended_by=lambda version: {TEARDOWN} if version >= (3,) else {TEARDOWN, CLEAN_UP},
    ),
    Scenario(
        name="clear_launching",
        phase="create is deferred",
        act=clear("create", launching),
        run=SUCCESS,
        clusters=range(1, 3),
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="clear_queued",
        phase="create is queued",
        act=clear("create", queued),
        run=SUCCESS,
        holder=True,
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="clear_create_only",
        phase="steps run",
        act=clear("create", stepping("running")),
        dag={**BLOCKING, "step_seconds": 300},
        run=SUCCESS,
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="clear_create_only_deferred",
        phase="steps are deferred",
        act=clear("create", stepping("deferred")),
        dag={"step_seconds": 300},
        run=SUCCESS,
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="clear_stepping_deferred",
        phase="steps are deferred",
        act=clear("steps", stepping("deferred")),
        dag={"step_seconds": 300},
        run=SUCCESS,
        steps=range(1, 3),
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="sigterm_creating",
        phase="create runs",
        act=sigterm("create", creating, supervisor=False),
        dag=BLOCKING,
        run=SUCCESS,
        clusters=range(2, 3),
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="sigterm_worker_creating",
        phase="create runs",
        act=sigterm("create", creating, supervisor=True),
        dag=BLOCKING,
        run=is_("success", "failed"),
        clusters=range(1, 3),
        ended_by=by(TEARDOWN, CLEAN_UP, NEXT_OWNER),
    ),
    Scenario(
        name="sigterm_stepping",
        phase="steps run",
        act=sigterm("steps", stepping("running"), supervisor=False),
        dag={**BLOCKING, "step_seconds": 300},
        run=SUCCESS,
        steps=range(2, 3),
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="sigkill_creating",
        phase="create runs",
        act=sigkill,
        dag=BLOCKING,
        run=is_("success", "failed"),
        # Airflow 2 does not end the task's own process; its late failure may overwrite the success of the retry.
        ended_by=lambda version: {TEARDOWN, NEXT_OWNER} if version >= (3,) else {TEARDOWN, NEXT_OWNER, IDLE},
    ),
    Scenario(
        name="deferral_timeout_launching",
        phase="create is deferred",
        act=wait_for(launched),
        dag={"airflow_times_out_first": True},
        tasks={"create": FAILED},
        clusters=range(1, 3),
        ended_by=by(CLEAN_UP),
    ),
    Scenario(
        name="lock_timeout_queued",
        phase="create is queued",
        act=wait_for(queued),
        dag={"lock_timeout": 3},
        tasks={"create": FAILED},
        holder=True,
        clusters=range(1),
        ended_by=by(NOTHING),
    ),
    Scenario(
        name="execution_timeout_creating",
        phase="create runs",
        act=wait_for(creating),
        dag={**BLOCKING, "execution_timeout": {"eip.create": 7}},
        tasks={"create": FAILED},
        clusters=range(1, 3),
        ended_by=by(CLEAN_UP),
    ),
    Scenario(
        name="execution_timeout_stepping",
        phase="steps run",
        act=wait_for(stepping("running")),
        dag={**BLOCKING, "step_seconds": 600, "execution_timeout": {"eip.steps": 15}},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        steps=range(1, 3),
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="execution_timeout_stepping_deferred",
        phase="steps are deferred",
        act=wait_for(stepping("deferred")),
        dag={"step_seconds": 600, "execution_timeout": {"eip.steps": 15}},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        steps=range(1, 3),
        ended_by=by(TEARDOWN),
    ),
    Scenario(
        name="execution_timeout_launching",
        phase="create is deferred",
        act=wait_for(launched),
        dag={"execution_timeout": {"eip.create": 8}},
        run=is_("success", "failed"),
        clusters=range(1, 3),
        ended_by=by(CLEAN_UP, TEARDOWN),
    ),
    Scenario(
        name="dagrun_timeout_creating",
        phase="create runs",
        act=wait_for(creating),
        dag={**BLOCKING, "bind_at": "cluster_ready", "dagrun_timeout": 12},
        ended_by=by(CLEAN_UP),
    ),
    Scenario(
        name="dagrun_timeout_launching",
        phase="create is deferred",
        act=wait_for(launching),
        dag={"bind_at": "cluster_ready", "dagrun_timeout": 14},
        ended_by=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="dagrun_timeout_stepping",
        phase="steps are deferred",
        act=wait_for(stepping("deferred")),
        dag={"dagrun_timeout": 60, "step_seconds": 900},
        ended_by=by(IDLE),
    ),
    Scenario(
        name="run_marked_failed_launching",
        phase="create is deferred",
        act=fail_run(launching),
        ended_by=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="run_marked_failed_stepping",
        phase="steps are deferred",
        act=fail_run(stepping("deferred")),
        dag={"step_seconds": 300},
        # Airflow lets the teardown run and then computes the run's state again, from leaf tasks that it has skipped.
        run=is_("failed", "success"),
        ended_by=by(IDLE, TEARDOWN),
    ),
    Scenario(
        name="dag_deleted_launching",
        phase="create is deferred",
        act=delete_dag(launching),
        run=frozenset(),
        ended_by=since_3_3({TRIGGER, NEXT_OWNER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="dag_deleted_stepping",
        phase="steps are deferred",
        act=delete_dag(stepping("deferred")),
        dag={"step_seconds": 300},
        run=frozenset(),
        ended_by=by(IDLE),
    ),
    Scenario(
        name="teardown_skipped",
        phase="steps are deferred",
        act=skip_teardown,
        dag={"step_seconds": 150},
        run=is_("success", "failed"),
        tasks={"terminate": is_("skipped")},
        ended_by=by(IDLE),
    ),
    *(
        Scenario(
            name=f"triggerer_killed_{name}",
            phase=phase,
            act=kill_triggerer(there),
            dag=dag,
            run=SUCCESS,
            holder=there is queued,
            alone=True,
            ended_by=by(TEARDOWN),
        )
        for name, phase, there, dag in (
            ("queued", "create is queued", queued, {}),
            ("launching", "create is deferred", launching, {}),
            ("stepping", "steps are deferred", stepping("deferred"), {"step_seconds": 300}),
            ("ending", "terminate is deferred", ending, {}),
        )
    ),
    Scenario(
        name="two_triggerers",
        phase="every deferral",
        act=two_triggerers,
        dag={"step_seconds": 400},
        run=SUCCESS,
        alone=True,
        ended_by=by(TEARDOWN),
    ),
]


def run_scenario(scenario: Scenario, environment: Any) -> tuple[str, dict[str, str | None]]:
    """
    DagRun a scenario, and then a run of the next owner.

    :return: the run's final state, empty when it does not end, and its tasks' states.
    """
    run = DagRun(environment, scenario.name)
    holder = DagRun(environment, scenario.name, dag_id=next_of(scenario.name))
    if scenario.holder:
        holder.start().launched()
    scenario.act(run)
    state = run.end() if scenario.run else ""
    tasks = run.states() if scenario.run else {}
    if scenario.holder:
        _must_succeed(holder)
    _must_succeed(DagRun(environment, scenario.name, dag_id=next_of(scenario.name)).start())
    run.wait("end of all clusters", lambda: all(c.ended for c in environment.evidence(scenario.name).clusters))
    return state, tasks


def _must_succeed(run: DagRun) -> None:
    state = run.end()
    if state != "success":
        raise AssertionError(f"the next run on the address ended {state}: {run.states()}")
