"""Availability Zones: their states, and the instance types that they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.pages import as_filters, read_pages

if TYPE_CHECKING:
    from collections.abc import Collection


def read_zone_states(ec2: Any, zones: Collection[str]) -> dict[str, str]:
    """
    Read the states of Availability Zones by their names; unknown zones are left out.

    A state is ``available``, ``information``, ``impaired``, ``unavailable`` or ``constrained`` (EC2 API Reference,
    AvailabilityZone).
    """
    if not zones:
        return {}
    response = ec2.describe_availability_zones(Filters=as_filters({"zone-name": zones}))
    return {item["ZoneName"]: item["State"] for item in response["AvailabilityZones"]}


def read_offered_types(
    ec2: Any, instance_types: Collection[str], *, zones: Collection[str]
) -> frozenset[tuple[str, str]]:
    """
    Read which of these zones offer which of these instance types, as pairs of zone and type.

    An offer is not capacity: a zone that has run out of a type still offers it (EC2 API Reference,
    DescribeInstanceTypeOfferings).
    """
    if not instance_types or not zones:
        return frozenset()
    filters = as_filters({"instance-type": instance_types, "location": zones})
    request = {"LocationType": "availability-zone", "Filters": filters}
    offers = read_pages(ec2.describe_instance_type_offerings, "InstanceTypeOfferings", **request)
    return frozenset((item["Location"], item["InstanceType"]) for item in offers)
