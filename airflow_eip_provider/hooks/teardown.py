"""Taking the address off what has it. Idempotent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.nat_gateway_changes import remove_gateway

if TYPE_CHECKING:
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
