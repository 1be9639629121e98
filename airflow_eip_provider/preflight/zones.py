"""Checks of the Availability Zones that the cluster may be put into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.network import SUBNET_PLACES, SUBNETS
from airflow_eip_provider.preflight.node_pools import TYPE_PLACES, node_pools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.node_pools import NodePool
    from airflow_eip_provider.preflight.setup import Setup


def _zones(setup: Setup) -> Iterator[Finding]:
    """A zone that is down is no error: what is down now may be back at the launch, and fallbacks are for that."""
    for zone, state in setup.zone_states.items():
        if state is not None and state != "available":
            yield warning(
                f"Availability Zone '{zone}'",
                what=f"EC2 says that it is {state}",
                why="instances may not start there",
                mend="wait, or put the cluster into a subnet of another zone; fallbacks do so by themselves",
            )


def _missing_subnet(setup: Setup) -> str | None:
    return None if setup.subnet_ids else "no subnet is known"


ZONES = Check(
    "zone",
    "EC2 says that the subnet's zone is available",
    _zones,
    essential=False,
    with_fallbacks=True,
    needs=(SUBNETS,),
    reads=SUBNET_PLACES,
    missing=_missing_subnet,
)


def _instance_types(setup: Setup) -> Iterator[Finding]:
    """
    Compare the instance types with what EC2 offers in each zone.

    Of several subnets EMR chooses one, and of a fleet's types any (EMR Management Guide, "Configure instance fleets"),
    so one zone that has one type for each group or fleet is enough.
    """
    lacking = {zone: _not_offered(setup, zone) for zone in setup.zones}
    is_any_usable = not all(lacking.values())
    for zone, pools in lacking.items():
        for pool in pools:
            finding = warning if is_any_usable else error
            yield finding(
                f"Availability Zone '{zone}'",
                what=f"EC2 offers no {' or '.join(pool.types)} there, for {pool.role}",
                why="EMR cannot put the cluster there",
                mend="use an instance type that the zone offers (aws ec2 describe-instance-type-offerings "
                "--location-type availability-zone), or a subnet of another zone",
            )


def _not_offered(setup: Setup, zone: str) -> list[NodePool]:
    offered, pools = setup.offered_types, node_pools(setup.instances)
    return [pool for pool in pools if pool.types and not any((zone, name) in offered for name in pool.types)]


def _missing_types(setup: Setup) -> str | None:
    if not any(pool.types for pool in node_pools(setup.instances)):
        return "no instance type is given"
    return _missing_subnet(setup)


INSTANCE_TYPES = Check(
    "instance-types",
    "the subnet's zone offers the instance types",
    _instance_types,
    essential=False,
    with_fallbacks=True,
    needs=(SUBNETS,),
    reads=(*SUBNET_PLACES, *TYPE_PLACES),
    missing=_missing_types,
)
