"""The fence of steps and batches: they run only while their cluster leaves from the Elastic IP and has its lease."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_eip_provider import clock
from airflow_eip_provider.aws.egress import Egress, read_egress
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.exceptions import (
    ClusterEndedError,
    LockStoreUnavailableError,
    NotBoundError,
    NotKnownYetError,
    NotLeasedError,
    SubmissionCancelledError,
)
from airflow_eip_provider.lease_client.interface import NOT_KNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.aws.egress import NotBound
    from airflow_eip_provider.exceptions import ElasticIpError
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook
    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease_client.interface import LeaseClient, StepCheck

log = logging.getLogger(__name__)


class Fence:
    """
    Check, act, check again: the fence is checked before steps are submitted, and once more right after.

    Whoever releases the address early first writes into the lease that it is being released, and only then looks for
    steps. So either the releaser sees the step, or the second check sees the release.

    :param kill: the task's; a killed task does not look again.
    :param work: what is submitted, in words for errors.
    :ivar token: the fencing token of the lease that the last check found; ``None`` without one.
    """

    def __init__(
        self,
        allocation_id: str,
        *,
        job_flow_id: str,
        eip: ElasticIpHook,
        emr: EmrClusterHook,
        lease_client: LeaseClient,
        kill: KillFlag,
        work: str = "steps",
    ) -> None:
        self._allocation_id = allocation_id
        self._job_flow_id = job_flow_id
        self._eip = eip
        self._emr = emr
        self._lease_client = lease_client
        self._kill = kill
        self._work = work
        self.token: int | None = None
        self._checked_at = 0.0
        self._found: Egress | None = None

    def cluster(self) -> Cluster:
        """
        Return the cluster.

        :raises NotKnownYetError: while EMR does not know it.
        :raises ClusterEndedError: when it has ended, or is ending.
        """
        cluster = self._emr.get_cluster(self._job_flow_id)
        if cluster is None:
            raise NotKnownYetError(self._job_flow_id)
        if cluster.is_ending:
            raise ClusterEndedError(self._job_flow_id, state=cluster.state, reason=cluster.reason)
        return cluster

    def check(self, cluster: Cluster) -> Egress:
        """
        Check before the submission, and return the cluster's way out.

        EC2 may answer from before the binding; so as long as that is possible, a cluster without the address is looked
        at again, in short pauses in the worker.

        :raises NotLeasedError: when the lease is not this cluster's, or not active; the store's reads do not lag.
        :raises NotBoundError: when the cluster does not leave from the address.
        """
        deadline = clock.time() + READS_LAG_SECONDS
        while True:
            leased = self._lease_client.check_step(self._job_flow_id)
            if leased.refusal is not None:
                raise self.not_leased(leased.refusal)
            self.token = leased.token
            found = self._look(cluster)
            if isinstance(found, Egress):
                self._checked_at, self._found = clock.time(), found
                return found
            if not found.exists or clock.time() >= deadline:
                raise NotBoundError(
                    self._allocation_id, job_flow_id=self._job_flow_id, place=found.place, work=self._work
                )
            log.info("Elastic IP %s is %s; EC2's answer may be old, checking again", self._allocation_id, found.place)
            self._kill.pause(SECOND_LOOK_SECONDS)
            cluster = self.cluster()

    def may_end(self, cluster: Cluster) -> bool:
        """
        Whether the cluster is this address's to end: launched for it, and with its active lease.

        Without a lock store nothing may have the address but the cluster.
        """
        if cluster.tags.get(ALLOCATION_TAG) != self._allocation_id:
            return False
        leased = self._lease_client.check_step(self._job_flow_id)
        if leased.refusal is not None or leased.is_certain:
            return leased.refusal is None
        found = self._look(cluster)
        return isinstance(found, Egress) or (found.exists and found.association_id is None)

    def lost_since(self, *, cluster: Cluster, step_ids: Sequence[str]) -> ElasticIpError | None:
        """
        Check once more, when the steps are submitted; return why they must not run, ``None`` when they may.

        With a lock store the lease decides: while it is active nobody else can have the address by right, so that is
        left to the watch. Without one, or when it gives no answer, the address decides, when two looks agree that it
        left; one is enough once no answer can be from before the first check, after a submission that took long.
        """
        leased = self._check_lease()
        if leased.refusal is not None:
            return self.not_leased(leased.refusal, f"cancelled the submitted {self._work}: {', '.join(step_ids)}")
        if leased.is_certain:
            return None
        found = self._changed(cluster)
        if found is None:
            return None
        if clock.time() < self._checked_at + READS_LAG_SECONDS:
            self._kill.pause(SECOND_LOOK_SECONDS)
            found = self._changed(cluster)
            if found is None:
                return None
        return SubmissionCancelledError(
            self._allocation_id, job_flow_id=self._job_flow_id, place=found.place, step_ids=step_ids, work=self._work
        )

    def not_leased(self, condition: str, consequence: str | None = None) -> NotLeasedError:
        """Return the error of a lease that does not allow what was to be submitted."""
        return NotLeasedError(
            self._allocation_id,
            job_flow_id=self._job_flow_id,
            condition=condition,
            consequence=consequence,
            work=self._work,
        )

    def lease_refusal(self) -> str | None:
        """Return why the lease does not allow a step; ``None`` if it does, and when the lock store does not answer."""
        return self._check_lease().refusal

    def _check_lease(self) -> StepCheck:
        try:
            return self._lease_client.check_step(self._job_flow_id)
        except LockStoreUnavailableError as error:
            log.warning("%s", error)
            return NOT_KNOWN

    def _look(self, cluster: Cluster, *, before: Egress | None = None) -> Egress | NotBound:
        return read_egress(self._eip.conn, self._emr.conn, self._allocation_id, cluster, before=before)

    def _changed(self, cluster: Cluster) -> NotBound | None:
        """Return where the address is now if the cluster does not leave from it any more."""
        found = self._look(cluster, before=self._found)
        return None if isinstance(found, Egress) else found
