"""One DAG run after the other: create, a guarded step, terminate; each task retried as Airflow does."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from harness.life import Task
from tests.verification.stress import plan
from tests.verification.stress.journal import ABSENT, BEGUN, FAILED, SUCCESS, VANISHED, Note

if TYPE_CHECKING:
    from tests.verification.stress.journal import Journal
    from tests.verification.stress.plan import Job
    from tests.verification.stress.worker import Process


def live(job: Job, journal: Journal, *, process: Process, vanished: type[BaseException]) -> None:
    """Live every run that the journal does not know as ended; the first of them may have begun in an earlier life."""
    ended = {note.run for note in journal.notes if not note.task}
    for run in range(job.options.periods):
        if run not in ended:
            Run(job, journal, run, process=process, vanished=vanished).live()
            journal.forget(run)


class Run:
    """
    One DAG run.

    :param vanished: what is raised out of a try whose process is gone.
    """

    def __init__(
        self, job: Job, journal: Journal, run: int, *, process: Process, vanished: type[BaseException]
    ) -> None:
        self._job = job
        self._journal = journal
        self._run = run
        self._process = process
        self._vanished = vanished
        self._trouble = plan.trouble(job, run)

    def live(self) -> None:
        """Go through the tasks; the teardown follows whatever became of the others."""
        job_flow_id = self._task("create")
        done = job_flow_id is not None and self._task("steps", job_flow_id) is not None
        done = self._task("terminate", job_flow_id) is not None and done
        self._note("", 0, SUCCESS if done else FAILED, final=True)

    def _task(self, task: str, job_flow_id: str | None = None) -> str | None:
        """Try until a try succeeds or none is left; go on where an earlier life of this worker stopped."""
        tries = 0
        for note in self._journal.of(self._run, task):
            if note.final:
                return note.text if note.what == SUCCESS else None
            tries = note.try_number
        while True:
            tries += 1
            what, text, permanent = self._try(task, tries, job_flow_id)
            final = what == SUCCESS or permanent or tries >= plan.MAX_TRIES[task]
            self._note(task, tries, what, text, final=final)
            if final:
                return text if what == SUCCESS else None
            time.sleep(plan.ABSENT_SECONDS if what == ABSENT else plan.RETRY_DELAY)

    def _try(self, task: str, number: int, job_flow_id: str | None) -> tuple[str, str, bool]:
        self._note(task, number, BEGUN)
        trouble = self._trouble if number == 1 and self._trouble and self._trouble.task == task else None
        self._process.begin(calls=trouble.call if trouble else None)
        attempt = Task(self._operator(task, job_flow_id), dag_id="stress", run_id=self._run_id, try_number=number)
        try:
            attempt.start()
        except self._vanished:
            return (ABSENT if trouble and trouble.absent else VANISHED), "", False
        finally:
            self._process.begin(calls=None)
        if attempt.error is None:
            return SUCCESS, str(attempt.result), False
        error = attempt.error
        return FAILED, f"{type(error).__name__}: {error}", isinstance(error, AirflowFailException)

    def _operator(self, task: str, job_flow_id: str | None) -> Any:
        options = self._job.options
        given: dict[str, Any] = {
            "task_id": task,
            "allocation_id": self._job.allocation_id,
            "aws_conn_id": None,
            "lock_store": options.lock_store,
            "waiter_delay": plan.POLL[task],
            "deferrable": False,
        }
        if task == "create":
            return EmrCreateWithStaticIpOperator(
                **given,
                emr_conn_id=None,
                job_flow_overrides=_cluster(self._job.worker),
                waiter_max_attempts=20,
                prewarm=self._job.number % 4 != 0,
                lock_timeout=timedelta(days=30),
                idle_timeout=timedelta(seconds=plan.IDLE_SECONDS),
            )
        if task == "steps":
            return EmrAddStepsWithStaticIpOperator(**given, job_flow_id=job_flow_id, steps=[_STEP])
        return EmrTerminateWithStaticIpOperator(**given, job_flow_id=job_flow_id, waiter_max_attempts=50)

    @property
    def _run_id(self) -> str:
        return f"{self._job.worker}-{self._run:04}"

    def _note(self, task: str, number: int, what: str, text: str = "", *, final: bool = False) -> None:
        self._journal.add(Note(time.time(), self._job.worker, self._run, task, number, what, text, final))


_STEP = {
    "Name": "read",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["--sleep", str(plan.STEP_SECONDS)]},
}


def _cluster(worker: str) -> dict[str, Any]:
    return {
        "Name": f"stress-{worker}",
        "ReleaseLabel": "emr-7.5.0",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "Instances": {
            "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
            "KeepJobFlowAliveWhenNoSteps": True,
        },
    }
