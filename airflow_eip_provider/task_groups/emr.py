"""An EMR cluster that carries an Elastic IP, as a task group around what needs it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self

from airflow_eip_provider.airflow_compat import BaseOperator, EmptyOperator, TaskGroup
from airflow_eip_provider.egress_probe import egress_probe_step
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.eip import EipReleaseOperator
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.sensors.eip import EipAssociationSensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

# Which of Airflow's parameters are a group's and which are every task's differs between its versions.
_OF_THE_GROUP = frozenset(inspect.signature(TaskGroup).parameters)
_OF_EVERY_TASK = frozenset(inspect.signature(BaseOperator).parameters) - _OF_THE_GROUP - {"kwargs"}
_SHARED = frozenset(
    {"aws_conn_id", "region_name", "verify", "botocore_config", "deferrable", "lock_store", "waiter_delay"}
)


_LAUNCHED = "{{ ti.xcom_pull(task_ids='%s', key='job_flow_id', map_indexes=ti.map_index) }}"
_PUBLIC_IP = "{{ ti.xcom_pull(task_ids='%s', key='static_ip', map_indexes=ti.map_index)['public_ip'] }}"


class StaticIpCluster(TaskGroup):
    """
    Run what is in the ``with`` block while an EMR cluster carries the Elastic IP, and end both afterwards.

    ::

        with StaticIpCluster("azure", allocation_id="eipalloc-…", job_flow_overrides={...}) as cluster:
            cluster.steps([...])

    Everything in the block, other operators and groups too, runs after ``bound`` and before ``terminate``. The tasks of
    the group are attributes of it:

    - ``create``, an ``EmrCreateWithStaticIpOperator``, and ``bound``, an ``EipAssociationSensor``: the setups.
      ``bound`` fails when the address has left the cluster since ``create``; the teardown ends cluster and lease.
    - ``terminate``, an ``EmrTerminateWithStaticIpOperator``: the teardown. It runs whether the block succeeds or not;
      when it fails, so does the DAG run.
    - ``done``, which needs no worker: the end of the block, for which tasks after the group wait. It fails with the
      block, and the DAG run with it: Airflow judges a run by its last tasks, and a teardown that counts as one would
      hide the failures before it.

    :param group_id: the group's id, and the prefix of its tasks' ids.
    :param allocation_id: the Elastic IP, ``eipalloc-…``. (templated)
    :param kwargs: any parameter of ``TaskGroup``; ``default_args``, with ``retries`` and the like, are for every task.
        ``aws_conn_id``, ``region_name``, ``verify``, ``botocore_config``, ``deferrable``, ``lock_store`` and
        ``waiter_delay`` (not templated here) are for every task that takes them. All others, such as
        ``job_flow_overrides``, ``binding``, ``emr_conn_id``, ``idle_timeout``, ``lock_timeout`` and
        ``waiter_max_attempts``, are for ``EmrCreateWithStaticIpOperator``; the other tasks find in AWS what is bound.
    """

    def __init__(self, group_id: str, *, allocation_id: str, **kwargs: Any) -> None:
        given = {name: kwargs.pop(name) for name in _OF_THE_GROUP & kwargs.keys()}
        if misplaced := sorted(_OF_EVERY_TASK & kwargs.keys()):
            raise InvalidInputError(
                f"making task group '{group_id}'",
                problem=f"{', '.join(misplaced)} can be of any of its tasks",
                remedy="give it in default_args, or set it on one of them, such as cluster.create",
            )
        super().__init__(group_id=group_id, **given)
        self._open = False
        self._steps: list[EmrAddStepsWithStaticIpOperator] = []
        self._unnamed_steps = 0
        shared = {name: kwargs.pop(name) for name in _SHARED & kwargs.keys()}
        here: dict[str, Any] = {"dag": self.dag, "task_group": self}
        self.create = EmrCreateWithStaticIpOperator(
            task_id="create", allocation_id=allocation_id, **here, **shared, **kwargs
        )
        self._shared: dict[str, Any] = {
            "dag": self.dag,
            "allocation_id": allocation_id,
            "job_flow_id": self.job_flow_id,
            **shared,
        }
        # What was launched, not what was returned: a creating task that is marked as success returns nothing, and then
        # the teardown is all that ends its cluster.
        launched = _LAUNCHED % self.create.task_id
        self.bound = EipAssociationSensor(
            task_id="bound",
            task_group=self,
            expect="associated",
            was_bound=True,  # by create
            **{**_as_of_a_sensor(self._shared), "job_flow_id": launched},
        )
        self.terminate = EmrTerminateWithStaticIpOperator(
            task_id="terminate", task_group=self, **{**self._shared, "job_flow_id": launched}
        )
        self.create.set_downstream(self.bound)
        self.done = EmptyOperator(task_id="done", **here)
        # Both are setups, so that a task of the block that is cleared runs again after both.
        self.terminate.as_teardown(setups=[self.create, self.bound], on_failure_fail_dagrun=True)

    @property
    def job_flow_id(self) -> Any:
        """The cluster's id, for parameters and templates of other operators: an ``XComArg``."""
        return self.create.output

    @property
    def static_ip(self) -> Any:
        """The bound address, for parameters and templates: {allocation_id, public_ip, …}, an ``XComArg``."""
        output: Any = self.create.output
        return output["static_ip"]

    def steps(
        self, steps: list[dict[str, Any]] | str, *, task_id: str | None = None, **kwargs: Any
    ) -> EmrAddStepsWithStaticIpOperator:
        """
        Add a task that runs steps on the cluster while it carries the address.

        :param steps: as in ``EmrAddStepsOperator``. (templated, ``.json``)
        :param task_id: by default "steps", then "steps_2" and so on.
        :param kwargs: any further parameter of ``EmrAddStepsWithStaticIpOperator``.
        :raises InvalidInputError: outside the ``with`` block.
        """
        self._check_open("steps")
        if task_id is None:
            self._unnamed_steps += 1
            task_id = "steps" if self._unnamed_steps == 1 else f"steps_{self._unnamed_steps}"
        added = EmrAddStepsWithStaticIpOperator(task_id=task_id, steps=steps, **{**self._shared, **kwargs})
        self._steps.append(added)
        return added

    def probe_egress(
        self, servers: Sequence[str] = (), *, task_id: str = "probe_egress", **kwargs: Any
    ) -> EmrAddStepsWithStaticIpOperator:
        """
        Add a task that fails unless the cluster leaves from the address, and each Azure SQL server admits it.

        :param servers: as of ``egress_probe_step``: ``HOST[:PORT][/DATABASE]``.
        :param kwargs: any further parameter of ``egress_probe_step``.
        :raises InvalidInputError: outside the ``with`` block, and for what cannot be a server.
        """
        step = egress_probe_step(
            public_ip=_PUBLIC_IP % self.create.task_id,
            servers=servers,
            **{"action_on_failure": "CONTINUE", **kwargs},  # Airflow starts nothing that depends on it
        )
        return self.steps([step], task_id=task_id)

    def release_address(self, *, task_id: str = "release", **kwargs: Any) -> EipReleaseOperator:
        """
        Add a task that frees the address while the cluster goes on working: ``steps >> cluster.release_address()``.

        One that comes after nothing in the block is placed after all of ``steps``.

        :param kwargs: any further parameter of ``EipReleaseOperator``.
        :raises InvalidInputError: outside the ``with`` block.
        """
        self._check_open("release_address")
        return EipReleaseOperator(task_id=task_id, **{**self._shared, **kwargs})

    def _check_open(self, method: str) -> None:
        if not self._open:
            raise InvalidInputError(
                f"adding a task to group '{self.group_id}'",
                problem=f"{method}() was called outside its with block, so terminate would not wait for the task",
                remedy="call it inside",
            )

    def __enter__(self) -> Self:
        """Take the tasks that are made from now on into the group."""
        super().__enter__()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wire the block between ``bound`` and ``terminate``; an error in the block is the user's to see."""
        self._open = False
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        if kind is None:
            self._wire()

    def _wire(self) -> None:
        own = {task.task_id for task in (self.create, self.bound, self.terminate, self.done)}
        block = {task.task_id: task for task in self if task.task_id not in own}
        for task in block.values():
            if block.keys().isdisjoint(task.upstream_task_ids):
                early = isinstance(task, EipReleaseOperator) and self._steps
                task.set_upstream(self._steps if early else self.bound)
        for task in block.values():
            following = [block[task_id] for task_id in block.keys() & task.downstream_task_ids]
            if not following:
                task.set_downstream(self.terminate)
            # A teardown of the block is nothing to wait for, as anywhere in Airflow.
            if not task.is_teardown and all(after.is_teardown for after in following):
                task.set_downstream(self.done)
        if self.done.upstream_task_ids:
            # The block may branch. Set here, because a fail-fast DAG takes no task that is made with another rule, and
            # no DAG takes one after a setup.
            self.done.trigger_rule = "none_failed_min_one_success"  # type: ignore[assignment]
        else:
            self.done.set_upstream(self.bound)


def _as_of_a_sensor(shared: dict[str, Any]) -> dict[str, Any]:
    """Return the shared parameters as a sensor knows them: it reads no lock, and looks every ``poke_interval``."""
    names = {"waiter_delay": "poke_interval"}
    return {names.get(name, name): value for name, value in shared.items() if name != "lock_store"}
