"""Availability Zones: whether they are available, and which instance types they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Collection


def read_zone_states(ec2: Any, zones: Collection[str]) -> dict[str, str]:
    """
    Return the states of Availability Zones by their names; those that are unknown here are left out.

    They are ``available``, ``information``, ``impaired``, ``unavailable`` or ``constrained`` (EC2 API Reference,
    AvailabilityZone).
    """
    if not zones:
        return {}
    response = ec2.describe_availability_zones(Filters=[{"Name": "zone-name", "Values": sorted(zones)}])
    return {item["ZoneName"]: item["State"] for item in response["AvailabilityZones"]}


def read_offered_types(
    ec2: Any, instance_types: Collection[str], *, zones: Collection[str]
) -> frozenset[tuple[str, str]]:
    """
    Return which of these zones offer which of these instance types, as pairs.

    It says nothing about capacity (EC2 API Reference, DescribeInstanceTypeOfferings): a zone that has run out of a type
    still offers it.
    """
    if not instance_types or not zones:
        return frozenset()
    filters = [
        {"Name": "instance-type", "Values": sorted(instance_types)},
        {"Name": "location", "Values": sorted(zones)},
    ]
    found = read_pages(
        ec2.describe_instance_type_offerings,
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=filters,
    )
    return frozenset((item["Location"], item["InstanceType"]) for item in found)
