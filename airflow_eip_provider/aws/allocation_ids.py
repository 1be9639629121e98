"""Allocation IDs of Elastic IPs."""

from __future__ import annotations

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.ids import ALLOCATION_ID


def check_allocation_id(allocation_id: object) -> None:
    """
    Check the format of an allocation ID.

    :raises InvalidInputError: if it is not valid.
    """
    if not isinstance(allocation_id, str) or not ALLOCATION_ID.fullmatch(allocation_id):
        raise InvalidInputError(
            f"checking allocation_id {allocation_id!r}",
            problem="this is not the allocation ID of an Elastic IP",
            remedy="give the 'Allocation ID' that EC2 shows (eipalloc-…), not the address or its association ID",
        )
