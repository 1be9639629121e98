"""The instance groups or fleets in RunJobFlow's ``Instances``, in one form."""

from __future__ import annotations

import math
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

    EMR chooses among the types of a fleet, and a fleet's targets are units of capacity, so its numbers of nodes are
    those of a fleet that consists of its first type only.

    :param role: "MASTER", "CORE" or "TASK".
    :param types: the instance types that EMR may use: one in a group, several in a fleet.
    :param on_demand: the number of On-Demand Instances.
    :param spot: the number of Spot Instances.
    """

    role: str
    types: tuple[str, ...]
    on_demand: int = 0
    spot: int = 0

    @property
    def count(self) -> int:
        """The number of nodes."""
        return self.on_demand + self.spot


def node_pools(instances: Mapping[str, Any]) -> list[NodePool]:
    """Return the groups or fleets; values of the wrong type are left out."""
    if fleets := _mappings(instances.get("InstanceFleets")):
        return [_fleet(fleet) for fleet in fleets]
    if groups := _mappings(instances.get("InstanceGroups")):
        return [_group(group) for group in groups]
    others = max(_number(instances.get("InstanceCount"), 1) - 1, 0)
    pools = [
        NodePool("MASTER", _types(instances.get("MasterInstanceType")), on_demand=1),
        NodePool("CORE", _types(instances.get("SlaveInstanceType")), on_demand=others),
    ]
    return [pool for pool in pools if pool.types or pool.count]


def node_counts(instances: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of primary nodes and of other nodes."""
    pools = node_pools(instances)
    return (
        sum(pool.count for pool in pools if pool.role == "MASTER"),
        sum(pool.count for pool in pools if pool.role != "MASTER"),
    )


def _fleet(fleet: Mapping[str, Any]) -> NodePool:
    configs = _mappings(fleet.get("InstanceTypeConfigs"))
    weight = max(_number(configs[0].get("WeightedCapacity"), 1), 1) if configs else 1
    on_demand, spot = (
        math.ceil(_number(fleet.get(target), 0) / weight) for target in ("TargetOnDemandCapacity", "TargetSpotCapacity")
    )
    return NodePool(
        str(fleet.get("InstanceFleetType")),
        _types(*(config.get("InstanceType") for config in configs)),
        on_demand,
        spot,
    )


def _group(group: Mapping[str, Any]) -> NodePool:
    """Parse a group; a bid price alone also means Spot Instances (EMR API Reference, InstanceGroupConfig)."""
    is_spot = group.get("Market") == "SPOT" or bool(group.get("BidPrice"))
    count = _number(group.get("InstanceCount"), 1)
    on_demand, spot = (0, count) if is_spot else (count, 0)
    return NodePool(str(group.get("InstanceRole")), _types(group.get("InstanceType")), on_demand, spot)


def _types(*names: object) -> tuple[str, ...]:
    return tuple(name for name in names if isinstance(name, str) and name)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, (list, tuple)) else []
