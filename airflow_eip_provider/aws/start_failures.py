"""
Why a cluster did not start, and whether another zone, subnet or instance type may help.

The codes of ErrorDetails decide, or else the code of StateChangeReason. The text decides only for causes that have no
code of their own. After any other failure the launch fails, with EMR's reason.

Sources, in the Amazon EMR Management Guide unless another is named:

- "Error codes with ErrorDetail information in Amazon EMR": "Internal error codes", "Validation failure error codes" and
  "Bootstrap failure error codes". All codes that it lists are below.
- EMR API Reference, ClusterStateChangeReason: the codes of StateChangeReason.
- "Resource errors during Amazon EMR cluster operations": unsupported instance types and service quotas.
- EC2 API Reference, "Error codes": why EC2 refuses to launch an instance.
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
    "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ": "move on",  # the zone has no capacity for the type
    "INTERNAL_ERROR_SPOT_NO_CAPACITY_PRIMARY": "move on",  # no Spot capacity for the primary node
    "INTERNAL_ERROR_SPOT_PRICE_INCREASE_PRIMARY": "move on",  # the Spot primary node was interrupted
    "VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED": "move on",  # the region or the zone does not offer the type
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
    "INSTANCE_FAILURE": "move on",  # the primary node was lost
    "INTERNAL_ERROR": "fail",
    "VALIDATION_ERROR": "fail",
    "BOOTSTRAP_FAILURE": "fail",
    "STEP_FAILURE": "fail",
    "USER_REQUEST": "fail",
    "ALL_STEPS_COMPLETED": "fail",
}
# The texts of EMR and EC2 for a zone that does not offer a type or has no capacity for it, and for a subnet without
# free addresses (EMR: "Subnet does not have enough free addresses", as users report). The texts for quotas ("EC2
# service quota") and throttling do not match.
_ZONE_TEXTS = re.compile(
    r"not supported in (the|your) requested availability zone"
    r"|insufficient (instance )?capacity|insufficientinstancecapacity"
    r"|do not have sufficient \S+ capacity"
    r"|not have enough free (ip )?addresses",
    re.IGNORECASE,
)
_TEXT_DECIDES = frozenset({"INTERNAL_ERROR", "VALIDATION_ERROR", "ValidationException", "InternalServerException"})
# The codes of EC2 and EMR in refusals of RunJobFlow.
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

    :param code: of EMR, or "start_timeout" or "primary_lost".
    :param reason: the text of EMR.
    :param moves_on: another candidate may start.
    """

    code: str
    reason: str
    moves_on: bool


def start_failure(cluster: Cluster, *, deadline: float, now: float) -> StartFailure:
    """
    Return why a cluster that has ended, or is terminating, did not start.

    :param deadline: the end of its start timeout, in seconds since the epoch. A cluster that a user terminates later
        and that had not started was terminated because of the timeout.
    :param now: in seconds since the epoch; counts as the end of a cluster that is terminating.
    """
    ended_at = cluster.ended_at.timestamp() if cluster.ended_at else now
    if cluster.change_code == "USER_REQUEST" and not cluster.has_started and ended_at >= deadline:
        return StartFailure(START_TIMEOUT, cluster.reason, moves_on=True)
    # ErrorDetails may repeat the code of StateChangeReason, which is judged below.
    if details := [code for code in cluster.error_codes if code and code not in STATE_CHANGES]:
        # One code that does not concern the zone, or is unknown, is enough to fail.
        failing = next((code for code in details if ERROR_DETAILS.get(code) != "move on"), None)
        return StartFailure(failing or details[0], cluster.reason, moves_on=failing is None)
    code = cluster.change_code
    moves_on = STATE_CHANGES.get(code) == "move on" or _is_about_the_zone(code, cluster.change_message)
    name = PRIMARY_LOST if code == "INSTANCE_FAILURE" else code or cluster.state
    return StartFailure(name, cluster.reason, moves_on=moves_on)


def refused_start(error: BaseException) -> StartFailure | None:
    """Return why RunJobFlow was refused, if another candidate may start; ``None`` for every other error."""
    if not isinstance(error, ClientError) or error.operation_name != "RunJobFlow":
        return None
    code, text = error_code(error), str(error.response.get("Error", {}).get("Message", ""))
    if REFUSALS.get(code) == "move on" or _is_about_the_zone(code, text):
        return StartFailure(code, text, moves_on=True)
    return None


def refused_parameters(error: BaseException) -> bool:
    """Return whether RunJobFlow refused its parameters, so that it would refuse them again."""
    is_invalid = isinstance(error, ClientError) and error_code(error) == "ValidationException"
    return is_invalid and refused_start(error) is None


def _is_about_the_zone(code: str, text: str) -> bool:
    return code in _TEXT_DECIDES and _ZONE_TEXTS.search(text) is not None
