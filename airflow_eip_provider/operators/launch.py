"""Launching a cluster once for an owner, although RunJobFlow has no idempotency token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.clusters import Cluster, read_tagged_clusters
from airflow_eip_provider.aws.errors import is_expired, is_transient, was_refused
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, OWNER_DIGEST_TAG, TOKEN_TAG, TRY_TAG, as_items
from airflow_eip_provider.exceptions import LaunchUnclearError
from airflow_eip_provider.releases import auto_termination

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook
    from airflow_eip_provider.operators.owner import Owner

# ListClusters and tags may lag behind a RunJobFlow whose answer was lost; for how long is not documented. Two minutes.
_UNCLEAR_DELAYS = (0, 5, 10, 15, 30, 60)


class Launcher:
    """
    One owner's cluster.

    :param config: what RunJobFlow is to be sent, before tags and the net of an idle timeout are added.
    :param idle_timeout: left out for a release that has no such thing; ``None`` asks for none.
    :param tags: of the cluster, besides its owner's.
    :param created_after: seconds since the epoch, before which no try of the owner launched anything.
    :param renew: returns a hook that reads the credentials again.
    :ivar is_unclear: whether RunJobFlow was sent and neither its answer nor its cluster is known.
    """

    def __init__(
        self,
        emr: EmrClusterHook,
        *,
        config: Mapping[str, Any],
        owner: Owner,
        allocation_id: str,
        idle_timeout: timedelta | None,
        tags: Mapping[str, str],
        created_after: float = 0.0,
        renew: Callable[[], EmrClusterHook] | None = None,
    ) -> None:
        self.is_unclear = False
        self._emr = emr
        self._renew = renew
        self._owner = owner
        self._allocation_id = allocation_id
        self._tags = dict(tags)
        self._created_after = created_after
        self.config = dict(config)
        self.config.setdefault("Name", f"{owner.dag_id}.{owner.task_id}")
        if idle_timeout is not None and auto_termination(self.config) != "none":
            self.config.setdefault("AutoTerminationPolicy", {"IdleTimeout": int(idle_timeout.total_seconds())})

    def launch(self, *, try_number: int, token: int | None = None) -> str:
        """
        Launch the cluster and return its id.

        :param token: of the lease that it is launched under.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster shows up.
        """
        tags = {**self._owner.tags(allocation_id=self._allocation_id), **self._tags, TRY_TAG: str(try_number)}
        if token is not None:
            tags[TOKEN_TAG] = str(token)
        config = {**self.config, "Tags": [*self.config.get("Tags", []), *as_items(tags)]}
        self.is_unclear = True  # also when a timeout or a kill interrupts the request
        try:
            launched = self._emr.run_job_flow(config)
        except Exception as error:
            if not is_transient(error) or was_refused(error):
                # What is not of botocore came from a signal, and says nothing about the request.
                self.is_unclear = not isinstance(error, (ClientError, BotoCoreError))
                raise
            launched = self._search(token, unclear=error)
        self.is_unclear = False
        return launched

    def _search(self, token: int | None, *, unclear: Exception) -> str:
        """
        Look for the cluster of a launch without an answer.

        Whatever a look fails with counts as no answer. RunJobFlow was sent: the caller must not take the error for one
        of a launch that never happened, and send it again.

        :raises LaunchUnclearError: when the cluster does not show up.
        """
        self._emr.log.warning("RunJobFlow gave no clear answer, looking for its cluster: %s", unclear)
        problem = f"{type(unclear).__name__}: {unclear}"
        for delay in _UNCLEAR_DELAYS:
            time.sleep(delay)
            try:
                if found := self._find(token):
                    return found[0].job_flow_id
            except Exception as unanswered:
                self._emr.log.warning("Looking for the cluster failed, it may exist all the same: %s", unanswered)
                if is_expired(unanswered) and self._renew is not None:
                    self._emr = self._renew()
        raise LaunchUnclearError(self.config["Name"], owner=str(self._owner), problem=problem) from unclear

    def end_unclear(self, *, try_number: int) -> None:
        """
        Terminate the cluster of this try's launch whose answer was lost or not waited for.

        Looks until it shows up, or until the reads of EMR must show it; one that a newer try has adopted is left alone.
        """
        deadline = time.time() + READS_LAG_SECONDS
        tags = {**self._owner_tags, TRY_TAG: str(try_number)}
        while True:
            found = read_tagged_clusters(self._emr.conn, tags=tags, created_after=self._created_after)
            for cluster in found:
                self._emr.log.warning("Terminating cluster %s: nothing waits for it any more", cluster.job_flow_id)
                self._emr.end(cluster.job_flow_id)
            if found:
                self.is_unclear = False
                return
            if time.time() >= deadline:
                self._emr.log.warning(
                    "RunJobFlow was sent, and no cluster with %s shows up. If there is one, a retry of this task, "
                    "'airflow-eip reap' or EMR's idle termination ends it",
                    tags,
                )
                return
            time.sleep(SECOND_LOOK_SECONDS)

    def adopt(self, eip: ElasticIpHook, *, try_number: int, remembered: str | None = None) -> str | None:
        """
        Find the cluster that an earlier try of this owner launched and no one ended, and speak for it from now on.

        Looks among EMR's live clusters, where the address is, and at the one that is remembered: these may be clusters
        which ListClusters omits. The one that carries the address is kept; any other is a surplus and is terminated.

        :param remembered: the cluster that an earlier try noted.
        """
        found = {cluster.job_flow_id: cluster for cluster in self._find()}
        if remembered is not None and remembered not in found and (cluster := self._ours(remembered)):
            found[remembered] = cluster
        associated = self._associated(eip)
        if associated is not None:
            found[associated.job_flow_id] = associated
        if not found:
            return None
        kept = associated or next(iter(found.values()))
        self._emr.conn.add_tags(ResourceId=kept.job_flow_id, Tags=[{"Key": TRY_TAG, "Value": str(try_number)}])
        self._emr.log.info("Adopting cluster %s of an earlier try", kept.job_flow_id)
        for surplus in found.values():
            if surplus is not kept:
                self._emr.end(surplus.job_flow_id)
        return kept.job_flow_id

    def _find(self, token: int | None = None) -> list[Cluster]:
        tags = self._owner_tags
        if token is not None:
            tags[TOKEN_TAG] = str(token)
        return read_tagged_clusters(self._emr.conn, tags=tags, created_after=self._created_after)

    def _associated(self, eip: ElasticIpHook) -> Cluster | None:
        address = eip.get_address(self._allocation_id)
        holder = eip.get_holder(address) if address and not address.is_free else None
        if holder is None or holder.job_flow_id is None:
            return None
        return self._ours(holder.job_flow_id)

    def _ours(self, job_flow_id: str) -> Cluster | None:
        cluster = self._emr.get_cluster(job_flow_id)
        if cluster is None or cluster.is_ending or not self._owner_tags.items() <= cluster.tags.items():
            return None
        return cluster

    @property
    def _owner_tags(self) -> dict[str, str]:
        return {OWNER_DIGEST_TAG: self._owner.digest, ALLOCATION_TAG: self._allocation_id}
