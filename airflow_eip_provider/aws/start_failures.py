"""
Why a cluster did not start, and whether another zone, subnet or instance type may help.

Told by code: the codes of ErrorDetails, else the code of StateChangeReason. Only where EMR gives no code of its own
for a cause, and none in ErrorDetails, its text decides. Whatever is not in these tables is no reason to move on: the
launch fails, with what EMR says.

Sources, all in the Amazon EMR Management Guide unless another is named:

- "Error codes with ErrorDetail information in Amazon EMR": "Internal error codes", "Validation failure error codes" and
  "Bootstrap failure error codes". These are all the codes that it lists.
- EMR API Reference, ClusterStateChangeReason: the codes of StateChangeReason.
- "Resource errors during Amazon EMR cluster operations": the instance type that is not supported, the service quota.
- EC2 API Reference, "Error codes": what EC2 refuses an instance with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from airflow_eip_provider.aws.clusters import Cluster

Consequence: TypeAlias = Literal["move on", "fail"]

START_TIMEOUT = "start_timeout"
PRIMARY_LOST = "primary_lost"

# ErrorDetails.
ERROR_DETAILS: Mapping[str, Consequence] = {
    "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ": "move on",  # the zone has too few instances of the type
    "INTERNAL_ERROR_SPOT_NO_CAPACITY_PRIMARY": "move on",  # no Spot capacity for the primary node
    "INTERNAL_ERROR_SPOT_PRICE_INCREASE_PRIMARY": "move on",  # the Spot primary was taken back
    "VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED": "move on",  # region or zone does not offer the type
    "VALIDATION_ERROR_SUBNET_NOT_FROM_ONE_VPC": "fail",
    "VALIDATION_ERROR_SECURITY_GROUP_NOT_FROM_ONE_VPC": "fail",
    "VALIDATION_ERROR_INVALID_SSH_KEY_NAME": "fail",
    "BOOTSTRAP_FAILURE_PRIMARY_WITH_NON_ZERO_CODE": "fail",
    "BOOTSTRAP_FAILURE_BA_DOWNLOAD_FAILED_PRIMARY": "fail",
    "BOOTSTRAP_FAILURE_FILE_NOT_FOUND_PRIMARY": "fail",
    "BOOTSTRAP_FAILURE_INSUFFICIENT_DISK_SPACE_PRIMARY": "fail",
    "BOOTSTRAP_FAILURE_INSUFFICIENT_DISK_SPACE_WORKER": "fail",
    "BOOTSTRAP_FAILURE_HIVE_METASTORE_CONNECTION_ERROR_PRIMARY": "fail",
    "BOOTSTRAP_FAILURE_HIVE_METASTORE_CONNECTION_ERROR_WORKER": "fail",
}
# StateChangeReason.
STATE_CHANGES: Mapping[str, Consequence] = {
    "INSTANCE_FAILURE": "move on",  # an instance that the cluster cannot do without was lost: the primary
    "INTERNAL_ERROR": "fail",
    "VALIDATION_ERROR": "fail",
    "BOOTSTRAP_FAILURE": "fail",
    "STEP_FAILURE": "fail",
    "USER_REQUEST": "fail",
    "ALL_STEPS_COMPLETED": "fail",
}
# What EMR and EC2 write of a zone without a type, or without capacity for it, and of a subnet without a free address
# (EMR: "Subnet does not have enough free addresses", as users report it). EMR's text has "EC2 service quota" for a
# quota, and "throttling" for that; neither is here.
_ZONE_TEXTS = re.compile(
    r"not supported in (the|your) requested availability zone"
    r"|insufficient (instance )?capacity|insufficientinstancecapacity"
    r"|do not have sufficient \S+ capacity"
    r"|not have enough free (ip )?addresses",
    re.IGNORECASE,
)
_TEXT_DECIDES = frozenset({"INTERNAL_ERROR", "VALIDATION_ERROR", "ValidationException", "InternalServerException"})
# EC2's codes, and EMR's own, with which RunJobFlow is refused.
REFUSALS: Mapping[str, Consequence] = {
    "InsufficientInstanceCapacity": "move on",
    "InsufficientHostCapacity": "move on",
    "InsufficientReservedInstanceCapacity": "move on",
    "InsufficientCapacity": "move on",
    "SpotMaxPriceTooLow": "move on",
    "Unsupported": "move on",  # the zone does not offer the instance type
    "InstanceLimitExceeded": "fail",
    "VcpuLimitExceeded": "fail",
    "MaxSpotInstanceCountExceeded": "fail",
    "ValidationException": "fail",
    "InvalidRequestException": "fail",
    "AccessDeniedException": "fail",
}


@dataclass(frozen=True, slots=True)
class StartFailure:
    """
    Why a cluster did not start.

    :param code: EMR's, or "start_timeout" or "primary_lost".
    :param reason: what EMR says.
    :param moves_on: another candidate may start.
    """

    code: str
    reason: str
    moves_on: bool


def start_failure(cluster: Cluster, *, deadline: float, now: float) -> StartFailure:
    """
    Tell why a cluster that has ended, or is ending, did not start.

    :param deadline: until when it had to start, in seconds since the epoch. What was terminated later, and had not
        started, was terminated because of that.
    :param now: in seconds since the epoch; a cluster that is terminating has no end yet.
    """
    codes = [code for code in cluster.error_codes if code]
    ended_at = cluster.ended_at.timestamp() if cluster.ended_at else now
    if cluster.change_code == "USER_REQUEST" and not cluster.has_started and ended_at >= deadline:
        return StartFailure(START_TIMEOUT, cluster.reason, moves_on=True)
    # EMR may name the code of StateChangeReason in ErrorDetails once more; that one decides below.
    named = [code for code in codes if code not in STATE_CHANGES]
    if named:
        # One code that is no matter of the zone, or is in no table, is reason enough to fail.
        failing = next((code for code in named if ERROR_DETAILS.get(code) != "move on"), None)
        return StartFailure(failing or named[0], cluster.reason, moves_on=failing is None)
    moves_on = STATE_CHANGES.get(cluster.change_code) == "move on" or _is_about_the_zone(
        cluster.change_code, cluster.change_message
    )
    code = cluster.change_code or cluster.state
    return StartFailure(PRIMARY_LOST if code == "INSTANCE_FAILURE" else code, cluster.reason, moves_on=moves_on)


def refused_start(error: BaseException) -> StartFailure | None:
    """Tell why RunJobFlow was refused, if another candidate may start; ``None`` for every other error."""
    if not isinstance(error, ClientError) or error.operation_name != "RunJobFlow":
        return None
    code, text = error_code(error), str(error.response.get("Error", {}).get("Message", ""))
    if REFUSALS.get(code) == "move on" or _is_about_the_zone(code, text):
        return StartFailure(code, text, moves_on=True)
    return None


def _is_about_the_zone(code: str, text: str) -> bool:
    return code in _TEXT_DECIDES and _ZONE_TEXTS.search(text) is not None
