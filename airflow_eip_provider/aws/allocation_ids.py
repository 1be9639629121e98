"""The form of an Elastic IP's allocation ID."""

from __future__ import annotations

import re

from airflow_eip_provider.exceptions import InvalidInputError

_ALLOCATION_ID = re.compile(r"eipalloc-([0-9a-f]{8}|[0-9a-f]{17})")


def check_allocation_id(allocation_id: object) -> None:
    """
    Check the form of an allocation ID.

    :raises InvalidInputError: when it cannot be one.
    """
    if not isinstance(allocation_id, str) or not _ALLOCATION_ID.fullmatch(allocation_id):
        raise InvalidInputError(
            f"checking allocation_id {allocation_id!r}",
            problem="this is not the allocation ID of an Elastic IP",
            remedy="give what EC2 shows as 'Allocation ID' (eipalloc-…), neither the address nor its association",
        )
