"""Ending a cluster or an association with a boto3 client alone; idempotent."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.calls import error_code, is_transient, perform
from airflow_eip_provider.readings.clusters import read_cluster

if TYPE_CHECKING:
    from airflow_eip_provider.readings.clusters import Cluster

log = logging.getLogger(__name__)

# EMR's reads are eventually consistent; for how long after RunJobFlow is not documented.
_UNKNOWN_LOOKS = 4
_UNKNOWN_DELAY_SECONDS = 5


def disassociate(conn: Any, association_id: str) -> bool:
    """
    Undo one association (ec2:DisassociateAddress).

    :param conn: a boto3 client of EC2.
    :return: ``False`` when it no longer exists.
    """
    try:
        conn.disassociate_address(AssociationId=association_id)
    except ClientError as error:
        if error_code(error) == "InvalidAssociationID.NotFound":
            return False
        raise
    return True


def end(conn: Any, job_flow_id: str) -> None:
    """
    Terminate a cluster by its id, be it so new that EMR does not know it everywhere yet, or gone already.

    (elasticmapreduce:DescribeCluster, …:SetTerminationProtection, …:TerminateJobFlows)

    :param conn: a boto3 client of EMR.
    """
    for _ in range(_UNKNOWN_LOOKS):
        cluster = perform(read_cluster(job_flow_id), {"emr": conn})
        if cluster is not None:
            terminate(conn, cluster)
            return
        if _terminate_unseen(conn, job_flow_id):
            return
        time.sleep(_UNKNOWN_DELAY_SECONDS)
    log.warning("EMR does not know cluster %s: there is nothing to terminate", job_flow_id)


def terminate(conn: Any, cluster: Cluster) -> None:
    """
    Terminate a cluster, protected or not (elasticmapreduce:SetTerminationProtection, …:TerminateJobFlows).

    TerminateJobFlows refuses protected clusters; terminating one that is ending already changes nothing.

    :param conn: a boto3 client of EMR.
    """
    if cluster.is_ending:
        return
    if cluster.termination_protected:
        log.info("Lifting termination protection of cluster %s", cluster.job_flow_id)
        conn.set_termination_protection(JobFlowIds=[cluster.job_flow_id], TerminationProtected=False)
    log.info("Terminating cluster %s", cluster.job_flow_id)
    conn.terminate_job_flows(JobFlowIds=[cluster.job_flow_id])


def _terminate_unseen(conn: Any, job_flow_id: str) -> bool:
    """Terminate a cluster that DescribeCluster does not show; return whether EMR took the order."""
    try:
        conn.terminate_job_flows(JobFlowIds=[job_flow_id])
    except ClientError as error:
        if is_transient(error):
            raise
        log.info("EMR does not know cluster %s, or does not terminate it: %s", job_flow_id, error)
        return False
    log.info("Terminating cluster %s, which EMR does not show yet", job_flow_id)
    return True
