"""The cluster that takes a service over: what launches it, unless it is there, and waits until it has started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import earliest_start, own_xcom
from airflow_eip_provider.aws.tags import SUCCESSOR_TAG, as_items
from airflow_eip_provider.candidates import Candidate, candidates_of
from airflow_eip_provider.exceptions import LeaseLostError
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.emr.launching import LaunchingOperator
from airflow_eip_provider.operators.lease_settings import attempt_of
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired
    from airflow_eip_provider.lease_client.interface import Undo
    from airflow_eip_provider.operators.bindings.primary_node import PrimaryNode
    from airflow_eip_provider.operators.failover.state import FailoverState
    from airflow_eip_provider.triggers.watch import WatchTrigger

_PROGRESS = "failover_progress"  # what an undo has to know


class SuccessorOperator(LaunchingOperator):
    """The start of the cluster that takes over; subclasses give ``lease_request``."""

    on_multi_node: str
    dag_id: str
    task_id: str

    def lease_request(self, context: Context, state: FailoverState) -> LeaseRequest:
        """Return what the failover asks for."""
        raise NotImplementedError

    def start(self, context: Context, state: FailoverState) -> WatchTrigger | None:
        """Launch the cluster unless there is one, and wait until it has started."""
        if state.is_started:
            return None
        if state.job_flow_id is not None and not state.launched:
            return self._wait_for_other(state)
        state.launched = True
        self.note(context, state)
        request = self.lease_request(context, state)
        waiting = self.launch_and_start(context, state, request, enter=lambda: self._enter_again(request))
        state.is_started = waiting is None
        return waiting

    def _enter_again(self, request: LeaseRequest) -> Acquired:
        """Return the lease as it is now; it is this try's already."""
        from airflow_eip_provider.lease.protocol import Acquired

        entered = self.lease_client.move(request, moved_from=self.job_flow_id)
        if not isinstance(entered, Acquired):
            raise LeaseLostError(self.allocation_id, problem="another task has it")
        return entered

    def _wait_for_other(self, state: FailoverState) -> WatchTrigger | None:
        """Wait until a cluster has started that this task has not launched."""
        from airflow_eip_provider.triggers.emr import judge_target

        job_flow_id = str(state.job_flow_id)
        found = self.look(lambda seen: judge_target(seen, job_flow_id, target="cluster_ready"))
        state.is_started = found.status == "done"
        state.start_deadline = state.start_deadline or clock.time() + self.start_seconds
        return (
            None if state.is_started else self.wait_for_cluster(state, "cluster_ready", deadline=state.start_deadline)
        )

    @property
    def binding(self) -> PrimaryNode:
        """Where the address is put, if there is one."""
        from airflow_eip_provider.operators.bindings.primary_node import PrimaryNode
        from airflow_eip_provider.operators.bindings.unaddressed import WithoutAddress

        return WithoutAddress() if is_nothing(self.allocation_id) else PrimaryNode()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every way to launch the cluster; one that is empty when there is nothing but a standby."""
        return candidates_of({}, (), 1) if is_nothing(self.job_flow_overrides) else super().candidates

    def tags_of(self, number: int) -> dict[str, str]:
        """Return what a cluster says of itself: also whose place it takes."""
        return {**super().tags_of(number), SUCCESSOR_TAG: self.job_flow_id}

    @property
    def handover_seconds(self) -> float:
        """How long it may take at most from the lease to its hand-over, apart from the launch itself."""
        return super().handover_seconds if self.has_fallbacks else self.start_seconds

    def preflight_warnings(self) -> list[str]:
        """
        Make the checks for every candidate, before anything is changed.

        :raises PreflightError: naming everything that is wrong.
        """
        from airflow_eip_provider.preflight import Setup, plans_of, read_candidates

        first = {"Name": f"{self.dag_id}.{self.task_id}", **self.candidates[0].job_flow}
        shape = self.emr.conn.meta.service_model.operation_model("RunJobFlow").input_shape
        candidates = read_candidates(first, self.fallbacks, shape=shape, rounds=self.fallback_rounds)
        setup = Setup(
            allocation_id=self.allocation_id,
            eip=self.eip,
            emr=self.emr,
            job_flow=first,
            on_multi_node=self.on_multi_node,
            ends_idle=self.idle_timeout is not None,
            lock_store=self.lease_client.uri,
        )
        plans = plans_of(
            setup, candidates, rounds=self.fallback_rounds, binding_of=lambda one: self.binding_of(one.number)
        )
        return preflight.require_plans(plans)

    def agreed(self, state: FailoverState) -> str:
        """Return the cluster that takes over; when that of another failover does, end the one launched here."""
        own = str(state.job_flow_id)
        agreed = self.lease_client.agreed(self.job_flow_id, job_flow_id=own)
        if agreed != own:
            self.log.warning("Another failover of %s goes on with %s: so does this one", self.job_flow_id, agreed)
            if state.launched:
                self.kill.check()
                self.emr.end(own)
            state.job_flow_id, state.launched = agreed, False
        return agreed

    def tag(self, job_flow_id: str, tags: dict[str, str]) -> None:
        """Give tags to a cluster."""
        self.kill.check()
        self.emr.conn.add_tags(ResourceId=job_flow_id, Tags=as_items(tags))

    def undo(self, context: Context, state: FailoverState | None) -> None:
        """Undo; and end the lease of a cluster that has ended after it took over, unless a retry goes on with it."""
        super().undo(context, state)
        job_flow_id = None if state is None else state.job_flow_id if state.handed_over else state.lost
        if job_flow_id is None or context["ti"].try_number <= context["ti"].max_tries:
            return
        cluster = self.emr.get_cluster(job_flow_id)
        if cluster is not None and cluster.has_ended:
            self.lease_client.release(job_flow_id, why="its cluster has ended, and no other could take over")

    def to_undo(self, context: Context, state: FailoverState | None) -> Undo | None:
        """End what this try launched, and give the lease back, as long as the new cluster has not the address."""
        from airflow_eip_provider.lease_client.interface import Undo

        known = self._to_be_undone(state) if state else own_xcom(context, _PROGRESS)
        if not known or known["keeps"]:
            return None
        nonce, token = self.known_lease(context, state)
        launched, launcher = known["launched"], self.__dict__.get("_launching")
        # It was noted before the launch.
        job_flow_id = known["job_flow_id"] or (own_xcom(context, "job_flow_id") if launched else None)
        return Undo(
            attempt_of(context, nonce),
            job_flow_id,
            token=token,
            launched=launched,
            terminate=launched,
            may_lag=not launched,
            may_be_adopted=not self.kill.is_set and context["ti"].try_number <= context["ti"].max_tries,
            is_unclear=launcher is not None and launcher.is_unclear,
            created_after=earliest_start(context),
        )

    @staticmethod
    def _to_be_undone(state: FailoverState) -> dict[str, Any] | None:
        """Return what an undo has to know; ``None`` before the lease is this try's."""
        if not state.leased:
            return None
        job_flow_id = state.job_flow_id if state.launched or state.may_be_bound else None
        return {"job_flow_id": job_flow_id, "launched": state.launched, "keeps": state.keeps}

    def note(self, context: Context, state: FailoverState) -> None:
        """Keep what an undo has to know when the deferral's hint is lost."""
        context["ti"].xcom_push(key=_PROGRESS, value=self._to_be_undone(state))
