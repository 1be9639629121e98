"""EC2's status checks of instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_UNKNOWN_INSTANCE = "InvalidInstanceID.NotFound"
_IDS_PER_CALL = 100  # EC2 API Reference, DescribeInstanceStatus: "Maximum 100 explicitly specified instance IDs"
GONE_STATES = frozenset({"shutting-down", "terminated", "stopping", "stopped"})


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """
    What EC2 says of an instance's health (EC2 API Reference, DescribeInstanceStatus).

    :param state: "pending", "running", "shutting-down", "terminated", "stopping" or "stopped".
    :param instance_check: "ok", "impaired", "insufficient-data", "initializing" or "not-applicable": the software and
        network of the instance.
    :param system_check: likewise: the host below it.
    """

    instance_id: str
    state: str
    instance_check: str
    system_check: str


def read_instance_statuses(ec2: Any, instance_ids: Collection[str]) -> dict[str, InstanceStatus]:
    """
    Read the status checks of instances, by their ids; those that EC2 does not know are left out.

    One call for up to 100. One unknown id fails the whole call, and there is no filter by id, so then each is asked
    for by itself.
    """
    ordered = sorted(instance_ids)
    found: dict[str, InstanceStatus] = {}
    for start in range(0, len(ordered), _IDS_PER_CALL):
        some = ordered[start : start + _IDS_PER_CALL]
        try:
            items = _read(ec2, some)
        except ClientError as error:
            if error_code(error) != _UNKNOWN_INSTANCE:
                raise
            items = [item for one in some for item in _read_one(ec2, one)] if len(some) > 1 else []
        found.update({item["InstanceId"]: _status(item) for item in items})
    return found


def _read(ec2: Any, instance_ids: list[str]) -> list[Mapping[str, Any]]:
    request = {"InstanceIds": instance_ids, "IncludeAllInstances": True}  # or only running ones are returned
    return read_pages(ec2.describe_instance_status, "InstanceStatuses", **request)


def _read_one(ec2: Any, instance_id: str) -> list[Mapping[str, Any]]:
    try:
        return _read(ec2, [instance_id])
    except ClientError as error:
        if error_code(error) != _UNKNOWN_INSTANCE:
            raise
        return []


def _status(item: Mapping[str, Any]) -> InstanceStatus:
    return InstanceStatus(
        instance_id=item["InstanceId"],
        state=item["InstanceState"]["Name"],
        instance_check=item.get("InstanceStatus", {}).get("Status", "not-applicable"),
        system_check=item.get("SystemStatus", {}).get("Status", "not-applicable"),
    )
