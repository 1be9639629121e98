"""DAG runs that the demo starts, and what is told of their tasks meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.airflow import FINAL_RUN_STATES

if TYPE_CHECKING:
    from datetime import datetime

    from demo.aws import AwsClient
    from harness.airflow import Airflow, TaskState
    from harness.console import Console


class Runs:
    """Runs of different DAGs, by their DAGs' ids."""

    def __init__(self, *, console: Console, airflow: Airflow, aws: AwsClient) -> None:
        self._console = console
        self._airflow = airflow
        self._aws = aws
        self._run_ids: dict[str, str] = {}
        self._told: dict[str, str | None] = {}
        self.states: dict[str, str] = {}
        self.wanted_since: dict[str, datetime] = {}

    def start(self, dag_id: str) -> None:
        """Start a run."""
        self._run_ids[dag_id] = self._airflow.rest.trigger(dag_id)
        self.wanted_since[dag_id] = self._aws.time()
        self._console.step(f"{dag_id}: started")

    def unpause(self, dag_id: str) -> None:
        """Let runs of a DAG start that is paused when it is new."""
        self._airflow.rest.unpause(dag_id)

    def look(self) -> None:
        """Read the states of the runs."""
        self.states = {dag_id: self._airflow.rest.run_state(dag_id, run) for dag_id, run in self._run_ids.items()}

    def have_ended(self, *dag_ids: str) -> bool:
        """Whether these were seen to have ended."""
        return all(self.states.get(dag_id) in FINAL_RUN_STATES for dag_id in dag_ids)

    def tasks_of(self, dag_id: str) -> list[TaskState]:
        """Read the task instances of a run."""
        return self._airflow.rest.tasks(dag_id, self._run_ids[dag_id])

    def tasks(self) -> list[TaskState]:
        """Read the task instances of all runs, and tell those that changed."""
        found = [task for dag_id in self._run_ids for task in self.tasks_of(dag_id)]
        for task in found:
            if task.state != self._told.get(task.id) and task.state not in {None, "scheduled", "queued"}:
                self._told[task.id] = task.state
                self._console.step(f"{task.dag_id}.{task.task_id}: {task.state}")
        return found

    def tries(self, *dag_ids: str) -> dict[str, int]:
        """Return how many tries the most tried task of each DAG has needed."""
        return {dag_id: max(task.try_number for task in self.tasks_of(dag_id)) for dag_id in dag_ids}

    def where(self) -> str:
        """Say which tasks of the runs that have not ended are on their way."""
        return ", ".join(
            f"{task.dag_id}.{task.task_id} ({task.state})"
            for dag_id in self._run_ids
            if not self.have_ended(dag_id)
            for task in self.tasks_of(dag_id)
            if task.state not in {None, *FINAL_RUN_STATES}
        )
