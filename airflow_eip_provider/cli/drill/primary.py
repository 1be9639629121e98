"""Checks of the cluster that a drill stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.clusters import READY_STATES
from airflow_eip_provider.aws.errors import error_code, is_denied
from airflow_eip_provider.cli.drill.plan import BY_HAND, CLUSTER, INSTANCE
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.cli.drill.scene import Scene
    from airflow_eip_provider.preflight import Finding

_WOULD_SUCCEED = "DryRunOperation"


def find_state_problems(scene: Scene) -> Iterator[Finding]:
    """Look at the primary: there is nothing to measure when it does not serve."""
    subject, cluster = f"cluster '{scene.plan.job_flow_id}'", scene.primary
    if cluster is None:
        yield error(
            subject,
            what=f"EMR does not know it in region '{scene.region}'",
            why="there is nothing to stop",
            mend="give the id of the primary, and check the region",
        )
    elif cluster.state not in READY_STATES:
        yield error(
            subject,
            what=f"it is {cluster.state}",
            why="what is measured is the recovery of a service that runs",
            mend="wait until it is WAITING or RUNNING, or name the cluster that serves now",
        )
    elif scene.primary_instance is None:
        yield error(
            subject,
            what="EC2 does not show its primary node",
            why="there is nothing to stop",
            mend="try again in a minute; allow elasticmapreduce:ListInstances and ec2:DescribeInstances",
        )


def missing_services(scene: Scene) -> str | None:
    """Say why the primary's services cannot be asked."""
    if not scene.plan.services:
        return "no service is to be asked (--service none)"
    return None if scene.primary_instance else "no primary node is known"


def find_service_problems(scene: Scene) -> Iterator[Finding]:
    """Ask the services; from a machine outside of the VPC nobody can, so silence alone stops no drill."""
    if scene.primary_instance is None:
        return
    for result in scene.ask(scene.primary_instance):
        if result.failed:
            yield warning(
                f"service '{result.check}' of cluster '{scene.plan.job_flow_id}'",
                what=result.problem,
                why="a service that is down already, or that this machine does not reach, cannot be measured from here",
                mend="run the drill where Airflow runs, or name the services that are to be asked (--service)",
            )


def missing_stop(scene: Scene) -> str | None:
    """Say why nothing can be said of the stop."""
    if scene.plan.stop == BY_HAND:
        return "you stop it by hand"
    return None if scene.primary_instance else "no primary node is known"


def find_stop_problems(scene: Scene) -> Iterator[Finding]:
    """Ask EC2 with DryRun; EMR has none."""
    cluster, instance = scene.primary, scene.primary_instance
    if cluster is None or instance is None:
        return
    subject = f"primary instance '{instance.instance_id}'"
    if scene.plan.stop == CLUSTER:
        return
    if cluster.termination_protected:
        yield error(
            subject,
            what=f"cluster '{cluster.job_flow_id}' has termination protection, which EMR gives to its instances, too",
            why="EC2 refuses to terminate the instance",
            mend=f"use --stop {CLUSTER}, which lifts the protection, or --stop {BY_HAND}",
        )
    try:
        scene.ec2.terminate_instances(InstanceIds=[instance.instance_id], DryRun=True)
    except ClientError as refused:
        if error_code(refused) == _WOULD_SUCCEED:
            return
        if not is_denied(refused):
            raise
        yield error(
            subject,
            what="ec2:TerminateInstances is not permitted (EC2 was asked with DryRun)",
            why=f"--stop {INSTANCE} terminates it",
            mend="allow it: airflow-eip iam-policy --drill prints the policy, which covers clusters that carry the tag "
            "airflow-eip:allocation-id; or use another way to stop the primary",
        )
