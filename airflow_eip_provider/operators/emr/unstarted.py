"""Terminating a cluster that was handed over, and is not RUNNING or WAITING in time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_active_steps
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, until_answered
from airflow_eip_provider.aws.nat_gateway_changes import remove_own_gateways
from airflow_eip_provider.exceptions import StartTimeoutError

if TYPE_CHECKING:
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease_client.interface import LeaseClient

log = logging.getLogger(__name__)


def judged_at(cluster: Cluster) -> float | None:
    """Return when EMR must show whether the cluster has started in time, in seconds since the epoch."""
    return None if cluster.start_deadline is None else cluster.start_deadline + READS_LAG_SECONDS


def end_unstarted(
    aws: AwsHooks, lease_client: LeaseClient, cluster: Cluster, *, allocation_id: str, kill: KillFlag
) -> StartTimeoutError:
    """
    Terminate the cluster, release its address and its lease as a teardown does, and return the error.

    If AWS does not answer after the termination, the teardown frees the address.
    """
    kill.check()
    job_flow_id = cluster.job_flow_id
    aws.emr.end(job_flow_id)
    try:
        until_answered(lambda: _free(aws, lease_client, cluster, allocation_id=allocation_id))
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning("The address of cluster %s is not free yet; the teardown frees it: %s", job_flow_id, error)
    since = cluster.created_at.timestamp() if cluster.created_at else clock.time()
    return StartTimeoutError(
        job_flow_id, state=cluster.state, reason=cluster.reason, seconds=max(clock.time() - since, 0.0)
    )


def _free(aws: AwsHooks, lease_client: LeaseClient, cluster: Cluster, *, allocation_id: str) -> None:
    """
    Release the address and the lease of a terminating cluster; it can be repeated.

    EMR accepts no steps for it. If a step started at the last moment, the address stays until the teardown has seen
    that step end.
    """
    job_flow_id = cluster.job_flow_id
    running = [step for step in read_active_steps(aws.emr.conn, job_flow_id) if step.state != "PENDING"]
    if running:
        log.warning(
            "Step %s of cluster %s has started; the teardown frees the address", running[0].step_id, job_flow_id
        )
        lease_client.start_release(job_flow_id)
        return
    lease_client.disassociate(job_flow_id)
    remove_own_gateways(aws.eip.conn, cluster, allocation_id=allocation_id)
    lease_client.release(job_flow_id, why="the cluster did not start in time")
