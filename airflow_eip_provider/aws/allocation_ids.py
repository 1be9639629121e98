"""Allocation IDs of Elastic IPs."""

from __future__ import annotations

import re

from airflow_eip_provider.exceptions import InvalidInputError

_ALLOCATION_ID = re.compile(r"eipalloc-([0-9a-f]{8}|[0-9a-f]{17})")


def check_allocation_id(allocation_id: object) -> None:
    """
    Check the format of an allocation ID.

    :raises InvalidInputError: if it is not valid.
    """
    if not isinstance(allocation_id, str) or not _ALLOCATION_ID.fullmatch(allocation_id):
        raise InvalidInputError(
            f"checking allocation_id {allocation_id!r}",
            problem="this is not the allocation ID of an Elastic IP",
            remedy="give the 'Allocation ID' that EC2 shows (eipalloc-…), not the address or its association ID",
        )
