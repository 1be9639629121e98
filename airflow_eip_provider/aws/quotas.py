"""The vCPU quota of an account and region, and how much of it is used."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.pages import as_filters, read_pages

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", in vCPUs (EC2 User Guide, "Amazon EC2 service
# quotas"). Other families, and Spot Instances, have their own quotas.
STANDARD_VCPUS = "L-1216C47A"
_STANDARD_FAMILIES = frozenset("acdhimrtz")
_OTHER_FAMILIES = ("dl", "hpc", "inf", "trn", "vt")  # not standard, in spite of their first letters
_COUNTED_STATES = ("pending", "running")


def is_standard(instance_type: str) -> bool:
    """Whether an instance type counts towards the quota of standard instances, e.g. m5.xlarge."""
    family = instance_type.partition(".")[0].lower()
    return family[:1] in _STANDARD_FAMILIES and not family.startswith(_OTHER_FAMILIES)


def read_standard_vcpu_quota(service_quotas: Any) -> float:
    """Read the quota of vCPUs of standard On-Demand Instances (servicequotas:GetServiceQuota)."""
    response = service_quotas.get_service_quota(ServiceCode="ec2", QuotaCode=STANDARD_VCPUS)
    return float(response["Quota"]["Value"])


def read_vcpus(ec2: Any, instance_types: Collection[str]) -> dict[str, int]:
    """Read the number of vCPUs of instance types (ec2:DescribeInstanceTypes)."""
    if not instance_types:
        return {}
    found = read_pages(ec2.describe_instance_types, "InstanceTypes", InstanceTypes=sorted(instance_types))
    return {item["InstanceType"]: int(item["VCpuInfo"]["DefaultVCpus"]) for item in found}


def read_running_types(ec2: Any) -> dict[str, int]:
    """Count the running On-Demand Instances of standard types, by type (ec2:DescribeInstances)."""
    filters = as_filters({"instance-state-name": _COUNTED_STATES})
    groups = read_pages(ec2.describe_instances, "Reservations", Filters=filters)
    on_demand = [item for group in groups for item in group["Instances"] if not item.get("InstanceLifecycle")]
    return Counter(item["InstanceType"] for item in on_demand if is_standard(item["InstanceType"]))


def total_vcpus(counts: Mapping[str, int], vcpus: Mapping[str, int]) -> int:
    """Return the vCPUs of instances, from their number and their vCPUs by type."""
    return sum(count * vcpus.get(name, 0) for name, count in counts.items())
