"""Run an operator in the process of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import ElasticIpError

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.cli.signals import StoppedOnce
    from airflow_eip_provider.hooks.aws import AwsHooks


class TaskInstance:
    """What an operator needs of its task instance: IDs, and XComs, which are kept in memory."""

    def __init__(self, dag_id: str, run_id: str, task_id: str) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = dag_id, run_id, task_id, -1
        self.try_number, self.max_tries = 1, 0
        self.start_date = clock.now()
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Store a value."""
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, **_: Any) -> Any:
        """Return a value of this task; the operators read no other task's."""
        return self.xcoms.get(key)


class OnHooks:
    """
    A mixin that makes an operator use the hooks of a command.

    :cvar signals: what stops the command; an undo is not stopped.
    """

    command_hooks: AwsHooks
    signals: StoppedOnce | None = None

    @property
    def aws(self) -> AwsHooks:
        """The hooks of the command."""
        return self.command_hooks

    def undo(self, context: Context, state: Any) -> None:
        """Undo what the task did, without interruption."""
        if self.signals is not None:
            self.signals.is_shielded = True
        super().undo(context, state)  # type: ignore[misc]


def run_operator(operator: Any, hooks: AwsHooks, ti: TaskInstance, *, signals: StoppedOnce | None = None) -> Any:
    """
    Run an operator until it has finished, without deferral.

    :param operator: an operator with the mixin ``OnHooks``.
    :param signals: what stops the command.
    :raises ElasticIpError: the cause of a failure that Airflow would not retry.
    """
    operator.command_hooks, operator.signals = hooks, signals
    context: Any = {"ti": ti, "task_instance": ti}
    operator.pre_execute(context)
    try:
        return operator.execute(context)
    except AirflowFailException as failed:
        if isinstance(failed.__cause__, ElasticIpError):
            raise failed.__cause__ from None
        raise
