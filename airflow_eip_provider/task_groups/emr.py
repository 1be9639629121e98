"""An EMR cluster with an Elastic IP, as a task group around the tasks that need it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self

from airflow_eip_provider.airflow_compat import BaseOperator, EmptyOperator, TaskGroup
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.eip import EipReleaseOperator
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.operators.emr.probe import EgressProbeOperator
from airflow_eip_provider.operators.preflight import check_waits, known_steps
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.task_groups.past import wait_for_the_past_before

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

# Which of Airflow's parameters belong to a group, and which to every task, differs between versions.
_OF_THE_GROUP = frozenset(inspect.signature(TaskGroup).parameters)
_OF_EVERY_TASK = frozenset(inspect.signature(BaseOperator).parameters) - _OF_THE_GROUP - {"kwargs"}
_SHARED = frozenset(
    {"aws_conn_id", "region_name", "verify", "botocore_config", "deferrable", "lock_store", "waiter_delay"}
)


# default_args must not change these parameters of tasks after the launch: they would wait while the cluster is running,
# or not run at all. ``create`` runs before, so default_args apply to it.
_AFTER_LAUNCH: dict[str, Any] = {"trigger_rule": "all_success"}
# For the group's own tasks: limits that other runs may have used up must not delay them.
_ALWAYS: dict[str, Any] = {
    **_AFTER_LAUNCH,
    "depends_on_past": False,  # see ``wait_for_the_past_before``
    "wait_for_downstream": False,
    "max_active_tis_per_dag": None,
    "max_active_tis_per_dagrun": None,
}

_LAUNCHED = "{{ ti.xcom_pull(task_ids='%s', key='job_flow_id', map_indexes=ti.map_index) }}"
_ALLOCATION_ID = "{{ ti.xcom_pull(task_ids='%s', key='allocation_id', map_indexes=ti.map_index) }}"
_PUBLIC_IP = "{{ ti.xcom_pull(task_ids='%s', key='static_ip', map_indexes=ti.map_index)['public_ip'] }}"


class StaticIpCluster(TaskGroup):
    """
    Run the tasks of the ``with`` block while a cluster has the Elastic IP; then terminate it and release the address.

    ::

        with StaticIpCluster("azure", allocation_id="eipalloc-…", job_flow_overrides={...}) as cluster:
            cluster.steps([...])

    Everything in the block, including other operators and groups, runs after ``bound`` and before ``terminate``. The
    group's own tasks are its attributes:

    - ``create``, an ``EmrCreateWithStaticIpOperator``, and ``bound``, an ``EipAssociationSensor``: the setups.
      ``bound`` fails when the address has left the cluster since ``create``; the teardown ends cluster and lease.
    - ``terminate``, an ``EmrTerminateWithStaticIpOperator``: the teardown. It runs whether the block succeeds or not;
      when it fails, the DAG run fails.
    - ``done``, which needs no worker: the end of the block, for which tasks after the group wait. It fails with the
      block, and so does the DAG run: Airflow judges a run by its last tasks, and a teardown as the last task would hide
      earlier failures.

    With ``fallbacks``, ``create`` replaces a cluster that does not start. A cluster that is lost later, for example
    with its zone, fails the task that needs it: clear the group from ``create`` on, which tries the candidates again.

    Tasks of the group do not occupy a worker while they wait: ``deferrable`` is ``True`` unless it is given here or in
    ``default_args``, regardless of ``[operators] default_deferrable``. A creating task that waits in a worker may block
    the slot of the task that would release the address. Without a triggerer, give ``deferrable=False``.

    ``default_args`` apply to every task of the group, with these exceptions, so that nothing stops between launch and
    teardown. ``depends_on_past`` and ``wait_for_downstream`` of any task are moved to ``create``, which then waits
    until all these tasks of the previous run have succeeded or were skipped. ``trigger_rule`` applies to ``create``;
    ``max_active_tis_per_dag`` and ``max_active_tis_per_dagrun`` apply to ``create`` and the steps.
    ``do_xcom_push=False`` applies to all but ``create``, whose result the others need. ``pool``, ``queue`` and
    ``priority_weight`` apply to all: a pool that counts deferred tasks needs more slots than there are queued tasks.

    :param group_id: the group's ID, and the prefix of its tasks' IDs.
    :param allocation_id: the Elastic IP, ``eipalloc-…``, or several, as in ``EmrCreateWithStaticIpOperator``: the other
        tasks use the one that ``create`` has acquired. (templated)
    :param kwargs: any parameter of ``TaskGroup``; ``default_args``, such as ``retries``, are for every task.
        ``aws_conn_id``, ``region_name``, ``verify``, ``botocore_config``, ``deferrable``, ``lock_store`` and
        ``waiter_delay`` (not templated here) are for every task that has them, and so is ``on_lost``, a notifier for an
        address that has left its cluster. All others, such as ``job_flow_overrides``, ``fallbacks``, ``on_failover``,
        ``on_queued_longer_than``, ``start_timeout``, ``binding``, ``emr_conn_id``, ``idle_timeout``, ``lock_timeout``
        and ``waiter_max_attempts``, are for ``EmrCreateWithStaticIpOperator``; the other tasks read from AWS what is
        bound.
    """

    def __init__(self, group_id: str, *, allocation_id: Any, **kwargs: Any) -> None:
        given = {name: kwargs.pop(name) for name in _OF_THE_GROUP & kwargs.keys()}
        if misplaced := sorted(_OF_EVERY_TASK & kwargs.keys()):
            raise InvalidInputError(
                f"making task group '{group_id}'",
                problem=f"{', '.join(misplaced)} could be meant for any of its tasks",
                remedy="give it in default_args, or set it on one of them, such as cluster.create",
            )
        super().__init__(group_id=group_id, **given)
        self._open = False
        self._steps: list[EmrAddStepsWithStaticIpOperator] = []
        self._unnamed_steps = 0
        # Only if it is given: default_args may have it, too.
        self._notifiers = {name: kwargs.pop(name) for name in {"on_lost"} & kwargs.keys()}
        shared = {name: kwargs.pop(name) for name in _SHARED & kwargs.keys()}
        if "waiter_delay" in shared:  # the sensor would refuse it as its poke_interval
            check_waits(shared["waiter_delay"], 1)
        if "deferrable" not in {**(getattr(self.dag, "default_args", None) or {}), **(self.default_args or {})}:
            shared.setdefault("deferrable", True)
        here: dict[str, Any] = {"dag": self.dag, "task_group": self}
        self.create = EmrCreateWithStaticIpOperator(
            task_id="create",
            allocation_id=allocation_id,
            do_xcom_push=True,  # the other tasks read what it returns
            **self._notifiers,
            **here,
            **shared,
            **kwargs,
        )
        # ``create`` publishes which of several addresses it has acquired before it launches the cluster.
        several = isinstance(allocation_id, (list, tuple, set, frozenset, dict))
        self._shared: dict[str, Any] = {
            "dag": self.dag,
            "allocation_id": _ALLOCATION_ID % self.create.task_id if several else allocation_id,
            "job_flow_id": self.job_flow_id,
            **shared,
        }
        # The launched cluster, not the returned one: a creating task that is marked as success returns nothing, and
        # then only the teardown terminates its cluster.
        launched = _LAUNCHED % self.create.task_id
        self.bound = EipAssociationSensor(
            task_id="bound",
            task_group=self,
            expect="associated",
            soft_fail=False,  # a run without its address is not a success
            was_bound=True,  # by create
            **self._notifiers,
            **_ALWAYS,
            **{**_sensor_parameters(self._shared), "job_flow_id": launched},
        )
        self.terminate = EmrTerminateWithStaticIpOperator(
            task_id="terminate", task_group=self, **_ALWAYS, **{**self._shared, "job_flow_id": launched}
        )
        self.create.set_downstream(self.bound)
        self.done = EmptyOperator(task_id="done", **_ALWAYS, **here)
        # Both are setups, so that both run again before a cleared task of the block.
        self.terminate.as_teardown(setups=[self.create, self.bound], on_failure_fail_dagrun=True)

    @property
    def job_flow_id(self) -> Any:
        """The cluster's ID, for parameters and templates of other operators: an ``XComArg``."""
        return self.create.output

    @property
    def static_ip(self) -> Any:
        """The bound address, for parameters and templates: {allocation_id, public_ip, …}, an ``XComArg``."""
        output: Any = self.create.output
        return output["static_ip"]

    @property
    def public_ip(self) -> Any:
        """The public IP as text, such as "203.0.113.9", for parameters and templates: an ``XComArg``."""
        output: Any = self.create.output
        return output["public_ip"]

    def steps(
        self, steps: Sequence[Mapping[str, Any] | str] | str, *, task_id: str | None = None, **kwargs: Any
    ) -> EmrAddStepsWithStaticIpOperator:
        """
        Add a task that runs steps on the cluster while it has the address.

        ``create`` checks the parts of the steps that are known now before it launches the cluster.

        :param steps: any sequence of mappings as in ``EmrAddStepsOperator``, or a string that contains one; also the
            output of a task. (templated, ``.json``)
        :param task_id: by default "steps", then "steps_2" and so on.
        :param kwargs: any further parameter of ``EmrAddStepsWithStaticIpOperator``.
        :raises InvalidInputError: outside the ``with`` block.
        """
        self._check_open("steps")
        if task_id is None:
            self._unnamed_steps += 1
            task_id = "steps" if self._unnamed_steps == 1 else f"steps_{self._unnamed_steps}"
        return self._add(EmrAddStepsWithStaticIpOperator, task_id, steps=steps, **kwargs)

    def probe_egress(
        self, servers: Sequence[str] = (), *, task_id: str = "probe_egress", **kwargs: Any
    ) -> EmrAddStepsWithStaticIpOperator:
        """
        Add a task that fails unless the cluster uses the address, and each Azure SQL server admits it.

        :param servers: as in ``egress_probe_step``: ``HOST[:PORT][/DATABASE]``; also a template or the output of a task
            that becomes such a list. (templated)
        :param kwargs: any further parameter of ``egress_probe_step``; ``public_ip`` is the bound address by default.
            (templated)
        :raises InvalidInputError: outside the ``with`` block, and for a malformed server.
        """
        self._check_open("probe_egress")
        public_ip = kwargs.pop("public_ip", None) or _PUBLIC_IP % self.create.task_id
        # EMR need not stop the following steps: Airflow does not start tasks that depend on a failed one.
        probe = {"public_ip": public_ip, "servers": servers, "action_on_failure": "CONTINUE", **kwargs}
        return self._add(EgressProbeOperator, task_id, probe=probe)

    def release_address(self, *, task_id: str = "release", **kwargs: Any) -> EipReleaseOperator:
        """
        Add a task that releases the address while the cluster continues: ``steps >> cluster.release_address()``.

        If it follows no task of the block, it runs after all of ``steps``.

        :param kwargs: any further parameter of ``EipReleaseOperator``.
        :raises InvalidInputError: outside the ``with`` block.
        """
        self._check_open("release_address")
        release = EipReleaseOperator(task_id=task_id, **{**_AFTER_LAUNCH, **self._shared, **kwargs})
        self._check_waits(release)
        return release

    def _add(
        self, operator: type[EmrAddStepsWithStaticIpOperator], task_id: str, **kwargs: Any
    ) -> EmrAddStepsWithStaticIpOperator:
        added = operator(task_id=task_id, **{**_AFTER_LAUNCH, **self._shared, **self._notifiers, **kwargs})
        self._check_waits(added)
        if not added.wait_for_completion:
            raise InvalidInputError(
                f"making task '{added.task_id}'",
                problem="wait_for_completion is False; an unwatched step would continue after the address has left",
                remedy="leave it out; if the DAG's default_args have it, give the group separate default_args",
            )
        self._steps.append(added)
        known = None if isinstance(added, EgressProbeOperator) and not added.steps else known_steps(added.steps)
        if known is not None:
            self.create.planned_steps[added.task_id] = known
        return added

    @staticmethod
    def _check_waits(task: Any) -> None:
        """Check the waits, which are not templated, when the DAG file is parsed."""
        try:
            check_waits(task.waiter_delay, task.waiter_max_attempts)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"making task '{task.task_id}'", problem=str(error), remedy="see default_args, too"
            ) from error

    def _check_open(self, method: str) -> None:
        if not self._open:
            raise InvalidInputError(
                f"adding a task to group '{self.group_id}'",
                problem=f"{method}() was called outside its with block, so terminate would not wait for the task",
                remedy="call it inside",
            )

    def __enter__(self) -> Self:
        """Enter the block: tasks that are created now belong to the group."""
        super().__enter__()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the block, and connect its tasks between ``bound`` and ``terminate`` unless it raised an error."""
        self._open = False
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        if kind is None:
            self._wire()

    def _wire(self) -> None:
        own = {task.task_id for task in (self.create, self.bound, self.terminate, self.done)}
        wait_for_the_past_before(self.create, self)
        block = {task.task_id: task for task in self if task.task_id not in own}
        for task in block.values():
            if block.keys().isdisjoint(task.upstream_task_ids):
                early = isinstance(task, EipReleaseOperator) and self._steps
                task.set_upstream(self._steps if early else self.bound)
                if not early:
                    _check_follows_setup(task)
        for task in block.values():
            following = [block[task_id] for task_id in block.keys() & task.downstream_task_ids]
            if not following:
                task.set_downstream(self.terminate)
            # As usual in Airflow, nothing waits for a teardown of the block.
            if not task.is_teardown and all(after.is_teardown for after in following):
                task.set_downstream(self.done)
        if self.done.upstream_task_ids:
            # The block may branch. Set here, because a fail-fast DAG refuses a task that is created with another rule,
            # and every DAG refuses one after a setup.
            self.done.trigger_rule = "none_failed_min_one_success"  # type: ignore[assignment]
        else:
            self.done.set_upstream(self.bound)


def _check_follows_setup(task: Any) -> None:
    """Refuse another trigger rule right after a setup, as Airflow does, but with the task's name."""
    rule = str(getattr(task.trigger_rule, "value", task.trigger_rule))
    if rule != "all_success" and not task.is_teardown:
        raise InvalidInputError(
            f"adding task '{task.task_id}' to a cluster's block",
            problem=f"its trigger_rule is '{rule}', and it is the first to run once the cluster is bound",
            remedy="set its trigger_rule to 'all_success', or let it follow another task of the block; "
            "default_args apply to it, too",
        )


def _sensor_parameters(shared: dict[str, Any]) -> dict[str, Any]:
    """Return the shared parameters for a sensor: no ``lock_store``, and ``poke_interval`` for ``waiter_delay``."""
    parameters = {name: value for name, value in shared.items() if name not in {"lock_store", "waiter_delay"}}
    if "waiter_delay" in shared:
        parameters["poke_interval"] = float(shared["waiter_delay"])
    return parameters
