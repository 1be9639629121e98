"""Checks of the Availability Zones of the cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.network import SUBNET_PLACES, no_subnet, subnets_exist
from airflow_eip_provider.preflight.node_pools import TYPE_PLACES, node_pools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.setup import Setup


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
