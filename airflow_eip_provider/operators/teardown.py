"""Ending a tenancy: the cluster terminated, the address free. Idempotent, whatever is gone already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_eip_provider.hooks.eip import Address, ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook

log = logging.getLogger(__name__)


def address_on_cluster(eip: ElasticIpHook, *, allocation_id: str, job_flow_id: str) -> Address | None:
    """Return the address if an instance of this cluster carries it, by EMR's own tag on the instance; else ``None``."""
    address = eip.get_address(allocation_id)
    if address is None or address.is_free or eip.get_holder(address).job_flow_id != job_flow_id:
        return None
    return address


def free_address(eip: ElasticIpHook, *, allocation_id: str, job_flow_id: str) -> bool:
    """
    Take the address off this cluster, and off nothing else.

    An AssociationId names one association for ever: if another took the address meanwhile, this undoes nothing of
    theirs.

    :return: whether there was something to undo.
    """
    address = address_on_cluster(eip, allocation_id=allocation_id, job_flow_id=job_flow_id)
    if address is None or address.association_id is None:
        return False
    freed = eip.disassociate(address.association_id)
    log.info("Elastic IP %s (%s) is off cluster %s", allocation_id, address.public_ip, job_flow_id)
    return freed


def end_cluster(emr: EmrClusterHook, eip: ElasticIpHook, *, allocation_id: str, job_flow_id: str) -> None:
    """Terminate a cluster on which no step was started, and free the address."""
    emr.end(job_flow_id)
    free_address(eip, allocation_id=allocation_id, job_flow_id=job_flow_id)
