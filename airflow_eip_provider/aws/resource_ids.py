"""Checks of the IDs of Elastic IPs, clusters and instances, and of the ARNs of roles."""

from __future__ import annotations

import re

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.ids import ALLOCATION_ID, INSTANCE_ID, JOB_FLOW_ID

_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/.+")


def check_allocation_id(allocation_id: object) -> None:
    """
    Check the form of an allocation ID.

    :raises InvalidInputError: for anything else.
    """
    if not isinstance(allocation_id, str) or not ALLOCATION_ID.fullmatch(allocation_id):
        raise InvalidInputError(
            f"checking allocation_id {allocation_id!r}",
            problem="this is not the allocation ID of an Elastic IP",
            remedy="give the 'Allocation ID' that EC2 shows (eipalloc-…), not the address or its association ID",
        )


def check_job_flow_id(job_flow_id: object) -> None:
    """
    Check the form of a rendered cluster ID.

    :raises InvalidInputError: for anything else, such as a name, a template that was not rendered, or a list as text.
    """
    if not isinstance(job_flow_id, str) or not JOB_FLOW_ID.fullmatch(job_flow_id):
        raise InvalidInputError(
            f"checking job_flow_id {job_flow_id!r}",
            problem="this is not the ID of an EMR cluster",
            remedy="give what EMR shows as 'Cluster ID' (j-…), e.g. the output of the creating task; a template inside "
            "an f-string needs its braces doubled",
        )


def check_instance_id(instance_id: object) -> None:
    """
    Check the form of a rendered instance ID.

    :raises InvalidInputError: for anything else.
    """
    if not isinstance(instance_id, str) or not INSTANCE_ID.fullmatch(instance_id):
        raise InvalidInputError(
            f"checking instance_id {instance_id!r}",
            problem="this is not the ID of an EC2 instance",
            remedy="give what EC2 shows as 'Instance ID' (i-…)",
        )


def is_role_arn(value: object) -> bool:
    """Return whether a value has the form of the ARN of an IAM role."""
    return isinstance(value, str) and _ROLE_ARN.fullmatch(value) is not None
