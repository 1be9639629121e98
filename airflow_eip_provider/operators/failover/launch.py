"""The cluster that takes over a service: launching it unless it exists, and waiting until it has started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import earliest_start, own_xcom
from airflow_eip_provider.aws.tags import IN_CHARGE_TAG, OWNER_DIGEST_TAG, SUCCESSOR_TAG, as_items
from airflow_eip_provider.candidates import Candidate, candidates_of
from airflow_eip_provider.exceptions import LeaseLostError
from airflow_eip_provider.operators.emr.launching import LaunchingOperator
from airflow_eip_provider.operators.failover.state import moment
from airflow_eip_provider.operators.lease_settings import attempt_of
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired
    from airflow_eip_provider.lease.record import Attempt
    from airflow_eip_provider.lease_client.interface import Undo
    from airflow_eip_provider.operators.bindings.primary_node import PrimaryNode
    from airflow_eip_provider.operators.failover.state import FailoverState
    from airflow_eip_provider.triggers.watch import WatchTrigger

_PROGRESS = "failover_progress"  # the XCom for an undo


class SuccessorOperator(LaunchingOperator):
    """Starts the cluster that takes over."""

    _undo_nonce: str | None = None

    def lease_request(self, context: Context, state: FailoverState) -> LeaseRequest:
        """Return the failover's lease request."""
        raise NotImplementedError

    def start(self, context: Context, state: FailoverState) -> WatchTrigger | None:
        """Launch the cluster unless it exists, and wait until it has started."""
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
        """Return the lease, which this try has already."""
        from airflow_eip_provider.lease.protocol import Acquired

        entered = self.lease_client.move(request, moved_from=self.job_flow_id)
        if not isinstance(entered, Acquired):
            raise LeaseLostError(self.allocation_id, problem="another task has it")
        return entered

    def _wait_for_other(self, state: FailoverState) -> WatchTrigger | None:
        """Wait until a cluster that this task has not launched has started."""
        from airflow_eip_provider.triggers.emr import judge_target

        job_flow_id = str(state.job_flow_id)
        verdict = self.poll(lambda observed: judge_target(observed, job_flow_id, target="cluster_ready"))
        state.is_started = verdict.status == "done"
        state.start_deadline = state.start_deadline or clock.time() + self.start_seconds
        if state.is_started:
            return None
        return self.wait_for_cluster(state, "cluster_ready", deadline=state.start_deadline)

    @property
    def binding(self) -> PrimaryNode:
        """The binding of the address, if there is one."""
        from airflow_eip_provider.operators.bindings.primary_node import PrimaryNode
        from airflow_eip_provider.operators.bindings.unaddressed import WithoutAddress

        return WithoutAddress() if is_nothing(self.allocation_id) else PrimaryNode()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All configurations of the cluster; a single empty one if only a standby is used."""
        return candidates_of({}, (), 1) if is_nothing(self.job_flow_overrides) else super().candidates

    def tags_of(self, number: int) -> dict[str, str]:
        """Return the tags of a cluster, with the tag that names the cluster it replaces."""
        return {**super().tags_of(number), SUCCESSOR_TAG: self.job_flow_id}

    @property
    def handover_seconds(self) -> float:
        """The longest time from the lease to its hand-over, without the launch itself."""
        return super().handover_seconds if self.has_fallbacks else self.start_seconds

    def agreed(self, state: FailoverState) -> str:
        """Return the cluster that takes over; if another failover has chosen another one, terminate the own one."""
        own = str(state.job_flow_id)
        agreed = self.lease_client.agreed(self.job_flow_id, job_flow_id=own)
        if agreed != own:
            self.log.warning("Another failover of %s uses %s, so this one uses it, too", self.job_flow_id, agreed)
            if state.launched:
                self.kill.check()
                self.emr.end(own)
            state.job_flow_id, state.launched = agreed, False
        return agreed

    def tag(self, job_flow_id: str, tags: dict[str, str]) -> None:
        """Add tags to a cluster."""
        self.kill.check()
        self.emr.conn.add_tags(ResourceId=job_flow_id, Tags=as_items(tags))

    def undo(self, context: Context, state: FailoverState | None) -> None:
        """Undo; in the last try also release the lease if the new cluster has ended after it took over."""
        super().undo(context, state)
        self._log_kept_lease(context, state)
        if state is None:
            return
        if state.leased and not state.keeps and state.standby is not None and state.standby == state.job_flow_id:
            self._unclaim(state.standby)
        job_flow_id = state.job_flow_id if state.handed_over else state.lost
        if job_flow_id is None or context["ti"].try_number <= context["ti"].max_tries:
            return
        cluster = self.emr.get_cluster(job_flow_id)
        if cluster is not None and cluster.has_ended:
            self.lease_client.release(job_flow_id, why="its cluster has ended, and no other could take over")

    def _unclaim(self, standby: str) -> None:
        """
        Clear the tag of a standby that this try has chosen.

        Otherwise a later failover would continue with it, although the old cluster may be healthy by then.
        """
        from airflow_eip_provider.aws.clusters import took_over

        cluster = self.emr.get_cluster(standby)
        if cluster is None or cluster.is_ending or took_over(cluster, self.emr.get_cluster(self.job_flow_id)):
            return
        if cluster.tags.get(SUCCESSOR_TAG) == self.job_flow_id:  # not if a failover of another cluster has chosen it
            self.emr.conn.add_tags(ResourceId=standby, Tags=as_items({SUCCESSOR_TAG: ""}))

    def _log_kept_lease(self, context: Context, state: FailoverState | None) -> None:
        """Log that the retry continues with the lease, because the old cluster cannot have it back."""
        undo = self.to_undo(context, state)
        lease = self.lease_client.read().record.lease if undo is not None and undo.keeps_lease else None
        if undo is None or lease is None or lease.attempt != undo.attempt or not lease.is_before_handover:
            return
        self.log.warning(
            "Cluster %s cannot have Elastic IP %s back, so this task keeps the lease, token %s, for its retry; without "
            "one the next owner ends it after %s",
            self.job_flow_id,
            self.allocation_id,
            lease.token,
            moment(lease.handover_by),
        )

    def to_undo(self, context: Context, state: FailoverState | None) -> Undo | None:
        """
        Terminate what this try launched, and return address and lease to the old cluster, until the new one has both.

        This also undoes what earlier tries left, if this one failed before it had the lease again.
        """
        from airflow_eip_provider.lease_client.interface import Undo

        progress = (self._progress(state) if state else own_xcom(context, _PROGRESS)) or {}
        nonce, token = self.known_lease(context, state)
        is_retry = context["ti"].try_number > 1
        if progress.get("keeps") or not (is_retry or nonce is not None) or is_nothing(self.job_flow_id):
            return None
        # Kept, because a repeated undo must be by the same attempt: another one would be superseded by it.
        nonce = self._undo_nonce = nonce or self._undo_nonce or attempt_of(context).nonce
        if is_retry and not progress:
            progress = self._progress_of_earlier_tries(attempt_of(context, nonce))
            if progress.get("keeps"):
                return None
        launched, launcher = bool(progress.get("launched")), self.__dict__.get("_launching")
        # The progress was stored before the launch, so its ID may be missing.
        job_flow_id = progress.get("job_flow_id") or (own_xcom(context, "job_flow_id") if launched else None)
        has_started = state is not None and state.is_started
        return Undo(
            attempt_of(context, nonce),
            job_flow_id,
            token=token,
            launched=launched,
            terminate=launched,
            may_lag=not launched or bool(progress.get("may_be_bound")),
            may_be_adopted=self.may_be_retried(context),
            is_unclear=launcher is not None and launcher.is_unclear,
            created_after=earliest_start(context),
            moved_from=self.job_flow_id,
            was_freed=progress.get("was_freed", False),
            may_have_gateway=False,
            # A retry would wait again for a cluster that has not started.
            keeps_lease=self.is_retried(context) and (has_started or job_flow_id is None or not launched),
        )

    def _progress_of_earlier_tries(self, attempt: Attempt) -> dict[str, Any]:
        """Return the progress of earlier tries that ended without an undo, according to the lease and to tags."""
        from airflow_eip_provider.aws.clusters import read_successors

        successor = self.lease_client.successor(self.job_flow_id, attempt=attempt)
        if successor is None or not successor.is_own:
            return {}
        if successor.has_address:
            return {"keeps": True}
        found = [c for c in read_successors(self.emr.conn, self.job_flow_id) if IN_CHARGE_TAG not in c.tags]
        launched = [cluster for cluster in found if cluster.tags.get(OWNER_DIGEST_TAG) == attempt.owner]
        bound = [cluster for cluster in found if self.lease_client.has_address(cluster.job_flow_id)]
        cluster = next(iter(bound + launched), None)
        return {
            "job_flow_id": cluster and cluster.job_flow_id,
            "launched": cluster in launched,
            "may_be_bound": True,
            "was_freed": None,
        }

    @staticmethod
    def _progress(state: FailoverState) -> dict[str, Any] | None:
        """Return what an undo needs to know; ``None`` before this try has the lease."""
        if not state.leased:
            return {"keeps": True} if state.keeps else None
        job_flow_id = state.job_flow_id if state.launched or state.may_be_bound else None
        return {
            "job_flow_id": job_flow_id,
            "launched": state.launched,
            "keeps": state.keeps,
            "may_be_bound": state.may_be_bound,
            "was_freed": state.was_freed if state.may_be_bound else (None if state.continues else False),
        }

    def note(self, context: Context, state: FailoverState) -> None:
        """Store what an undo needs to know, in case the deferral's hint is lost."""
        context["ti"].xcom_push(key=_PROGRESS, value=self._progress(state))
