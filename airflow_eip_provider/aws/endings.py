"""Ending a cluster or an association with a boto3 client alone; idempotent."""

from __future__ import annotations

import logging
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.errors import error_code, is_denied, is_expired, is_transient
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS

log = logging.getLogger(__name__)

# A refusal that is not the protection's is sent again so often: the cluster's state may be in transition.
_ATTEMPTS = 4
_DELAY_SECONDS = 5


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


def end(conn: Any, job_flow_id: str) -> bool:
    """
    Terminate a cluster by its id, protected or not; nothing is read unless EMR refuses.

    (elasticmapreduce:TerminateJobFlows, …:SetTerminationProtection, …:DescribeCluster)

    TerminateJobFlows comes first, so that no throttled read keeps a paid cluster alive. EMR accepts it for a cluster
    that is ending or has ended, and refuses it for a protected or unknown one with the same error code
    (ValidationException), so after a refusal the protection is lifted and the request is sent again. Only then a look
    tells an unknown cluster from one that cannot be terminated. A cluster that is only seconds old may be unknown, so
    that is believed after ``READS_LAG_SECONDS``.

    :param conn: a boto3 client of EMR.
    :return: ``False`` when EMR does not know the cluster.
    :raises ClientError: EMR's refusal, when the cluster exists and is not ending.
    """
    deadline = clock.time() + READS_LAG_SECONDS
    for attempt in count(1):
        refusal = _terminate(conn, job_flow_id)
        if refusal is None:
            return True
        cluster = read_cluster(conn, job_flow_id)
        if cluster is not None and cluster.is_ending:
            log.info("Cluster %s is %s already", job_flow_id, cluster.state)
            return True
        if cluster is not None and (is_denied(refusal) or attempt >= _ATTEMPTS):
            raise refusal
        if cluster is None and clock.time() >= deadline:
            break
        clock.sleep(_DELAY_SECONDS)
    log.warning("EMR does not know cluster %s: there is nothing to terminate", job_flow_id)
    return False


def _terminate(conn: Any, job_flow_id: str) -> ClientError | None:
    """
    Send TerminateJobFlows, and again with the protection lifted when EMR refuses it.

    :return: EMR's last refusal; ``None`` when it accepted the request.
    """
    try:
        conn.terminate_job_flows(JobFlowIds=[job_flow_id])
    except ClientError as refused:
        if is_transient(refused) or is_expired(refused):
            raise
        if is_denied(refused):
            return refused
        log.info("EMR refuses to terminate cluster %s, lifting its termination protection: %s", job_flow_id, refused)
    else:
        log.info("Terminating cluster %s", job_flow_id)
        return None
    try:
        conn.set_termination_protection(JobFlowIds=[job_flow_id], TerminationProtected=False)
        conn.terminate_job_flows(JobFlowIds=[job_flow_id])
    except ClientError as refused:
        if is_transient(refused) or is_expired(refused):
            raise
        return refused
    log.info("Terminating cluster %s", job_flow_id)
    return None
