"""An EMR cluster that carries an Elastic IP, as a task group around what needs it."""

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

# Which of Airflow's parameters are a group's and which are every task's differs between its versions.
_OF_THE_GROUP = frozenset(inspect.signature(TaskGroup).parameters)
_OF_EVERY_TASK = frozenset(inspect.signature(BaseOperator).parameters) - _OF_THE_GROUP - {"kwargs"}
_SHARED = frozenset(
    {"aws_conn_id", "region_name", "verify", "botocore_config", "deferrable", "lock_store", "waiter_delay"}
)


# What default_args must not do to the tasks that follow a launch: these would wait while the cluster is paid, or not
# run. ``create`` has all of it: it comes before.
_AFTER_LAUNCH: dict[str, Any] = {"trigger_rule": "all_success"}
# For the group's own tasks besides the user's steps: no limit that other runs use up keeps them from running.
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

    With ``fallbacks`` a cluster that does not start is replaced within ``create``. One that is lost later, such as with
    its zone, fails the task that needs it: clear the group from ``create`` on, which tries the candidates again.

    A task that waits here holds no worker: ``deferrable`` is ``True`` unless it is given, here or in ``default_args``,
    whatever ``[operators] default_deferrable`` says. A creating task that queues in a worker for an address can keep
    the very tasks that would free it from getting one. Where no triggerer runs, give ``deferrable=False``.

    ``default_args`` reach every task of the group, with these exceptions, so that nothing stops between launch and
    teardown. ``depends_on_past`` and ``wait_for_downstream``, whichever task has them, are moved to ``create``, which
    then waits until all these tasks of the run before have succeeded or were skipped. ``trigger_rule`` is for
    ``create``; ``max_active_tis_per_dag`` and ``max_active_tis_per_dagrun`` are for ``create`` and the steps.
    ``do_xcom_push=False`` is for all but ``create``, whose result the others need. ``pool``, ``queue`` and
    ``priority_weight`` are for all: a pool that counts deferred tasks must have room for more than those that queue.

    :param group_id: the group's id, and the prefix of its tasks' ids.
    :param allocation_id: the Elastic IP, ``eipalloc-…``, or several of which any will do, as in
        ``EmrCreateWithStaticIpOperator``: the other tasks are about the one that ``create`` has then. (templated)
    :param kwargs: any parameter of ``TaskGroup``; ``default_args``, with ``retries`` and the like, are for every task.
        ``aws_conn_id``, ``region_name``, ``verify``, ``botocore_config``, ``deferrable``, ``lock_store`` and
        ``waiter_delay`` (not templated here) are for every task that takes them, and so is ``on_lost``, a notifier for
        an address that has left its cluster. All others, such as ``job_flow_overrides``, ``fallbacks``,
        ``on_failover``, ``on_queued_longer_than``, ``start_timeout``, ``binding``, ``emr_conn_id``, ``idle_timeout``,
        ``lock_timeout`` and ``waiter_max_attempts``, are for ``EmrCreateWithStaticIpOperator``; the other tasks find in
        AWS what is bound.
    """

    def __init__(self, group_id: str, *, allocation_id: Any, **kwargs: Any) -> None:
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
        # Only what is given: default_args may have it, too.
        self._notifiers = {name: kwargs.pop(name) for name in {"on_lost"} & kwargs.keys()}
        shared = {name: kwargs.pop(name) for name in _SHARED & kwargs.keys()}
        if "waiter_delay" in shared:  # a sensor would refuse it as its poke_interval
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
        # Of several addresses the one that it has: it says so before it launches the cluster.
        several = isinstance(allocation_id, (list, tuple, set, frozenset, dict))
        self._shared: dict[str, Any] = {
            "dag": self.dag,
            "allocation_id": _ALLOCATION_ID % self.create.task_id if several else allocation_id,
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
            soft_fail=False,  # a run without its address is no success
            was_bound=True,  # by create
            **self._notifiers,
            **_ALWAYS,
            **{**_as_of_a_sensor(self._shared), "job_flow_id": launched},
        )
        self.terminate = EmrTerminateWithStaticIpOperator(
            task_id="terminate", task_group=self, **_ALWAYS, **{**self._shared, "job_flow_id": launched}
        )
        self.create.set_downstream(self.bound)
        self.done = EmptyOperator(task_id="done", **_ALWAYS, **here)
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

    @property
    def public_ip(self) -> Any:
        """The bound address as text, such as "203.0.113.9", for parameters and templates: an ``XComArg``."""
        output: Any = self.create.output
        return output["public_ip"]

    def steps(
        self, steps: Sequence[Mapping[str, Any] | str] | str, *, task_id: str | None = None, **kwargs: Any
    ) -> EmrAddStepsWithStaticIpOperator:
        """
        Add a task that runs steps on the cluster while it carries the address.

        What is known of the steps now, ``create`` checks before it launches the cluster.

        :param steps: any sequence of mappings as in ``EmrAddStepsOperator``, or a text that spells one; also the output
            of a task. (templated, ``.json``)
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
        Add a task that fails unless the cluster leaves from the address, and each Azure SQL server admits it.

        :param servers: as of ``egress_probe_step``: ``HOST[:PORT][/DATABASE]``; also a template or the output of a task
            that becomes such a list. (templated)
        :param kwargs: any further parameter of ``egress_probe_step``. ``public_ip`` is the bound address unless it is
            given. (templated)
        :raises InvalidInputError: outside the ``with`` block, and for what cannot be a server.
        """
        self._check_open("probe_egress")
        public_ip = kwargs.pop("public_ip", None) or _PUBLIC_IP % self.create.task_id
        # Airflow starts nothing that depends on a step that failed.
        probe = {"public_ip": public_ip, "servers": servers, "action_on_failure": "CONTINUE", **kwargs}
        return self._add(EgressProbeOperator, task_id, probe=probe)

    def release_address(self, *, task_id: str = "release", **kwargs: Any) -> EipReleaseOperator:
        """
        Add a task that frees the address while the cluster goes on working: ``steps >> cluster.release_address()``.

        One that comes after nothing in the block is placed after all of ``steps``.

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
                remedy="leave it out; if default_args say so for the DAG, give the group default_args of its own",
            )
        self._steps.append(added)
        known = None if isinstance(added, EgressProbeOperator) and not added.steps else known_steps(added.steps)
        if known is not None:
            self.create.planned_steps[added.task_id] = known
        return added

    @staticmethod
    def _check_waits(task: Any) -> None:
        """Refuse now, while nothing is launched, what the task would refuse when it runs; it is not templated."""
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
            # A teardown of the block is nothing to wait for, as anywhere in Airflow.
            if not task.is_teardown and all(after.is_teardown for after in following):
                task.set_downstream(self.done)
        if self.done.upstream_task_ids:
            # The block may branch. Set here, because a fail-fast DAG takes no task that is made with another rule, and
            # no DAG takes one after a setup.
            self.done.trigger_rule = "none_failed_min_one_success"  # type: ignore[assignment]
        else:
            self.done.set_upstream(self.bound)


def _check_follows_setup(task: Any) -> None:
    """Refuse, with the task's name, what Airflow refuses of a DAG: another trigger rule right after a setup."""
    rule = str(getattr(task.trigger_rule, "value", task.trigger_rule))
    if rule != "all_success" and not task.is_teardown:
        raise InvalidInputError(
            f"adding task '{task.task_id}' to a cluster's block",
            problem=f"its trigger_rule is '{rule}', and it is the first to run once the cluster is bound",
            remedy="set its trigger_rule to 'all_success', or let it follow another task of the block; "
            "default_args reach it, too",
        )


def _as_of_a_sensor(shared: dict[str, Any]) -> dict[str, Any]:
    """Return the shared parameters as a sensor knows them: it reads no lock, and looks every ``poke_interval``."""
    known = {name: value for name, value in shared.items() if name not in {"lock_store", "waiter_delay"}}
    return known if "waiter_delay" not in shared else {**known, "poke_interval": float(shared["waiter_delay"])}
