"""The check of the quota: EC2 allows the vCPUs of a cold standby."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.errors import is_denied
from airflow_eip_provider.aws.quotas import (
    STANDARD_VCPUS,
    is_standard,
    read_running_types,
    read_standard_vcpu_quota,
    read_vcpus,
    total_vcpus,
)
from airflow_eip_provider.cli.drill.finding import NotApplicable
from airflow_eip_provider.preflight.finding import error, warning
from airflow_eip_provider.preflight.node_pools import node_pools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_eip_provider.cli.drill.resources import Resources
    from airflow_eip_provider.preflight import Finding

_SUBJECT = f"quota '{STANDARD_VCPUS}' (vCPUs of standard On-Demand Instances)"


def find_quota_problems(resources: Resources) -> Iterator[Finding]:
    """Add the standby's vCPUs to the running ones, and compare the sum with the quota."""
    if not resources.plan.is_cold:
        raise NotApplicable("the standby runs already")
    standby_types, others = _instances_of(resources.plan.job_flow_overrides or {})
    if others:
        yield warning(
            "quota",
            what=f"the quota of {', '.join(others)} was not checked",
            why="Spot Instances and other families than A, C, D, H, I, M, R, T and Z have separate quotas",
            remedy="check them in the Service Quotas console",
        )
    if not standby_types:
        return
    try:
        limit = read_standard_vcpu_quota(resources.hooks.client_for("service-quotas", None))
    except (BotoCoreError, ClientError) as failed:
        denied = is_denied(failed)
        reason = "servicequotas:GetServiceQuota is not permitted" if denied else f"Service Quotas answered: {failed}"
        yield warning(
            _SUBJECT,
            what=f"it could not be read: {reason}",
            why="it is not known whether EC2 would start the standby's instances",
            remedy="allow it (airflow-eip iam-policy --drill), or check the quota in the Service Quotas console",
        )
        return
    running_types = read_running_types(resources.ec2)
    vcpus = read_vcpus(resources.ec2, {*standby_types, *running_types})
    needed, used = total_vcpus(standby_types, vcpus), total_vcpus(running_types, vcpus)
    if used + needed > limit:
        fits_later = used - _primary_vcpus(resources, vcpus) + needed <= limit
        make_finding = warning if fits_later else error
        yield make_finding(
            _SUBJECT,
            what=f"it is {limit:g}; {used} run, and the standby needs {needed}"
            + ("; it fits when the primary has ended" if fits_later else ""),
            why="EC2 refuses the instances, and the standby does not start",
            remedy="request a higher quota (aws service-quotas request-service-quota-increase), or use less",
        )


def _primary_vcpus(resources: Resources, vcpus: Mapping[str, int]) -> int:
    """Return the vCPUs of the primary's instances; they may still run when the standby is launched."""
    filters = [{"Name": "tag:aws:elasticmapreduce:job-flow-id", "Values": [resources.plan.job_flow_id]}]
    groups = resources.ec2.describe_instances(Filters=filters)["Reservations"]
    running = [i for group in groups for i in group["Instances"] if i["State"]["Name"] in {"pending", "running"}]
    return sum(vcpus.get(i["InstanceType"], 0) for i in running if is_standard(i["InstanceType"]))


def _instances_of(job_flow: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return the number of standard On-Demand Instances of a launch by type, and a description of each other kind."""
    standard: Counter[str] = Counter()
    others: list[str] = []
    for pool in node_pools(job_flow.get("Instances", {})):
        name = pool.types[0] if pool.types else "an unknown type"
        if pool.spot:
            others.append(f"{pool.spot} x {name} (Spot)")
        if pool.on_demand and is_standard(name):
            standard[name] += pool.on_demand
        elif pool.on_demand:
            others.append(f"{pool.on_demand} x {name}")
    return standard, others
