"""Ending what a task began: steps cancelled, the cluster terminated, the address free. Idempotent."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.clusters import read_tagged_clusters
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS
from airflow_eip_provider.aws.nat_gateway_changes import remove_gateway, remove_gateways
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, BINDING_TAG, CLUSTER_GATEWAY, OWNER_DIGEST_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook

log = logging.getLogger(__name__)


def address_on_cluster(eip: ElasticIpHook, *, allocation_id: str, job_flow_id: str) -> Address | None:
    """
    Return the address if an instance of this cluster carries it, or a NAT gateway that was made for it; else ``None``.

    By EMR's own tag on the instance, and by ours on the gateway. Any instance and interface counts, not only where the
    primary node leaves from: it is asked to spare or to end a cluster that has the address, not to run steps.
    """
    address = eip.get_address(allocation_id)
    if address is None or address.is_free or eip.get_holder(address).job_flow_id != job_flow_id:
        return None
    return address


def free_address(eip: ElasticIpHook, *, allocation_id: str, job_flow_id: str) -> bool:
    """
    Take the address off this cluster, and off nothing else.

    An AssociationId names one association for ever, and so does a NAT gateway's id: if another took the address
    meanwhile, this undoes nothing of theirs. A gateway keeps the address for about a minute while it is deleted.

    :return: whether there was something to undo.
    """
    address = eip.get_address(allocation_id)
    if address is None or address.association_id is None:
        return False
    holder = eip.get_holder(address)
    if holder.job_flow_id != job_flow_id:
        return False
    if holder.gateway is not None:
        remove_gateway(eip.conn, holder.gateway)
        freed = not holder.gateway.is_ending
    else:
        freed = eip.disassociate(address.association_id)
    log.info("Elastic IP %s (%s) is off cluster %s", allocation_id, address.public_ip, job_flow_id)
    return freed


def free_left_behind(emr: EmrClusterHook, eip: ElasticIpHook, *, allocation_id: str) -> bool:
    """
    Take the address off a NAT gateway whose cluster has ended: it would keep the address for ever.

    :return: whether there was such a gateway.
    """
    address = eip.get_address(allocation_id)
    holder = eip.get_holder(address) if address and not address.is_free else None
    if holder is None or holder.gateway is None or holder.job_flow_id is None:
        return False
    cluster = emr.get_cluster(holder.job_flow_id)
    if cluster is None or not cluster.has_ended:
        return False
    log.info("Cluster %s has ended; Elastic IP %s comes off its NAT gateway", holder.job_flow_id, allocation_id)
    remove_gateway(eip.conn, holder.gateway)
    return True


def remove_gateways_of_ending(
    emr: EmrClusterHook, eip: ElasticIpHook, *, allocation_id: str, job_flow_id: str | None
) -> None:
    """
    Remove what was made for a cluster, if that is on its way out: a gateway that failed, or does not show the address.

    :param job_flow_id: ``None`` for no cluster.
    """
    cluster = emr.get_cluster(job_flow_id) if job_flow_id else None
    if cluster is not None and cluster.is_ending and cluster.tags.get(BINDING_TAG) == CLUSTER_GATEWAY:
        remove_gateways(eip.conn, cluster.job_flow_id, allocation_id=allocation_id)


def end_cluster(
    emr: EmrClusterHook,
    eip: ElasticIpHook,
    *,
    allocation_id: str,
    job_flow_id: str,
    try_number: int,
    terminate: bool = True,
    may_be_adopted: bool = False,
) -> None:
    """
    Terminate a cluster on which no step was started, and free the address; a newer try's is left alone.

    :param try_number: of the try that launched or adopted it.
    :param terminate: end the cluster, too.
    :param may_be_adopted: a newer try may be at work. The tags that name it may lag behind, so they are read again
        after ``READS_LAG_SECONDS`` before the cluster is terminated.
    """
    cluster = emr.get_cluster(job_flow_id)
    if may_be_adopted and cluster is not None and not cluster.is_ending and cluster.newest_try <= try_number:
        log.info("Reading the tags of cluster %s again in %s s: is it a newer try's?", job_flow_id, READS_LAG_SECONDS)
        time.sleep(READS_LAG_SECONDS)
        cluster = emr.get_cluster(job_flow_id)
    if cluster is not None and cluster.newest_try > try_number:
        log.info("A newer try has adopted cluster %s; leaving it alone", job_flow_id)
        return
    if terminate:
        emr.end(job_flow_id)
    deadline = time.time() + READS_LAG_SECONDS
    while not free_address(eip, allocation_id=allocation_id, job_flow_id=job_flow_id):
        # A cluster that lives on would keep the address that EC2 does not show on it yet.
        if terminate or time.time() >= deadline:
            break
        time.sleep(SECOND_LOOK_SECONDS)
    if terminate and cluster is not None and cluster.tags.get(BINDING_TAG) == CLUSTER_GATEWAY:
        remove_gateways(eip.conn, job_flow_id, allocation_id=allocation_id)


def end_surplus(
    emr: EmrClusterHook, *, allocation_id: str, owner: str, keep: str | None, try_number: int, created_after: float
) -> None:
    """
    Terminate clusters of one owner besides the one that has the address; those of a newer try are left alone.

    An earlier try may have launched one that EMR did not show yet when the next try looked for it: RunJobFlow has no
    client token, and ListClusters and tags lag behind it. Only without a lock store; with one, the lease knows them.

    :param owner: the owner's digest.
    :param keep: the cluster that has the address; ``None`` to end every one.
    :param try_number: of the owner's attempt.
    :param created_after: seconds since the epoch, before which no try of the owner launched anything.
    """
    tags = {OWNER_DIGEST_TAG: owner, ALLOCATION_TAG: allocation_id}
    for cluster in read_tagged_clusters(emr.conn, tags=tags, created_after=created_after):
        if cluster.job_flow_id != keep and cluster.newest_try <= try_number:
            log.warning("Terminating cluster %s: an earlier try of the same task launched it", cluster.job_flow_id)
            emr.end(cluster.job_flow_id)


def cancel_steps(emr: EmrClusterHook, *, job_flow_id: str, step_ids: Sequence[str]) -> None:
    """Cancel steps. Nothing is read first: EMR leaves steps alone that have ended, and a read may fail or lag."""
    if step_ids:
        log.info("Cancelling steps %s of cluster %s, if they have not ended", ", ".join(step_ids), job_flow_id)
        emr.cancel_steps(job_flow_id, step_ids=step_ids)
