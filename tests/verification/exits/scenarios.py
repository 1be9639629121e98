"""The exits: how each is brought about, and what must come of it."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.verification.exits.world import Run, next_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Version = tuple[int, ...]

# The nets, by who ends the cluster of the run that was made to exit; the lease says why it ended.
CLEAN_UP = "task's clean-up"
TRIGGER = "trigger's on_kill"
TEARDOWN = "teardown"
NEXT_OWNER = "next owner"
IDLE = "idle termination"
NOTHING = "nothing was launched"

BLOCKING = {"deferrable": False}
# Long enough for a run that starts meanwhile to queue, and to be done with there.
HOLDER = {"step_seconds": 300}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """
    One exit.

    :param phase: where the run is then.
    :param act: brings it about.
    :param dag: parameters of the DAG.
    :param run: the states that the run may end in; empty when it does not end or is no more.
    :param run_on_airflow_2: further ones there.
    :param tasks: the states that tasks may end in.
    :param clusters: how many clusters the run may launch.
    :param steps: how many steps it may submit.
    :param net: what may end its last cluster, by version.
    :param alone: it does something to what all share, so nothing else plays meanwhile.
    :param holder: the next owner is the first here: it holds the address when the run starts.
    """

    name: str
    phase: str
    act: Callable[[Run], None]
    net: Callable[[Version], set[str]]
    dag: Mapping[str, Any] = field(default_factory=dict)
    run: frozenset[str] = frozenset({"failed"})
    run_on_airflow_2: frozenset[str] = frozenset()
    tasks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    clusters: range = range(1, 2)
    steps: range = range(2)
    alone: bool = False
    holder: bool = False


def by(*nets: str) -> Callable[[Version], set[str]]:
    """Return the same nets for every version."""
    return lambda _: set(nets)


def since_3_3(new: set[str], old: set[str]) -> Callable[[Version], set[str]]:
    """Return the nets where the kill of a deferred task reaches code of ours, and where it does not."""
    return lambda version: new if version >= (3, 3) else old


def is_(*states: str) -> frozenset[str]:
    return frozenset(states)


SUCCESS, FAILED = is_("success"), is_("failed")


# --- Bringing a run into a phase -------------------------------------------------------------------------------------


def creating(run: Run) -> Run:
    """The creating task runs, and its cluster is launched."""
    run.start().launched()
    run.reach("create", "running")
    return run


def launched(run: Run) -> Run:
    """The cluster is launched."""
    run.start().launched()
    return run


def launching(run: Run) -> Run:
    """The creating task is deferred until the primary node runs."""
    run.start().launched()
    run.defer("create")
    return run


def queued(run: Run) -> Run:
    """The creating task is deferred in the queue, behind the next owner."""
    run.start().defer("create")
    return run


def stepping(state: str) -> Callable[[Run], Run]:
    """The task of the steps is deferred, or runs, and the step runs."""

    def phase(run: Run) -> Run:
        run.start().step_runs()
        if state == "deferred":
            run.defer("steps")
        run.reach("steps", state)
        return run

    return phase


def ending(run: Run) -> Run:
    """The teardown is deferred."""
    run.start().reach("terminate", "deferred")
    return run


# --- The exits -------------------------------------------------------------------------------------------------------


def mark(task_id: str, state: str, phase: Callable[[Run], Run]) -> Callable[[Run], None]:
    return lambda run: phase(run).mark(task_id, state)


def clear(task_id: str, phase: Callable[[Run], Run]) -> Callable[[Run], None]:
    return lambda run: phase(run).clear(task_id)


def sigterm(task_id: str, phase: Callable[[Run], Run], *, supervisor: bool) -> Callable[[Run], None]:
    return lambda run: phase(run).kill(task_id, supervisor=supervisor)


def sigkill(run: Run) -> None:
    creating(run).kill("create", supervisor=True, number=signal.SIGKILL)


def wait_for(phase: Callable[[Run], Run]) -> Callable[[Run], None]:
    """The run ends itself; only get there."""
    return lambda run: phase(run) and None


def fail_run(phase: Callable[[Run], Run]) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        phase(run)
        run.rest.set_run_state(run.dag_id, run.run_id, "failed")

    return act


def delete_dag(phase: Callable[[Run], Run]) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        phase(run).rest.delete_dag(run.dag_id)

    return act


def skip_teardown(run: Run) -> None:
    stepping("deferred")(run).mark("terminate", "skipped")


def kill_triggerer(phase: Callable[[Run], Run]) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        phase(run)
        airflow = run.world.airflow
        airflow.end_triggerer()
        time.sleep(3)
        airflow.start_triggerer()

    return act


def two_triggerers(run: Run) -> None:
    """One stands still until the other has its triggers, and both run the same ones then; one ends, then the other."""
    airflow = run.world.airflow
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
        net=by(TEARDOWN),
    ),
    Scenario(
        name="mark_failed_creating",
        phase="create runs",
        act=mark("create", "failed", creating),
        dag=BLOCKING,
        tasks={"create": FAILED},
        net=by(CLEAN_UP),
    ),
    Scenario(
        name="mark_failed_launching",
        phase="create is deferred",
        act=mark("create", "failed", launching),
        tasks={"create": FAILED},
        net=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="mark_failed_queued",
        phase="create is queued",
        act=mark("create", "failed", queued),
        tasks={"create": FAILED},
        holder=True,
        clusters=range(1),
        net=by(NOTHING),
    ),
    Scenario(
        name="mark_failed_stepping",
        phase="steps run",
        act=mark("steps", "failed", stepping("running")),
        dag={**BLOCKING, "step_seconds": 300},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        net=by(TEARDOWN),
    ),
    Scenario(
        name="mark_failed_stepping_deferred",
        phase="steps are deferred",
        act=mark("steps", "failed", stepping("deferred")),
        dag={"step_seconds": 300},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        net=by(TEARDOWN),
    ),
    Scenario(
        name="mark_failed_ending",
        phase="terminate is deferred",
        act=mark("terminate", "failed", ending),
        tasks={"terminate": FAILED},
        net=by(TEARDOWN),
    ),
    Scenario(
        name="mark_success_creating",
        phase="create runs",
        act=mark("create", "success", creating),
        dag={**BLOCKING, "bind_at": "cluster_ready"},
        # It may have handed over before Airflow comes to kill it; then all goes on as if nobody had marked it.
        run=is_("failed", "success"),
        tasks={"create": SUCCESS},
        net=by(CLEAN_UP, TEARDOWN),
    ),
    Scenario(
        name="mark_success_launching",
        phase="create is deferred",
        act=mark("create", "success", launching),
        tasks={"create": SUCCESS},
        net=since_3_3({TRIGGER}, {NEXT_OWNER, IDLE, TEARDOWN}),
    ),
    Scenario(
        name="mark_success_stepping_deferred",
        phase="steps are deferred",
        act=mark("steps", "success", stepping("deferred")),
        dag={"step_seconds": 300},
        run=SUCCESS,
        tasks={"steps": SUCCESS, "terminate": SUCCESS},
        net=by(TEARDOWN),
    ),
    Scenario(
        name="clear_creating",
        phase="create runs",
        act=clear("create", creating),
        dag=BLOCKING,
        run=SUCCESS,
        # The old process may mark the new try, which is queued already, as failed.
        run_on_airflow_2=FAILED,
        clusters=range(1, 3),
        net=lambda version: {TEARDOWN} if version >= (3,) else {TEARDOWN, CLEAN_UP},
    ),
    Scenario(
        name="clear_launching",
        phase="create is deferred",
        act=clear("create", launching),
        run=SUCCESS,
        clusters=range(1, 3),
        net=by(TEARDOWN),
    ),
    Scenario(
        name="clear_queued",
        phase="create is queued",
        act=clear("create", queued),
        run=SUCCESS,
        holder=True,
        net=by(TEARDOWN),
    ),
    Scenario(
        name="clear_create_only",
        phase="steps run",
        act=clear("create", stepping("running")),
        dag={**BLOCKING, "step_seconds": 300},
        run=SUCCESS,
        net=by(TEARDOWN),
    ),
    Scenario(
        name="clear_create_only_deferred",
        phase="steps are deferred",
        act=clear("create", stepping("deferred")),
        dag={"step_seconds": 300},
        run=SUCCESS,
        net=by(TEARDOWN),
    ),
    Scenario(
        name="clear_stepping_deferred",
        phase="steps are deferred",
        act=clear("steps", stepping("deferred")),
        dag={"step_seconds": 300},
        run=SUCCESS,
        steps=range(1, 3),
        net=by(TEARDOWN),
    ),
    Scenario(
        name="sigterm_creating",
        phase="create runs",
        act=sigterm("create", creating, supervisor=False),
        dag=BLOCKING,
        run=SUCCESS,
        clusters=range(2, 3),
        net=by(TEARDOWN),
    ),
    Scenario(
        name="sigterm_worker_creating",
        phase="create runs",
        act=sigterm("create", creating, supervisor=True),
        dag=BLOCKING,
        run=is_("success", "failed"),
        clusters=range(1, 3),
        net=by(TEARDOWN, CLEAN_UP, NEXT_OWNER),
    ),
    Scenario(
        name="sigterm_stepping",
        phase="steps run",
        act=sigterm("steps", stepping("running"), supervisor=False),
        dag={**BLOCKING, "step_seconds": 300},
        run=SUCCESS,
        steps=range(2, 3),
        net=by(TEARDOWN),
    ),
    Scenario(
        name="sigkill_creating",
        phase="create runs",
        act=sigkill,
        dag=BLOCKING,
        run=is_("success", "failed"),
        # Airflow 2 leaves the task itself alive; its late failure may overwrite the success of the retry.
        net=lambda version: {TEARDOWN, NEXT_OWNER} if version >= (3,) else {TEARDOWN, NEXT_OWNER, IDLE},
    ),
    Scenario(
        name="deferral_timeout_launching",
        phase="create is deferred",
        act=wait_for(launched),
        dag={"airflow_times_out_first": True},
        tasks={"create": FAILED},
        clusters=range(1, 3),
        net=by(CLEAN_UP),
    ),
    Scenario(
        name="lock_timeout_queued",
        phase="create is queued",
        act=wait_for(queued),
        dag={"lock_timeout": 3},
        tasks={"create": FAILED},
        holder=True,
        clusters=range(1),
        net=by(NOTHING),
    ),
    Scenario(
        name="execution_timeout_creating",
        phase="create runs",
        act=wait_for(creating),
        dag={**BLOCKING, "execution_timeout": {"eip.create": 7}},
        tasks={"create": FAILED},
        clusters=range(1, 3),
        net=by(CLEAN_UP),
    ),
    Scenario(
        name="execution_timeout_stepping",
        phase="steps run",
        act=wait_for(stepping("running")),
        dag={**BLOCKING, "step_seconds": 600, "execution_timeout": {"eip.steps": 15}},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        steps=range(1, 3),
        net=by(TEARDOWN),
    ),
    Scenario(
        name="execution_timeout_stepping_deferred",
        phase="steps are deferred",
        act=wait_for(stepping("deferred")),
        dag={"step_seconds": 600, "execution_timeout": {"eip.steps": 15}},
        tasks={"steps": FAILED, "terminate": SUCCESS},
        steps=range(1, 3),
        net=by(TEARDOWN),
    ),
    Scenario(
        name="execution_timeout_launching",
        phase="create is deferred",
        act=wait_for(launched),
        dag={"execution_timeout": {"eip.create": 8}},
        run=is_("success", "failed"),
        clusters=range(1, 3),
        net=by(CLEAN_UP, TEARDOWN),
    ),
    Scenario(
        name="dagrun_timeout_creating",
        phase="create runs",
        act=wait_for(creating),
        dag={**BLOCKING, "bind_at": "cluster_ready", "dagrun_timeout": 12},
        net=by(CLEAN_UP),
    ),
    Scenario(
        name="dagrun_timeout_launching",
        phase="create is deferred",
        act=wait_for(launching),
        dag={"bind_at": "cluster_ready", "dagrun_timeout": 14},
        net=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="dagrun_timeout_stepping",
        phase="steps are deferred",
        act=wait_for(stepping("deferred")),
        dag={"dagrun_timeout": 60, "step_seconds": 900},
        net=by(IDLE),
    ),
    Scenario(
        name="run_marked_failed_launching",
        phase="create is deferred",
        act=fail_run(launching),
        net=since_3_3({TRIGGER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="run_marked_failed_stepping",
        phase="steps are deferred",
        act=fail_run(stepping("deferred")),
        dag={"step_seconds": 300},
        # Airflow lets the teardown run and then judges the run anew, by leaves that it has skipped itself.
        run=is_("failed", "success"),
        net=by(IDLE, TEARDOWN),
    ),
    Scenario(
        name="dag_deleted_launching",
        phase="create is deferred",
        act=delete_dag(launching),
        run=frozenset(),
        net=since_3_3({TRIGGER, NEXT_OWNER}, {NEXT_OWNER}),
    ),
    Scenario(
        name="dag_deleted_stepping",
        phase="steps are deferred",
        act=delete_dag(stepping("deferred")),
        dag={"step_seconds": 300},
        run=frozenset(),
        net=by(IDLE),
    ),
    Scenario(
        name="teardown_skipped",
        phase="steps are deferred",
        act=skip_teardown,
        dag={"step_seconds": 150},
        run=is_("success", "failed"),
        tasks={"terminate": is_("skipped")},
        net=by(IDLE),
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
            net=by(TEARDOWN),
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
        net=by(TEARDOWN),
    ),
]


def play(scenario: Scenario, world: Any) -> tuple[str, dict[str, str | None]]:
    """
    Play a scenario, and then the next owner's run to its end.

    :return: the run's state, empty when it does not end, and its tasks' states.
    """
    run = Run(world, scenario.name)
    holder = Run(world, scenario.name, dag_id=next_of(scenario.name))
    if scenario.holder:
        holder.start().launched()
    scenario.act(run)
    state = run.end() if scenario.run else ""
    tasks = run.states() if scenario.run else {}
    if scenario.holder:
        _must_succeed(holder)
    _must_succeed(Run(world, scenario.name, dag_id=next_of(scenario.name)).start())
    run.wait("end of all clusters", lambda: all(c.ended for c in world.evidence(scenario.name).clusters))
    return state, tasks


def _must_succeed(run: Run) -> None:
    state = run.end()
    if state != "success":
        raise AssertionError(f"the next run on the address ended {state}: {run.states()}")
