"""The instance groups or fleets in RunJobFlow's ``Instances``, in one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# The parameters of RunJobFlow that contain instance types.
TYPE_PLACES = (
    "Instances.MasterInstanceType",
    "Instances.SlaveInstanceType",
    "Instances.InstanceGroups.InstanceType",
    "Instances.InstanceFleets.InstanceTypeConfigs.InstanceType",
)


@dataclass(frozen=True, slots=True)
class NodePool:
    """
    Nodes of one role.

    :param role: "MASTER", "CORE" or "TASK".
    :param types: the instance types that EMR may use: one in a group, several in a fleet.
    :param is_spot: one of the nodes may be a Spot Instance.
    """

    role: str
    types: tuple[str, ...]
    is_spot: bool


def node_pools(instances: Mapping[str, Any]) -> list[NodePool]:
    """Return the groups or fleets; values of the wrong type are left out."""
    if fleets := _mappings(instances.get("InstanceFleets")):
        return [_fleet(fleet) for fleet in fleets]
    if groups := _mappings(instances.get("InstanceGroups")):
        return [_group(group) for group in groups]
    sizes = {"MASTER": instances.get("MasterInstanceType"), "CORE": instances.get("SlaveInstanceType")}
    return [NodePool(role, (name,), is_spot=False) for role, name in sizes.items() if isinstance(name, str)]


def _fleet(fleet: Mapping[str, Any]) -> NodePool:
    named = [config.get("InstanceType") for config in _mappings(fleet.get("InstanceTypeConfigs"))]
    types = tuple(name for name in named if isinstance(name, str) and name)
    return NodePool(str(fleet.get("InstanceFleetType")), types, is_spot=bool(fleet.get("TargetSpotCapacity")))


def _group(group: Mapping[str, Any]) -> NodePool:
    """Parse a group; a bid price alone also means Spot Instances (EMR API Reference, InstanceGroupConfig)."""
    name = group.get("InstanceType")
    is_spot = group.get("Market") == "SPOT" or bool(group.get("BidPrice"))
    return NodePool(str(group.get("InstanceRole")), (name,) if isinstance(name, str) and name else (), is_spot=is_spot)


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, (list, tuple)) else []
