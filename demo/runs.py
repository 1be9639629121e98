"""The DAG runs that the demo starts, and the progress of their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.airflow import FINAL_RUN_STATES

if TYPE_CHECKING:
    from datetime import datetime

    from demo.aws import AwsClient
    from harness.airflow import Airflow, TaskState
    from harness.console import Console


class Runs:
    """One run of each of several DAGs, by DAG id."""

    def __init__(self, *, console: Console, airflow: Airflow, aws: AwsClient) -> None:
        self._console = console
        self._airflow = airflow
        self._aws = aws
        self._run_ids: dict[str, str] = {}
        self._printed: dict[str, str | None] = {}
        self.states: dict[str, str] = {}
        self.wanted_since: dict[str, datetime] = {}

    def start(self, dag_id: str) -> None:
        """Start a run."""
        self._run_ids[dag_id] = self._airflow.rest.trigger(dag_id)
        self.wanted_since[dag_id] = self._aws.time()
        self._console.step(f"{dag_id}: started")

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG."""
        self._airflow.rest.unpause(dag_id)

    def read_states(self) -> None:
        """Read the states of the runs."""
        self.states = {dag_id: self._airflow.rest.run_state(dag_id, run) for dag_id, run in self._run_ids.items()}

    def have_ended(self, *dag_ids: str) -> bool:
        """Whether these runs had ended when their states were read."""
        return all(self.states.get(dag_id) in FINAL_RUN_STATES for dag_id in dag_ids)

    def tasks_of(self, dag_id: str) -> list[TaskState]:
        """Read the task instances of a run."""
        return self._airflow.rest.tasks(dag_id, self._run_ids[dag_id])

    def tasks(self) -> list[TaskState]:
        """Read the task instances of all runs, and print those that changed."""
        tasks = [task for dag_id in self._run_ids for task in self.tasks_of(dag_id)]
        for task in tasks:
            if task.state != self._printed.get(task.id) and task.state not in {None, "scheduled", "queued"}:
                self._printed[task.id] = task.state
                self._console.step(f"{task.dag_id}.{task.task_id}: {task.state}")
        return tasks

    def tries(self, *dag_ids: str) -> dict[str, int]:
        """Return the greatest number of tries of any task of each DAG."""
        return {dag_id: max(task.try_number for task in self.tasks_of(dag_id)) for dag_id in dag_ids}

    def unfinished_tasks(self) -> str:
        """Return the tasks that have started and not ended, and their states."""
        return ", ".join(
            f"{task.dag_id}.{task.task_id} ({task.state})"
            for dag_id in self._run_ids
            if not self.have_ended(dag_id)
            for task in self.tasks_of(dag_id)
            if task.state not in {None, *FINAL_RUN_STATES}
        )
