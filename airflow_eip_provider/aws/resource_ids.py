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
    _check(
        "allocation_id",
        allocation_id,
        ALLOCATION_ID,
        problem="this is not the allocation ID of an Elastic IP",
        remedy="give the 'Allocation ID' that EC2 shows (eipalloc-…), not the address or its association ID",
    )


def check_job_flow_id(job_flow_id: object) -> None:
    """
    Check the form of a rendered cluster ID.

    :raises InvalidInputError: for anything else, such as a name, a template that was not rendered, or a list as text.
    """
    _check(
        "job_flow_id",
        job_flow_id,
        JOB_FLOW_ID,
        problem="this is not the ID of an EMR cluster",
        remedy="give what EMR shows as 'Cluster ID' (j-…), e.g. the output of the creating task; a template inside "
        "an f-string needs its braces doubled",
    )


def check_instance_id(instance_id: object) -> None:
    """
    Check the form of a rendered instance ID.

    :raises InvalidInputError: for anything else.
    """
    _check(
        "instance_id",
        instance_id,
        INSTANCE_ID,
        problem="this is not the ID of an EC2 instance",
        remedy="give what EC2 shows as 'Instance ID' (i-…)",
    )


def _check(name: str, value: object, form: re.Pattern[str], *, problem: str, remedy: str) -> None:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise InvalidInputError(f"checking {name} {value!r}", problem=problem, remedy=remedy)


def is_role_arn(value: object) -> bool:
    """Return whether a value has the form of the ARN of an IAM role."""
    return isinstance(value, str) and _ROLE_ARN.fullmatch(value) is not None
