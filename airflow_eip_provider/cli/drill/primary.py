"""The checks of the cluster that a drill stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.clusters import READY_STATES
from airflow_eip_provider.aws.errors import error_code, is_denied
from airflow_eip_provider.cli.drill.finding import NotApplicable, find_silent_services
from airflow_eip_provider.cli.drill.plan import BY_HAND, CLUSTER, INSTANCE
from airflow_eip_provider.preflight.finding import error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.cli.drill.resources import Resources
    from airflow_eip_provider.preflight import Finding

_WOULD_SUCCEED = "DryRunOperation"


def find_state_problems(resources: Resources) -> Iterator[Finding]:
    """Check that the primary serves: otherwise there is nothing to measure."""
    subject, cluster = f"cluster '{resources.plan.job_flow_id}'", resources.primary
    if cluster is None:
        yield error(
            subject,
            what=f"EMR does not know it in region '{resources.region}'",
            why="there is nothing to stop",
            remedy="give the id of the primary, and check the region",
        )
    elif cluster.state not in READY_STATES:
        yield error(
            subject,
            what=f"it is {cluster.state}",
            why="the drill measures the recovery of a running service",
            remedy="wait until it is WAITING or RUNNING, or give the cluster that serves now",
        )
    elif resources.primary_instance is None:
        yield error(
            subject,
            what="EC2 does not show its primary node",
            why="there is nothing to stop",
            remedy="try again in a minute; allow elasticmapreduce:ListInstances and ec2:DescribeInstances",
        )


def find_service_problems(resources: Resources) -> Iterator[Finding]:
    """Check the services; these are warnings, as a machine outside of the VPC does not reach the nodes."""
    return find_silent_services(
        resources,
        resources.primary_instance,
        f"cluster '{resources.plan.job_flow_id}'",
        why="a service that is down, or that this machine does not reach, cannot be measured from here",
        remedy="run the drill where Airflow runs, or choose the services to check (--service)",
    )


def find_stop_problems(resources: Resources) -> Iterator[Finding]:
    """Check the permission to stop the primary: with DryRun of EC2; EMR has none."""
    if resources.plan.stop == BY_HAND:
        raise NotApplicable("you stop it by hand")
    cluster, instance = resources.primary, resources.primary_instance
    if cluster is None or instance is None:
        raise NotApplicable("no primary node is known")
    if resources.plan.stop == CLUSTER:
        return
    subject = f"primary instance '{instance.instance_id}'"
    if cluster.termination_protected:
        yield error(
            subject,
            what=f"cluster '{cluster.job_flow_id}' has termination protection, which also protects its instances",
            why="EC2 refuses to terminate the instance",
            remedy=f"use --stop {CLUSTER}, which removes the protection, or --stop {BY_HAND}",
        )
    try:
        resources.ec2.terminate_instances(InstanceIds=[instance.instance_id], DryRun=True)
    except ClientError as refused:
        if error_code(refused) == _WOULD_SUCCEED:
            return
        if not is_denied(refused):
            raise
        yield error(
            subject,
            what="ec2:TerminateInstances is not permitted (according to a DryRun)",
            why=f"--stop {INSTANCE} terminates it",
            remedy="allow it: airflow-eip iam-policy --drill prints the policy, which covers clusters with the tag "
            "airflow-eip:allocation-id; or use another way to stop the primary",
        )
