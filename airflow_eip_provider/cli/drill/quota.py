"""The check of the quota: whether EC2 would let so many vCPUs run."""

from __future__ import annotations

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
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_eip_provider.cli.drill.scene import Scene
    from airflow_eip_provider.preflight import Finding

_SUBJECT = f"quota '{STANDARD_VCPUS}' (vCPUs of standard On-Demand Instances)"


def find(scene: Scene) -> Iterator[Finding]:
    """Add the standby's vCPUs to those that run, and compare them with the quota."""
    wanted, others = _instances_of(scene.plan.job_flow or {})
    if others:
        yield warning(
            "quota",
            what=f"the quota of {', '.join(others)} was not looked at",
            why="Spot Instances and other families than A, C, D, H, I, M, R, T and Z have quotas of their own",
            mend="look at them in the console of Service Quotas",
        )
    if not wanted:
        return
    try:
        limit = read_standard_vcpu_quota(scene.service_quotas)
    except (BotoCoreError, ClientError) as refused:
        yield _unreadable(refused)
        return
    running = read_running_types(scene.ec2)
    vcpus = read_vcpus(scene.ec2, {*wanted, *running})
    needed, used = total_vcpus(wanted, vcpus), total_vcpus(running, vcpus)
    if used + needed > limit:
        after = "it fits when the primary has ended" if _fits_without_primary(scene, limit, needed, used, vcpus) else ""
        finding = warning if after else error
        yield finding(
            _SUBJECT,
            what=f"it is {limit:g}; {used} run, and the standby needs {needed}" + (f"; {after}" if after else ""),
            why="EC2 refuses the instances, and the standby does not start",
            mend="ask for a higher quota (aws service-quotas request-service-quota-increase), or use less",
        )


def _unreadable(refused: Exception) -> Finding:
    denied = is_denied(refused)
    return warning(
        _SUBJECT,
        what="it could not be read: "
        + ("servicequotas:GetServiceQuota is not permitted" if denied else f"Service Quotas answered: {refused}"),
        why="it is not known whether EC2 would start the standby's instances",
        mend="allow it (airflow-eip iam-policy --drill), or look at the quota in the console of Service Quotas",
    )


def _fits_without_primary(scene: Scene, limit: float, needed: int, used: int, vcpus: Mapping[str, int]) -> bool:
    """Whether there is room once the primary's instances have ended; they may not have when the standby is launched."""
    filters = [{"Name": "tag:aws:elasticmapreduce:job-flow-id", "Values": [scene.plan.job_flow_id]}]
    groups = scene.ec2.describe_instances(Filters=filters)["Reservations"]
    types = [item["InstanceType"] for group in groups for item in group["Instances"] if _runs(item)]
    return used - sum(vcpus.get(name, 0) for name in types if is_standard(name)) + needed <= limit


def _runs(item: Mapping[str, Any]) -> bool:
    return item["State"]["Name"] in {"pending", "running"}


def _instances_of(job_flow: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return the standard On-Demand Instances of a launch, counted by type, and what else there is, in words."""
    instances = job_flow.get("Instances", {})
    wanted: dict[str, int] = {}
    others: list[str] = []
    for name, count, is_spot in [*_of_groups(instances), *_of_fleets(instances)]:
        if is_spot or not is_standard(name):
            others.append(f"{count} x {name}" + (" (Spot)" if is_spot else ""))
        else:
            wanted[name] = wanted.get(name, 0) + count
    return wanted, others


def _of_groups(instances: Mapping[str, Any]) -> Iterator[tuple[str, int, bool]]:
    for group in instances.get("InstanceGroups", ()):
        is_spot = group.get("Market") == "SPOT" or bool(group.get("BidPrice"))
        yield str(group.get("InstanceType")), int(group.get("InstanceCount", 1)), is_spot


def _of_fleets(instances: Mapping[str, Any]) -> Iterator[tuple[str, int, bool]]:
    """Count a fleet as if all of it were its first type: EMR chooses, and one target is in units of capacity."""
    for fleet in instances.get("InstanceFleets", ()):
        config: Mapping[str, Any] = next(iter(fleet.get("InstanceTypeConfigs", ())), {})
        weight = int(config.get("WeightedCapacity", 1)) or 1
        for kind, is_spot in (("TargetOnDemandCapacity", False), ("TargetSpotCapacity", True)):
            if capacity := int(fleet.get(kind, 0)):
                yield str(config.get("InstanceType")), -(-capacity // weight), is_spot
