"""
Surveys a region and ends the clusters that orphaned tasks left there.

A cluster with a lease or a queue entry is ended as its own task would end it, by the lease client's ``undo``. This
starts the release of the lease first, by a write that fails if another process has written meanwhile. So no newer try
adopts a cluster that is about to be terminated. If a step is still ending, the next owner that observes the lease
completes the release.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import metrics
from airflow_eip_provider.aws.addresses import read_all_addresses, read_tagged_instances
from airflow_eip_provider.aws.clusters import read_active_steps, read_clusters_of_any_owner
from airflow_eip_provider.aws.lag import SECOND_LOOK_SECONDS, until_shown
from airflow_eip_provider.aws.nat_gateway_changes import is_behind_own_gateway, remove_gateways
from airflow_eip_provider.aws.nat_gateways import read_all_cluster_gateways
from airflow_eip_provider.aws.tags import (
    ALLOCATION_TAG,
    CLUSTER_TAG,
    IN_CHARGE_TAG,
    KEEP_TAG,
    OWNER_DIGEST_TAG,
    OWNER_TAG,
    TOKEN_TAG,
)
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.lease.description import utc
from airflow_eip_provider.lease.protocol import lease_tags_of
from airflow_eip_provider.lease.record import Lease
from airflow_eip_provider.lease_client.interface import Undo
from airflow_eip_provider.lease_client.reads import is_cluster, parse_lease_tags, read_location
from airflow_eip_provider.operators.owner import Owner
from airflow_eip_provider.reaper.survey import (
    Decision,
    Evidence,
    JudgedCluster,
    LeftAddress,
    LeftGateway,
    Survey,
    decide,
)
from airflow_eip_provider.stores.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.lease.record import Entry, Record
    from airflow_eip_provider.lease_client.interface import LeaseClient
    from airflow_eip_provider.reaper.owners import Judgement, Owners

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The outcome of reaping one cluster.

    :param reaped: whether it is ending now.
    :param failed: an error occurred, or something is left; the message says what.
    """

    job_flow_id: str
    reaped: bool
    message: str
    failed: bool = False

    def __str__(self) -> str:
        return f"cluster {self.job_flow_id}: {self.message}"

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return asdict(self)


class _Cache:
    """Reads the state of each owner and each record at most once."""

    def __init__(self, owners: Owners, record: Callable[[str], Record]) -> None:
        self.judge: Callable[[Owner | None], Judgement] = owners.new_judge()
        self.record = functools.cache(record)


class Reaper:
    """
    Finds and ends clusters whose owner has finished, and NAT gateways without a cluster, in one account and region.

    It only reads until :meth:`reap` is called. It is safe to run twice, late, and while Airflow is running.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNatGateways, elasticmapreduce:ListClusters,
    …:DescribeCluster, …:ListSteps; to reap also ec2:DescribeNetworkInterfaces, ec2:DisassociateAddress,
    elasticmapreduce:SetTerminationProtection, …:TerminateJobFlows; for NAT gateways that were made for clusters
    ec2:DescribeRouteTables, ec2:DeleteNatGateway, ec2:ReplaceRoute, ec2:DeleteRoute; for the lock store see ``stores``.

    :param hooks: the hooks for the account and region.
    :param lock_store: the URI of the lock store; without one, the leases of reaped clusters are left to
        their next owners.
    :param min_age: younger clusters are kept, as they may have been launched just now.
    :param job_flow_ids: clusters that are reaped even if their owners are unknown.
    :raises InvalidInputError: for an invalid job flow ID, and for a malformed URI.
    """

    def __init__(
        self,
        *,
        hooks: AwsHooks,
        owners: Owners,
        lock_store: str | None = None,
        min_age: timedelta = timedelta(hours=1),
        job_flow_ids: Collection[str] = (),
    ) -> None:
        for job_flow_id in job_flow_ids:
            if not is_cluster(job_flow_id):
                raise InvalidInputError(
                    f"looking for cluster '{job_flow_id}'",
                    problem="that is not a job flow ID",
                    remedy="job flow IDs begin with 'j-'",
                )
        if lock_store:
            parse_uri(lock_store)
        self._hooks = hooks
        self._eip = hooks.eip
        self._emr = hooks.emr
        self._owners = owners
        self._lock_store = lock_store
        self._min_age = min_age
        self._named = frozenset(job_flow_ids)

    def survey(self) -> Survey:
        """Read and judge all live clusters that were launched for an address; change nothing."""
        clusters = read_clusters_of_any_owner(self._emr.conn)
        cache = _Cache(self._owners, self._record)
        judged = [self._judge(cluster, cache) for cluster in clusters]
        live = {cluster.job_flow_id for cluster in clusters}
        absent = sorted(self._named - live)
        not_known = [job_flow_id for job_flow_id in absent if self._emr.get_cluster(job_flow_id) is None]
        addresses, gateways = self._left_addresses(live), self._left_gateways(live)
        return Survey(judged, addresses, gateways, absent=absent, not_known=not_known)

    def reap_all(self, survey: Survey) -> list[Outcome]:
        """Reap the clusters and gateways of a survey; continue after an error with one of them."""
        actions = [
            (left.job_flow_id, f"Removing NAT gateway {left.nat_gateway_id}", functools.partial(self._remove, left))
            for left in survey.gateways
        ]
        for job_flow_id in (judged.cluster.job_flow_id for judged in survey.to_reap):
            actions += [(job_flow_id, f"Reaping cluster {job_flow_id}", functools.partial(self.reap, job_flow_id))]
        outcomes: list[Outcome] = []
        for job_flow_id, doing, action in actions:
            try:
                outcomes.append(action())
            except Exception as error:
                log.warning("%s failed: %s", doing, error)
                outcomes.append(Outcome(job_flow_id, reaped=False, message=str(error), failed=True))
        metrics.flush()
        return outcomes

    def _remove(self, gateway: LeftGateway) -> Outcome:
        remove_gateways(self._eip.conn, gateway.job_flow_id, allocation_id=gateway.allocation_id)
        return Outcome(gateway.job_flow_id, reaped=True, message=f"NAT gateway {gateway.nat_gateway_id} is removed")

    def reap(self, job_flow_id: str) -> Outcome:
        """
        End one cluster, its lease and its association, if it is still to be reaped when it is judged again.

        Termination protection is lifted. The address is disassociated at once if no step of the cluster runs, otherwise
        when the instance ends. A NAT gateway that was created for the cluster is removed when its steps have ended; if
        they still run after a minute, by the next run.
        """
        cluster = self._emr.get_cluster(job_flow_id)
        if cluster is None or cluster.is_ending:
            return Outcome(job_flow_id, reaped=True, message="it is ending already")
        cache = _Cache(self._owners, self._record)
        judged = self._judge(cluster, cache)
        if judged.decision is not Decision.REAP:
            return Outcome(job_flow_id, reaped=False, message=f"kept after all: {judged.reason}")
        cluster, allocation_id = judged.cluster, judged.allocation_id
        log.info("Reaping cluster %s of '%s': %s", job_flow_id, judged.owner, judged.reason)
        self._end(cluster, allocation_id, cache.record(allocation_id))
        if not until_shown(lambda: self._is_ending(job_flow_id), within=SECOND_LOOK_SECONDS):
            return Outcome(job_flow_id, reaped=False, message="kept after all: a newer try of its owner is running")
        metrics.send(metrics.ORPHANS_TERMINATED, allocation_id=allocation_id)
        if not is_behind_own_gateway(cluster):
            return self._outcome(cluster, allocation_id, stays="stays on it until its steps have ended")
        # TerminateJobFlows cancels the steps; until they have ended, they need the gateway.
        if not until_shown(lambda: not self._steps(cluster)):
            message = "terminated; its steps still run, so its NAT gateway with Elastic IP "
            message += f"{allocation_id} stays: run this again"
            return Outcome(job_flow_id, reaped=True, message=message, failed=True)
        remove_gateways(self._eip.conn, job_flow_id, allocation_id=allocation_id)
        return self._outcome(cluster, allocation_id, stays="is on its NAT gateway until that is deleted")

    def _judge(self, cluster: Cluster, cache: _Cache) -> JudgedCluster:
        record = cache.record(cluster.tags[ALLOCATION_TAG])
        part = _part(record, cluster)
        if part is None and self._lock_store and (moved := self._moved(cluster)) is not None:
            cluster, record = moved, self._record(moved.tags[ALLOCATION_TAG])
            part = _part(record, cluster)
        allocation_id, digest = cluster.tags[ALLOCATION_TAG], cluster.tags[OWNER_DIGEST_TAG]
        owner = _owner(digest, [cluster.tags.get(OWNER_TAG, ""), *_names(record)])
        judgements = [cache.judge(owner)]
        if part is not None and part.attempt.owner != digest:  # another owner's address was put on the cluster
            judgements.append(cache.judge(_owner(part.attempt.owner, [part.attempt.name])))
        evidence = Evidence(
            age=cluster.age,
            owners=judgements,
            lease=_description(part),
            busy=self._steps(cluster) if cluster.job_flow_id in self._named else (),
            named=cluster.job_flow_id in self._named,
            kept=KEEP_TAG in cluster.tags,
            in_charge=cluster.tags.get(IN_CHARGE_TAG),
        )
        decision, reason = decide(evidence, min_age=self._min_age)
        owner_name = str(owner) if owner else cluster.tags.get(OWNER_TAG, digest)
        return JudgedCluster(cluster, allocation_id, owner_name, decision, reason)

    def _moved(self, cluster: Cluster) -> Cluster | None:
        """
        Return the current state of a cluster whose address tag has changed since it was read, else ``None``.

        A cluster that was started early for one address of a pool may get another one. Its owner leaves the queue of
        the first just before the tags change. So if no record names the cluster, its tags may have been read too early.
        """
        if TOKEN_TAG not in cluster.tags:
            return None
        again = self._emr.get_cluster(cluster.job_flow_id)
        address = None if again is None else again.tags.get(ALLOCATION_TAG)
        return again if address not in {None, cluster.tags[ALLOCATION_TAG]} else None

    def _record(self, allocation_id: str) -> Record:
        return self._lease_client(allocation_id).read().record

    def _lease_client(self, allocation_id: str) -> LeaseClient:
        return self._hooks.lease_client(self._lock_store, allocation_id)

    def _steps(self, cluster: Cluster) -> list[str]:
        return [f"step {step.step_id}" for step in read_active_steps(self._emr.conn, cluster.job_flow_id)]

    def _end(self, cluster: Cluster, allocation_id: str, record: Record) -> None:
        lease_client, part, job_flow_id = self._lease_client(allocation_id), _part(record, cluster), cluster.job_flow_id
        if part is not None:
            # ``launched`` is not set, because the caller removes a gateway when no step needs it.
            lease_client.undo(Undo(part.attempt, job_flow_id, token=part.token, terminate=True))
            return
        self._emr.end(job_flow_id)
        if not self._steps(cluster):
            lease_client.disassociate(job_flow_id)
            lease_client.release(job_flow_id, why="reaped")

    def _is_ending(self, job_flow_id: str) -> bool:
        cluster = self._emr.get_cluster(job_flow_id)
        return cluster is None or cluster.is_ending

    def _outcome(self, cluster: Cluster, allocation_id: str, *, stays: str) -> Outcome:
        job_flow_id = cluster.job_flow_id
        clients = {"ec2": self._eip.conn, "emr": self._emr.conn}
        is_associated = job_flow_id in read_location(clients, allocation_id).resource_ids
        address = stays if is_associated else "is no longer on it"
        message = f"terminated; Elastic IP {allocation_id} {address}"
        if self._lock_store is None and TOKEN_TAG in cluster.tags:
            message += "; without a lock store, its lease is left to the next owner"
        return Outcome(job_flow_id, reaped=True, message=message)

    def _left_gateways(self, live: Collection[str]) -> list[LeftGateway]:
        left = []
        for gateway in read_all_cluster_gateways(self._eip.conn):
            job_flow_id = str(gateway.job_flow_id)
            cluster = None if job_flow_id in live else self._emr.get_cluster(job_flow_id)
            if cluster is not None and cluster.has_ended:
                left.append(LeftGateway(gateway.tags[ALLOCATION_TAG], gateway.gateway_id, job_flow_id))
        return left

    def _left_addresses(self, live: Collection[str]) -> list[LeftAddress]:
        """Return the addresses on instances whose cluster has ended."""
        addresses = [address for address in read_all_addresses(self._eip.conn) if address.instance_id]
        if not addresses:
            return []
        instances = {i.instance_id: i for i in read_tagged_instances(self._eip.conn, ALLOCATION_TAG)}
        left = []
        for address in addresses:
            instance = instances.get(str(address.instance_id))
            if instance is None or instance.tags[ALLOCATION_TAG] != address.allocation_id:
                continue
            job_flow_id = instance.tags.get(CLUSTER_TAG)
            if job_flow_id is None or job_flow_id in live:
                continue
            cluster = self._emr.get_cluster(job_flow_id)
            if cluster is None or cluster.has_ended:
                state = instance.state
                left.append(
                    LeftAddress(address.allocation_id, address.public_ip, instance.instance_id, state, job_flow_id)
                )
        return left


def _part(record: Record, cluster: Cluster) -> Lease | Entry | None:
    """Return the lease of a cluster, or the queue entry under which it was started early."""
    lease_tags, lease = parse_lease_tags(cluster.tags, cluster.tags[ALLOCATION_TAG]), record.lease
    if lease is not None:
        named = lease.resource_id == cluster.job_flow_id
        if named or (lease.resource_id is None and lease_tags_of(lease) == lease_tags):
            return lease
    return next((entry for entry in record.queue if lease_tags_of(entry) == lease_tags), None)


def _description(part: Lease | Entry | None) -> str | None:
    if part is None:
        return None
    if isinstance(part, Lease):
        return f"it has the address by the lease of '{part.attempt.name}' since {utc(part.acquired_at)}"
    return f"it was started early for '{part.attempt.name}', which has been in the queue since {utc(part.arrived_at)}"


def _names(record: Record) -> list[str]:
    """Return the full names of the owners in the record; a tag may be truncated."""
    parts: list[Lease | Entry] = [*([record.lease] if record.lease else []), *record.queue]
    return [*(part.attempt.name for part in parts), *(ended.owner for ended in record.history)]


def _owner(digest: str, names: Collection[str]) -> Owner | None:
    owners = (Owner.of_name(name, digest=digest) for name in names)
    return next((owner for owner in owners if owner is not None), None)
