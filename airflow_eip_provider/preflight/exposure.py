"""The check of what the public address of the primary node makes reachable from the internet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.network import internet_gateways, subnets_exist
from airflow_eip_provider.preflight.security_groups import missing_group
from airflow_eip_provider.preflight.setup import GROUP_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_eip_provider.aws.network import Ports, SecurityGroup
    from airflow_eip_provider.preflight.setup import Setup

# The security groups that EMR creates once in each VPC, for clusters that name none.
_DEFAULTS = {"Master": "ElasticMapReduce-master", "Slave": "ElasticMapReduce-slave"}
_KNOWN_PORTS = {22: "SSH", 8088: "YARN", 8888: "Hue", 8890: "Zeppelin", 9443: "JupyterHub", 18080: "Spark history"}


@partial(
    Check,
    "exposure",
    "no security group of the primary node is open to the whole internet",
    essential=False,
    needs=(subnets_exist, internet_gateways),
    reads=tuple(f"Instances.{name}" for role in _DEFAULTS for name in GROUP_PLACES[role]),
)
def exposure(setup: Setup) -> Iterator[Finding]:
    groups = _read_groups(setup)
    for group_id, group in groups["Master"].items():
        if group is None:
            yield missing_group(group_id, setup.region)
        elif group.open_to_all:
            yield warning(
                f"security group '{group_id}' ({group.name})",
                what=f"it is open to the whole internet on {_ports(group.open_to_all)}",
                why="the Elastic IP makes the primary node reachable, at the same address every day",
                remedy="allow only your own networks, or none: Systems Manager needs no open port",
            )
    exposed = {**groups["Master"], **groups["Slave"]}.values()
    yield from _find_blocked([group for group in exposed if group and group.open_to_all], setup)


def _find_blocked(exposed: list[SecurityGroup], setup: Setup) -> Iterator[Finding]:
    """Compare with EMR's block public access, which applies to public subnets."""
    if not exposed or not setup.public_subnets or not (blocking := setup.reads.block_public_access).enabled:
        return
    for group in exposed:
        if refused := [ports for ports in group.open_to_all if not ports.within(blocking.exceptions)]:
            excepted = f"its exceptions are {_ports(blocking.exceptions)}" if blocking.exceptions else "no exceptions"
            yield error(
                f"security group '{group.group_id}' ({group.name})",
                what=f"EMR's block public access is on ({excepted}), and the group is open to all on {_ports(refused)}",
                why="EMR refuses to launch a cluster with it in a public subnet",
                remedy="close these ports to 0.0.0.0/0 and ::/0, or add an exception: "
                "aws emr put-block-public-access-configuration",
            )


def _read_groups(setup: Setup) -> dict[str, dict[str, SecurityGroup | None]]:
    """
    Read the security groups of the primary node ("Master") and of the other nodes ("Slave"), by ID.

    If the cluster does not name a group, EMR uses its default group, and creates it if it does not exist.
    """
    by_id, named = setup.security_groups, setup.security_group_ids
    groups = {role: {group_id: by_id[group_id] for group_id in named[role]} for role in _DEFAULTS}
    unnamed = {
        default: role
        for role, default in _DEFAULTS.items()
        if not setup.instances.get(f"EmrManaged{role}SecurityGroup")
    }
    vpc_ids = {subnet.vpc_id for subnet in setup.public_subnets}
    for group in setup.reads.named_groups(unnamed, vpc_ids=vpc_ids):
        groups[unnamed[group.name]][group.group_id] = group
    return groups


def _ports(ranges: Iterable[Ports]) -> str:
    names = [
        f"{ports} ({_KNOWN_PORTS[ports.first]})"
        if ports.first == ports.last and ports.first in _KNOWN_PORTS
        else str(ports)
        for ports in ranges
    ]
    return f"port{'s' * (len(names) > 1 or '-' in names[0])} {', '.join(names)}"
