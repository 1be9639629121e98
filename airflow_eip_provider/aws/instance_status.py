"""EC2's status checks of instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import IgnoreCodes, error_code
from airflow_eip_provider.aws.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_UNKNOWN_INSTANCE = "InvalidInstanceID.NotFound"
_IDS_PER_CALL = 100  # EC2 API Reference, DescribeInstanceStatus: "Maximum 100 explicitly specified instance IDs"
GONE_STATES = frozenset({"shutting-down", "terminated", "stopping", "stopped"})


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """
    The state and the status checks of an instance (EC2 API Reference, DescribeInstanceStatus).

    :param state: "pending", "running", "shutting-down", "terminated", "stopping" or "stopped".
    :param instance_check: "ok", "impaired", "insufficient-data", "initializing" or "not-applicable": of the software
        and the network of the instance.
    :param system_check: the same for the host.
    """

    instance_id: str
    state: str
    instance_check: str
    system_check: str


def read_instance_statuses(ec2: Any, instance_ids: Collection[str]) -> dict[str, InstanceStatus]:
    """
    Read the status checks of instances by their IDs; unknown instances are left out.

    One call reads up to 100. One unknown ID fails the call, and there is no filter by ID, so then each instance is read
    separately.
    """
    ordered = sorted(instance_ids)
    statuses: dict[str, InstanceStatus] = {}
    for start in range(0, len(ordered), _IDS_PER_CALL):
        chunk = ordered[start : start + _IDS_PER_CALL]
        try:
            items = _read(ec2, chunk)
        except ClientError as error:
            if error_code(error) != _UNKNOWN_INSTANCE:
                raise
            items = [item for name in chunk for item in _read_known(ec2, name)] if len(chunk) > 1 else []
        statuses.update({item["InstanceId"]: _status(item) for item in items})
    return statuses


def _read(ec2: Any, instance_ids: list[str]) -> list[Mapping[str, Any]]:
    request = {"InstanceIds": instance_ids, "IncludeAllInstances": True}  # not only running ones
    return read_pages(ec2.describe_instance_status, "InstanceStatuses", **request)


def _read_known(ec2: Any, instance_id: str) -> list[Mapping[str, Any]]:
    with IgnoreCodes(_UNKNOWN_INSTANCE):
        return _read(ec2, [instance_id])
    return []


def _status(item: Mapping[str, Any]) -> InstanceStatus:
    return InstanceStatus(
        instance_id=item["InstanceId"],
        state=item["InstanceState"]["Name"],
        instance_check=item.get("InstanceStatus", {}).get("Status", "not-applicable"),
        system_check=item.get("SystemStatus", {}).get("Status", "not-applicable"),
    )
