"""Runs DAG runs one after the other: create, a fenced step, terminate; each task is retried as Airflow does it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from harness.job_flow import one_node, sleeping_step
from harness.life import Task
from tests.verification.stress import plan
from tests.verification.stress.try_log import BEGUN, FAILED, KILLED, KILLED_LATE_RETRY, SUCCESS, TryEvent

if TYPE_CHECKING:
    from tests.verification.stress.plan import Job
    from tests.verification.stress.try_log import TryLog
    from tests.verification.stress.worker import SimulatedProcess


def run_all(job: Job, try_log: TryLog, *, process: SimulatedProcess, killed: type[BaseException]) -> None:
    """Run every DAG run that has not ended by the try log; a killed worker may have begun the first of them."""
    ended = {event.run for event in try_log.events if not event.task}
    for run in range(job.options.periods):
        if run not in ended:
            DagRun(job, try_log, run, process=process, killed=killed).run()
            try_log.forget(run)


class DagRun:
    """
    One DAG run.

    :param killed: the exception that a try whose process was killed raises.
    """

    def __init__(
        self, job: Job, try_log: TryLog, run: int, *, process: SimulatedProcess, killed: type[BaseException]
    ) -> None:
        self._job = job
        self._try_log = try_log
        self._run = run
        self._process = process
        self._killed = killed
        self._planned_kill = plan.planned_kill(job, run)

    def run(self) -> None:
        """Run the tasks; the teardown runs even if another task failed."""
        job_flow_id = self._task("create")
        done = job_flow_id is not None and self._task("steps", job_flow_id) is not None
        done = self._task("terminate", job_flow_id) is not None and done
        self._log("", 0, SUCCESS if done else FAILED, final=True)

    def _task(self, task: str, job_flow_id: str | None = None) -> str | None:
        """Run tries until one succeeds or none is left, after those that a killed worker has logged."""
        tries = 0
        for event in self._try_log.of(self._run, task):
            if event.final:
                return event.text if event.what == SUCCESS else None
            tries = event.try_number
        while True:
            tries += 1
            what, text, permanent = self._try(task, tries, job_flow_id)
            final = what == SUCCESS or permanent or tries >= plan.MAX_TRIES[task]
            self._log(task, tries, what, text, final=final)
            if final:
                return text if what == SUCCESS else None
            clock.sleep(plan.LATE_RETRY_DELAY if what == KILLED_LATE_RETRY else plan.RETRY_DELAY)

    def _try(self, task: str, number: int, job_flow_id: str | None) -> tuple[str, str, bool]:
        self._log(task, number, BEGUN)
        kill = self._planned_kill if number == 1 and self._planned_kill and self._planned_kill.task == task else None
        self._process.restart(calls=kill.call if kill else None)
        attempt = Task(self._operator(task, job_flow_id), dag_id="stress", run_id=self._run_id, try_number=number)
        try:
            attempt.start()
        except self._killed:
            return (KILLED_LATE_RETRY if kill and kill.late_retry else KILLED), "", False
        finally:
            self._process.restart(calls=None)
        if attempt.error is None:
            return SUCCESS, str(attempt.result), False
        error = attempt.error
        return FAILED, f"{type(error).__name__}: {error}", isinstance(error, AirflowFailException)

    def _operator(self, task: str, job_flow_id: str | None) -> Any:
        options = self._job.options
        shared: dict[str, Any] = {
            "task_id": task,
            "allocation_id": self._job.allocation_id,
            "aws_conn_id": None,
            "lock_store": options.lock_store,
            "waiter_delay": options.poll(task),
            "deferrable": False,
        }
        if task == "create":
            return EmrCreateWithStaticIpOperator(
                **shared,
                emr_conn_id=None,
                job_flow_overrides=one_node(f"stress-{self._job.worker}"),
                waiter_max_attempts=20,
                prewarm=self._job.number % 4 != 0,
                lock_timeout=timedelta(days=30),
                idle_timeout=timedelta(seconds=plan.IDLE_SECONDS),
            )
        if task == "steps":
            steps = [sleeping_step(plan.STEP_SECONDS)]
            return EmrAddStepsWithStaticIpOperator(**shared, job_flow_id=job_flow_id, steps=steps)
        return EmrTerminateWithStaticIpOperator(**shared, job_flow_id=job_flow_id, waiter_max_attempts=50)

    @property
    def _run_id(self) -> str:
        return f"{self._job.worker}-{self._run:04}"

    def _log(self, task: str, number: int, what: str, text: str = "", *, final: bool = False) -> None:
        self._try_log.add(TryEvent(clock.time(), self._job.worker, self._run, task, number, what, text, final))
