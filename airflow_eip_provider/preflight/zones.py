"""Checks of the Availability Zones of the cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.address import usable
from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.network import SUBNET_PLACES, no_subnet, subnets_exist
from airflow_eip_provider.preflight.node_pools import TYPE_PLACES, node_pools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.aws.network import Subnet
    from airflow_eip_provider.preflight.setup import Setup


@partial(
    Check,
    "border-group",
    "the address can be used in the subnet's zone",
    needs=(usable, subnets_exist),
    reads=SUBNET_PLACES,
    missing=no_subnet,
)
def border_groups(setup: Setup) -> Iterator[Finding]:
    for subnet in setup.subnets.values():
        if subnet:
            yield from check_border_group(setup, subnet)


def check_border_group(setup: Setup, subnet: Subnet) -> Iterator[Finding]:
    """Compare the network border group of the address with the zone of the subnet that it is used in."""
    address = setup.reads.address
    group = address.network_border_group if address else None
    if group and subnet.zone and not has_zone(group, subnet.zone, region=setup.region):
        yield error(
            f"subnet '{subnet.subnet_id}'",
            what=f"it is in zone '{subnet.zone}', but the network border group of Elastic IP '{setup.allocation_id}' "
            f"is '{group}'",
            why="the address cannot be associated there",
            remedy="use a subnet in a zone of that group, or an address of the zone's group (aws ec2 allocate-address "
            "--network-border-group)",
        )


def has_zone(group: str, zone: str, *, region: str) -> bool:
    """
    Whether a zone belongs to a network border group, according to its name; this needs no call.

    The group of a region's own zones is the region: eu-west-1 has eu-west-1a. The group of a Local Zone or a Wavelength
    Zone is the zone's name, without the letter if there is one: us-west-2-lax-1 has us-west-2-lax-1a.
    """
    own = zone.startswith(region) and len(zone) == len(region) + 1
    return group == region if own else group != region and zone.startswith(group)


@partial(
    Check,
    "zone",
    "EC2 reports the subnet's zone as available",
    essential=False,
    with_fallbacks=True,
    needs=(subnets_exist,),
    reads=SUBNET_PLACES,
    missing=no_subnet,
)
def zones_available(setup: Setup) -> Iterator[Finding]:
    """Warn of unavailable zones. They may be available again at the launch, and fallbacks are for that case."""
    for zone, state in setup.reads.zone_states(setup.zones).items():
        if state is not None and state != "available":
            yield warning(
                f"Availability Zone '{zone}'",
                what=f"EC2 reports its state as {state}",
                why="instances may not start there",
                remedy="wait, or use a subnet of another zone; fallbacks do that automatically",
            )


def _no_types(setup: Setup) -> str | None:
    if not any(pool.types for pool in node_pools(setup.instances)):
        return "no instance type is given"
    return no_subnet(setup)


@partial(
    Check,
    "instance-types",
    "the subnet's zone offers the instance types",
    essential=False,
    with_fallbacks=True,
    needs=(subnets_exist,),
    reads=(*SUBNET_PLACES, *TYPE_PLACES),
    missing=_no_types,
)
def instance_types(setup: Setup) -> Iterator[Finding]:
    """
    Compare the instance types with the types that EC2 offers in each zone.

    EMR chooses one of several subnets, and any of the types of a fleet (EMR Management Guide, "Configure instance
    fleets"). So one zone that offers one type for each group or fleet is enough.
    """
    offered = setup.reads.offered_types() if setup.zones else frozenset()
    pools = [pool for pool in node_pools(setup.instances) if pool.types]
    lacking = {
        zone: [pool for pool in pools if not any((zone, name) in offered for name in pool.types)]
        for zone in setup.zones
    }
    finding = error if all(lacking.values()) else warning
    for zone, missing in lacking.items():
        for pool in missing:
            yield finding(
                f"Availability Zone '{zone}'",
                what=f"EC2 does not offer {' or '.join(pool.types)} there, for {pool.role}",
                why="EMR cannot launch the cluster there",
                remedy="use an instance type that the zone offers (aws ec2 describe-instance-type-offerings "
                "--location-type availability-zone), or a subnet of another zone",
            )
