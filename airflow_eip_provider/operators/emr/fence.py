"""The fence of steps and batches: they run only while their cluster has the Elastic IP and its lease."""

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
    Checks the lease and the address before steps are submitted, and again right after.

    An early release of the address first writes into the lease that it is being released, and then looks for steps. So
    either the release sees the step, or the second check sees the release.

    :param kill: the task's kill flag; a killed task does not check again.
    :param work: the kind of work, for errors.
    :ivar token: the fencing token that the last check read; ``None`` without a lease.
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
        self._egress: Egress | None = None

    def cluster(self) -> Cluster:
        """Return the cluster; raise an error if EMR does not know it, or it is ending or has ended."""
        cluster = self._emr.get_cluster(self._job_flow_id)
        if cluster is None:
            raise NotKnownYetError(self._job_flow_id)
        if cluster.is_ending:
            raise ClusterEndedError(self._job_flow_id, state=cluster.state, reason=cluster.reason)
        return cluster

    def check(self, cluster: Cluster) -> Egress:
        """
        Check before the submission, and return the cluster's egress.

        EC2 may answer from before the binding. As long as that is possible, a cluster without the address is polled
        again in the worker.

        :raises NotLeasedError: when the cluster does not have an active lease; the store's reads do not lag.
        :raises NotBoundError: when the cluster does not use the address.
        """
        deadline = clock.time() + READS_LAG_SECONDS
        while True:
            lease_check = self._lease_client.check_step(self._job_flow_id)
            if lease_check.refusal is not None:
                raise self.not_leased(lease_check.refusal)
            self.token = lease_check.token
            egress = self._read_egress(cluster)
            if isinstance(egress, Egress):
                self._checked_at, self._egress = clock.time(), egress
                return egress
            if not egress.exists or clock.time() >= deadline:
                raise NotBoundError(
                    self._allocation_id, job_flow_id=self._job_flow_id, place=egress.place, work=self._work
                )
            log.info("Elastic IP %s is %s; EC2's answer may be old, checking again", self._allocation_id, egress.place)
            self._kill.pause(SECOND_LOOK_SECONDS)
            cluster = self.cluster()

    def may_end(self, cluster: Cluster) -> bool:
        """
        Return whether the cluster may be terminated: it was launched for this address and has its active lease.

        Without a lock store the address must be on the cluster or free.
        """
        if cluster.tags.get(ALLOCATION_TAG) != self._allocation_id:
            return False
        lease_check = self._lease_client.check_step(self._job_flow_id)
        if lease_check.refusal is not None or lease_check.is_certain:
            return lease_check.refusal is None
        egress = self._read_egress(cluster)
        return isinstance(egress, Egress) or (egress.exists and egress.association_id is None)

    def lost_since(self, *, cluster: Cluster, step_ids: Sequence[str]) -> ElasticIpError | None:
        """
        Check again after the submission; return why the steps must not run, or ``None``.

        With a lock store the lease decides: while it is active no other owner may have the address. Without a store, or
        when it does not answer, the address decides: two polls must agree that it left. One poll is enough if the
        submission took so long that EC2's answer cannot be from before the first check.
        """
        lease_check = self._check_lease()
        if lease_check.refusal is not None:
            return self.not_leased(lease_check.refusal, f"cancelled the submitted {self._work}: {', '.join(step_ids)}")
        if lease_check.is_certain:
            return None
        egress = self._read_egress(cluster, before=self._egress)
        if not isinstance(egress, Egress) and clock.time() < self._checked_at + READS_LAG_SECONDS:
            self._kill.pause(SECOND_LOOK_SECONDS)
            egress = self._read_egress(cluster, before=self._egress)
        if isinstance(egress, Egress):
            return None
        return SubmissionCancelledError(
            self._allocation_id, job_flow_id=self._job_flow_id, place=egress.place, step_ids=step_ids, work=self._work
        )

    def not_leased(self, condition: str, consequence: str | None = None) -> NotLeasedError:
        """Return the error of a lease that does not allow the submission."""
        return NotLeasedError(
            self._allocation_id,
            job_flow_id=self._job_flow_id,
            condition=condition,
            consequence=consequence,
            work=self._work,
        )

    def lease_refusal(self) -> str | None:
        """Return why the lease does not allow a step; ``None`` if it does, or the lock store does not answer."""
        return self._check_lease().refusal

    def _check_lease(self) -> StepCheck:
        try:
            return self._lease_client.check_step(self._job_flow_id)
        except LockStoreUnavailableError as error:
            log.warning("%s", error)
            return NOT_KNOWN

    def _read_egress(self, cluster: Cluster, *, before: Egress | None = None) -> Egress | NotBound:
        return read_egress(self._eip.conn, self._emr.conn, self._allocation_id, cluster, before=before)
