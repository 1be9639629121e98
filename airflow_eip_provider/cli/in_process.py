"""An operator of a DAG, carried out in the process of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import ElasticIpError

if TYPE_CHECKING:
    from airflow_eip_provider.hooks.aws import AwsHooks


class TaskInstance:
    """What an operator needs of its task instance: names, and XComs, which live as long as this process."""

    def __init__(self, dag_id: str, run_id: str, task_id: str) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = dag_id, run_id, task_id, -1
        self.try_number, self.max_tries = 1, 0
        self.start_date = clock.now()
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, **_: Any) -> Any:
        """Return a value of this task; the operators ask for no other's."""
        return self.xcoms.get(key)


class OnHooks:
    """An operator on the hooks of a command."""

    here: AwsHooks

    @property
    def aws(self) -> AwsHooks:
        """What the connection gives access to."""
        return self.here


def carry_out(operator: Any, hooks: AwsHooks, ti: TaskInstance) -> Any:
    """
    Carry an operator out, as a task that waits in its worker.

    :param operator: with ``OnHooks`` among its classes.
    :raises ElasticIpError: for what an operator tells Airflow not to retry.
    """
    operator.here = hooks
    context: Any = {"ti": ti, "task_instance": ti}
    operator.pre_execute(context)
    try:
        return operator.execute(context)
    except AirflowFailException as failed:
        if isinstance(failed.__cause__, ElasticIpError):
            raise failed.__cause__ from None
        raise
