"""
The lease of an address without a lock store: EC2's refusal to re-associate is the lock, cluster tags are the state.

There is no queue, so no owner is first. An attempt waits until the address is free, launches, and associates; EC2
refuses if another attempt was faster. RunJobFlow has no idempotency token, and ListClusters and tags lag behind it. So
a cluster of an earlier attempt may appear late: the search for it is made at the start, after the association and at
the end.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_eip_provider import clock
from airflow_eip_provider.aws.addresses import put_on_primary, read_primaries
from airflow_eip_provider.aws.clusters import read_cluster, read_successors, read_tagged_clusters, took_over
from airflow_eip_provider.aws.endings import end
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, until_shown
from airflow_eip_provider.aws.nat_gateway_changes import (
    is_behind_own_gateway,
    remove_association,
    remove_own_gateways,
)
from airflow_eip_provider.aws.nat_gateways import read_cluster_gateways
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, IN_CHARGE_TAG, OWNER_DIGEST_TAG, SUCCESSOR_TAG, TRY_TAG
from airflow_eip_provider.exceptions import InvalidInputError, SupersededError
from airflow_eip_provider.lease.protocol import Acquired, Ending
from airflow_eip_provider.lease_client.interface import NO_RECORD, AddressInUse, Clients, LeaseClient, Successor
from airflow_eip_provider.lease_client.reads import is_cluster, read_existing, read_location

if TYPE_CHECKING:
    from typing import Any

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import NotStarted
    from airflow_eip_provider.lease.record import Attempt
    from airflow_eip_provider.lease.world import AddressLocation
    from airflow_eip_provider.lease_client.interface import ClusterLauncher, Undo

log = logging.getLogger(__name__)


class PhysicalLeaseClient(LeaseClient):
    """
    The lease of an address without a lock store.

    :param client_for: returns a boto3 client, by service and region.
    :param remembered: a cluster that an earlier attempt noted, even if ListClusters does not show it.
    """

    def __init__(
        self, *, allocation_id: str, client_for: Any, kill: KillFlag | None = None, remembered: str | None = None
    ) -> None:
        self.allocation_id = allocation_id
        self.clients = Clients(client_for)
        self.kill = kill
        self._remembered = remembered

    def check_prewarm(self, prewarm: int) -> None:
        """Refuse a fixed number of early starts; an estimate starts none without a queue."""
        if prewarm > 0:
            raise InvalidInputError(
                "checking prewarm",
                problem="only the first in the queue may prewarm, and without a lock store there is no queue",
                remedy="set lock_store or [eip] lock_store, or leave prewarm out",
            )

    def adopt(self, attempt: Attempt, launcher: ClusterLauncher) -> str | None:
        """
        Adopt the live cluster that an earlier attempt launched.

        The search covers EMR's list of clusters, and, as that may lag, the cluster that has the address and the one
        that was noted. The cluster that has the address is kept; all others are terminated.
        """
        if attempt.try_number == 1:
            return None
        tags = self._owner_tags(attempt.owner)
        clusters = read_tagged_clusters(self.clients["emr"], tags=tags, created_after=launcher.created_after)
        found = {cluster.job_flow_id: cluster for cluster in clusters}
        if self._remembered not in found and (cluster := self._read_own(self._remembered, tags)):
            found[cluster.job_flow_id] = cluster
        location = self._location()
        holder = next((name for name in location.resource_ids if is_cluster(name)), None)
        if associated := self._read_own(holder, tags):
            found[associated.job_flow_id] = associated
        if not found:
            return None
        kept = associated or next(iter(found.values()))
        self.clients["emr"].add_tags(
            ResourceId=kept.job_flow_id, Tags=[{"Key": TRY_TAG, "Value": str(attempt.try_number)}]
        )
        log.info("Adopting cluster %s of an earlier try", kept.job_flow_id)
        for surplus in found.keys() - {kept.job_flow_id}:
            end(self.clients["emr"], surplus)
            self.events.orphan_terminated(surplus)
        return kept.job_flow_id

    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: float = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired | AddressInUse:
        """Check that the address is free for a launch; an existing resource continues, as it may already have it."""
        if lease_request.wants:
            return Acquired(NO_RECORD)
        address = self.take_noted() or read_existing(self.clients, self.allocation_id, kill=self.kill)
        return Acquired(NO_RECORD) if address.is_free else AddressInUse()

    def successor(self, old: str, *, attempt: Attempt) -> Successor | None:
        """
        Return the successor according to the tags of clusters, which may lag after a launch or a choice.

        If two failovers launched a successor each at the same time, it is the one that :meth:`agreed` returns. No tag
        says which task runs a failover, so every task continues it: each part is idempotent.
        """
        location = self._location()
        found = {
            cluster.job_flow_id: cluster
            for cluster in self._successors(old)
            # Not a standby from a failover that has ended, or has not moved anything yet.
            if IN_CHARGE_TAG in cluster.tags or self._is_launched(cluster) or old not in location.resource_ids
        }
        if not found:
            return None
        cluster = found[self._chosen(list(found.values()))]
        in_charge = IN_CHARGE_TAG in cluster.tags
        if in_charge and (latest := self._in_charge_after(cluster.job_flow_id)) is not None:
            return Successor(latest, in_charge=True, is_own=False, has_address=True)
        has_address = in_charge or cluster.job_flow_id in location.resource_ids
        return Successor(cluster.job_flow_id, in_charge=in_charge, is_own=True, has_address=has_address)

    def _in_charge_after(self, old: str) -> str | None:
        """Return the cluster to which a series of later failovers moved the service of a successor."""
        found = [cluster.job_flow_id for cluster in self._successors(old) if IN_CHARGE_TAG in cluster.tags]
        if not found:
            return None
        return self._in_charge_after(found[-1]) or found[-1]

    def _successors(self, old: str) -> list[Cluster]:
        """Return the successors, oldest first, except those from which the service was moved back to this cluster."""
        found = read_successors(self.clients["emr"], old)
        if all(IN_CHARGE_TAG not in cluster.tags for cluster in found):
            return found
        old_cluster = read_cluster(self.clients["emr"], old)
        return [cluster for cluster in found if IN_CHARGE_TAG not in cluster.tags or took_over(cluster, old_cluster)]

    def move(
        self, lease_request: LeaseRequest, *, moved_from: str, due_seconds: float = 0.0
    ) -> Acquired | AddressInUse:
        """Continue: without a record, only the location of the address shows who has it."""
        return Acquired(NO_RECORD)

    def agreed(self, old: str, *, job_flow_id: str) -> str:
        """Return the successor that has the address, else the one that was launched first."""
        found = self._successors(old)
        if all(cluster.job_flow_id != job_flow_id for cluster in found):
            return job_flow_id  # EMR does not show its tags yet
        return self._chosen(found)

    def end_other_successors(self, old: str, *, keep: str) -> None:
        """Terminate the unused clusters that failovers have launched; a standby that they chose belongs to the user."""
        for cluster in self._successors(old):
            if cluster.job_flow_id != keep and self._is_launched(cluster):
                log.warning("Terminating cluster %s: %s has the service of %s", cluster.job_flow_id, keep, old)
                end(self.clients["emr"], cluster.job_flow_id)

    def _is_launched(self, cluster: Cluster) -> bool:
        """
        Whether a failover has launched a successor; otherwise it is a standby.

        A standby that another task of this provider launched has an owner, too, but usually not this address. What
        was launched with this address counts as launched by a failover.
        """
        launched_for = cluster.tags.get(ALLOCATION_TAG, "")
        return OWNER_DIGEST_TAG in cluster.tags and launched_for == self.allocation_id

    def _chosen(self, successors: list[Cluster]) -> str:
        job_flow_ids = [cluster.job_flow_id for cluster in successors]
        if len(job_flow_ids) > 1:
            return next((name for name in self._location().resource_ids if name in job_flow_ids), job_flow_ids[0])
        return job_flow_ids[0]

    def launch(
        self, acquired: Acquired, lease_request: LeaseRequest, launcher: ClusterLauncher, *, replaces: bool = False
    ) -> str | NotStarted:
        """Launch a cluster."""
        self._check_alive()
        return launcher.launch(try_number=lease_request.attempt.try_number, allocation_id=self.allocation_id)

    def give_up(self, attempt: Attempt, *, token: int | None, failed: str) -> None:
        """Do nothing, as there is no record."""

    def replace(
        self,
        attempt: Attempt,
        launcher: ClusterLauncher,
        *,
        token: int | None,
        failed: str,
        other: str | None = None,
    ) -> str | Ending:
        """
        End the cluster unless a newer attempt has adopted it, and launch the next one when it has ended.

        If the address is on a NAT gateway of the cluster, the gateway is removed, and the routes are restored.
        """
        self._check_alive()
        cluster = read_cluster(self.clients["emr"], failed)
        if cluster is not None and cluster.newest_try > attempt.try_number:
            raise SupersededError(self.allocation_id, problem=f"a newer try has adopted cluster {failed}")
        is_known = True
        if cluster is None or not cluster.is_ending:
            is_known = end(self.clients["emr"], failed)
        self.disassociate(failed)
        if cluster is not None:
            remove_own_gateways(self.clients["ec2"], cluster, allocation_id=self.allocation_id)
        # A read that does not show a new cluster does not mean that it has ended.
        has_ended = cluster.has_ended if cluster is not None else not is_known
        if not has_ended or failed in self._location().resource_ids:
            return Ending(has_ended=has_ended)
        self._check_alive()
        return launcher.launch(try_number=attempt.try_number, allocation_id=self.allocation_id)

    def hand_over(
        self, attempt: Attempt, *, token: int | None, resource_id: str, launcher: ClusterLauncher | None = None
    ) -> None:
        """Terminate clusters of earlier attempts that EMR did not show when this attempt began, minutes ago."""
        if launcher is not None and attempt.try_number > 1:
            created_after = launcher.created_after
            self._terminate_surplus(
                attempt.owner, keep=resource_id, try_number=attempt.try_number, created_after=created_after
            )

    def undo(self, undo: Undo) -> None:
        """Free the address, and terminate what the attempt launched, also a cluster that EMR shows late."""
        if undo.moved_from is not None and self._is_in_charge(undo.resource_id, old=undo.moved_from):
            log.info("Another failover has moved the service to cluster %s; it is not changed", undo.resource_id)
            return
        resource_id = undo.resource_id
        gateway_may_appear = resource_id is not None and self._undo_resource(resource_id, undo)
        if undo.moved_from is not None and undo.was_freed is not False:
            self._put_back(undo.moved_from)
        if undo.launched and undo.terminate and undo.attempt.owner:
            if undo.is_unclear:
                self._end_unclear(undo)
            if undo.attempt.try_number > 1:
                self._terminate_surplus(
                    undo.attempt.owner,
                    keep=resource_id,
                    try_number=undo.attempt.try_number,
                    created_after=undo.created_after,
                )
        if gateway_may_appear:
            until_shown(lambda: self.remove_gateways(str(resource_id)))

    def _is_in_charge(self, job_flow_id: str | None, *, old: str) -> bool:
        """Whether a failover has moved the service of the old cluster to another one."""
        cluster = read_cluster(self.clients["emr"], job_flow_id) if job_flow_id else None
        return cluster is not None and took_over(cluster, read_cluster(self.clients["emr"], old))

    def _read_launched(self, job_flow_id: str, undo: Undo) -> Cluster | None:
        """Read a cluster, twice if a newer try may have adopted it: the tags that say so may lag."""
        cluster = read_cluster(self.clients["emr"], job_flow_id)
        if cluster is None or not undo.may_be_adopted or cluster.is_ending:
            return cluster
        if cluster.newest_try <= undo.attempt.try_number:
            log.info(
                "Reading the tags of %s again in %s s: a newer try may have adopted it", job_flow_id, READS_LAG_SECONDS
            )
            clock.sleep(READS_LAG_SECONDS)
            cluster = read_cluster(self.clients["emr"], job_flow_id)
        return cluster

    def _undo_resource(self, resource_id: str, undo: Undo) -> bool:
        """
        Free the address of a resource, and terminate it if the attempt launched it.

        :return: whether a NAT gateway may have been created for it that EC2 does not show yet.
        """
        cluster = self._read_launched(resource_id, undo) if undo.launched else None
        if cluster is not None and cluster.newest_try > undo.attempt.try_number:
            log.info("A newer try has adopted cluster %s; it is not changed", resource_id)
            return False
        if cluster is not None and self._has_service(cluster):
            log.info("Another failover has moved a service to cluster %s; it is not changed", resource_id)
            return False
        if undo.succeeded and self._may_be_handed_over(resource_id, cluster):
            log.info("Cluster %s may be in use by the tasks that follow; it is not changed", resource_id)
            return False
        if undo.terminate:
            end(self.clients["emr"], resource_id)
        if undo.association_id is not None:
            remove_association(self.clients["ec2"], undo.association_id, patient=self.patient)
        elif undo.may_lag:
            # Otherwise a resource that continues to run would keep an address that EC2 does not show on it yet.
            until_shown(lambda: self.disassociate(resource_id))
        else:
            self.disassociate(resource_id)
        if not undo.terminate:
            return False
        # The tags by which a gateway is found do not change, and a second read may fail.
        cluster = cluster or read_cluster(self.clients["emr"], resource_id)
        has_none = not undo.may_have_gateway if cluster is None else not is_behind_own_gateway(cluster)
        return not has_none and not self.remove_gateways(resource_id)

    def _put_back(self, job_flow_id: str) -> None:
        """Associate the address with the cluster that a failover has not replaced, unless anything has it."""
        cluster = read_cluster(self.clients["emr"], job_flow_id)
        if cluster is not None and not cluster.is_ending:
            put_on_primary(self.clients["ec2"], self.allocation_id, job_flow_id=job_flow_id)

    def _has_service(self, cluster: Cluster) -> bool:
        """Whether a failover has moved a service to a cluster, which may have been launched by another failover."""
        if not cluster.tags.get(SUCCESSOR_TAG):
            return False
        return IN_CHARGE_TAG in cluster.tags or cluster.job_flow_id in self._location().resource_ids

    def _may_be_handed_over(self, resource_id: str, cluster: Cluster | None) -> bool:
        """
        Whether a resource has the address, or may have had it: an early release leaves the cluster to its tasks.

        The address cannot have been bound before the primary node ran. A cluster of a failover has a tag when it is in
        charge (:meth:`_has_service`).
        """
        if resource_id in self._location().resource_ids:
            return True
        if cluster is None or cluster.tags.get(SUCCESSOR_TAG):
            return False  # EMR knows every cluster that is older than a minute or two
        if cluster.state != "STARTING":
            return True
        ec2, job_flow_id = self.clients["ec2"], cluster.job_flow_id
        primary = read_primaries(ec2, {job_flow_id}).get(job_flow_id)
        had_gateway = is_behind_own_gateway(cluster) and read_cluster_gateways(
            ec2, job_flow_id, allocation_id=self.allocation_id
        )
        return bool(had_gateway) or (primary is not None and primary.state == "running")

    def _end_unclear(self, undo: Undo) -> None:
        """
        Terminate the cluster of a launch whose answer was lost, unless a newer try has adopted it.

        The search lasts until the cluster appears, or until EMR must show it.
        """
        tags = {**self._owner_tags(undo.attempt.owner), TRY_TAG: str(undo.attempt.try_number)}
        found = until_shown(
            lambda: read_tagged_clusters(self.clients["emr"], tags=tags, created_after=undo.created_after)
        )
        for cluster in found:
            log.warning("Terminating cluster %s: no task needs it", cluster.job_flow_id)
            end(self.clients["emr"], cluster.job_flow_id)
        if not found:
            log.warning(
                "RunJobFlow was sent, but EMR shows no cluster with %s. If there is one, a retry of this task, "
                "'airflow-eip reap' or EMR's idle termination terminates it",
                tags,
            )

    def end_surplus(self, cluster: Cluster, *, created_after: float) -> None:
        """Terminate clusters that appear late, if the creating task was retried."""
        owner = cluster.tags.get(OWNER_DIGEST_TAG)
        if owner and cluster.newest_try > 1:
            self._terminate_surplus(
                owner, keep=cluster.job_flow_id, try_number=cluster.newest_try, created_after=created_after
            )

    def _terminate_surplus(self, owner: str, *, keep: str | None, try_number: int, created_after: float) -> None:
        """Terminate all clusters of one owner, except one and those of a newer try."""
        tags = self._owner_tags(owner)
        for cluster in read_tagged_clusters(self.clients["emr"], tags=tags, created_after=created_after):
            if cluster.job_flow_id != keep and cluster.newest_try <= try_number:
                log.warning("Terminating cluster %s: an earlier try of the same task launched it", cluster.job_flow_id)
                end(self.clients["emr"], cluster.job_flow_id)
                self.events.orphan_terminated(cluster.job_flow_id)

    def _read_own(self, job_flow_id: str | None, tags: dict[str, str]) -> Cluster | None:
        """Read a cluster, which EMR may not know yet; return ``None`` unless it is this owner's and live."""
        cluster = until_shown(lambda: read_cluster(self.clients["emr"], job_flow_id)) if job_flow_id else None
        if cluster is None or cluster.is_ending or not tags.items() <= cluster.tags.items():
            return None
        return cluster

    def _owner_tags(self, owner: str) -> dict[str, str]:
        return {OWNER_DIGEST_TAG: owner, ALLOCATION_TAG: self.allocation_id}

    def _location(self) -> AddressLocation:
        """Return where the address is."""
        return read_location(self.clients, self.allocation_id)

    def _check_alive(self) -> None:
        if self.kill is not None:
            self.kill.check()
