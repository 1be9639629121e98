"""Terminates clusters and disassociates addresses, idempotently."""

from __future__ import annotations

import logging
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.errors import IgnoreCodes, is_denied, is_expired, is_transient
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS

log = logging.getLogger(__name__)

# How often a refused request is sent: the state of the cluster may be changing.
_ATTEMPTS = 4
_DELAY_SECONDS = 5


def disassociate(conn: Any, association_id: str) -> bool:
    """
    Undo one association (ec2:DisassociateAddress).

    :param conn: a boto3 client of EC2.
    :return: ``False`` when it no longer exists.
    """
    with IgnoreCodes("InvalidAssociationID.NotFound"):
        conn.disassociate_address(AssociationId=association_id)
        return True
    return False


def end(conn: Any, job_flow_id: str) -> bool:
    """
    Terminate a cluster, even if it has termination protection.

    (elasticmapreduce:TerminateJobFlows, …:SetTerminationProtection, …:DescribeCluster)

    TerminateJobFlows comes first, so that a throttled read keeps no paid cluster running. EMR accepts it for a cluster
    that is terminating or has ended. It refuses it for a protected and for an unknown cluster with the same error code
    (ValidationException), so after a refusal the protection is removed and the request is sent again. After a second
    refusal the cluster is read. EMR may not show a cluster that is only seconds old, so it counts as unknown after
    ``READS_LAG_SECONDS``.

    :param conn: a boto3 client of EMR.
    :return: ``False`` when the cluster does not exist.
    :raises ClientError: when EMR refuses to terminate a cluster that exists and is not terminating.
    """
    deadline = clock.time() + READS_LAG_SECONDS
    for attempt in count(1):
        refusal = _terminate(conn, job_flow_id)
        if refusal is None:
            return True
        cluster = read_cluster(conn, job_flow_id)
        if cluster is not None and cluster.is_ending:
            log.info("Cluster %s is already %s", job_flow_id, cluster.state)
            return True
        if cluster is not None and (is_denied(refusal) or attempt >= _ATTEMPTS):
            raise refusal
        if cluster is None and clock.time() >= deadline:
            break
        clock.sleep(_DELAY_SECONDS)
    log.warning("Cluster %s does not exist, so there is nothing to terminate", job_flow_id)
    return False


def _terminate(conn: Any, job_flow_id: str) -> ClientError | None:
    """
    Send TerminateJobFlows; if EMR refuses, remove the termination protection and send it again.

    :return: EMR's last refusal; ``None`` when it accepted the request.
    """
    for unprotect in (False, True):
        try:
            if unprotect:
                conn.set_termination_protection(JobFlowIds=[job_flow_id], TerminationProtected=False)
            conn.terminate_job_flows(JobFlowIds=[job_flow_id])
        except ClientError as refusal:
            if is_transient(refusal) or is_expired(refusal):
                raise
            if unprotect or is_denied(refusal):
                return refusal
            log.info("EMR refuses to terminate cluster %s, removing its protection: %s", job_flow_id, refusal)
        else:
            log.info("Terminating cluster %s", job_flow_id)
            break
    return None
