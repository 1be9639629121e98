"""No Elastic IP: clients reach the clusters through a load balancer only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.operators.bindings.interface import Bound, ClusterWait
from airflow_eip_provider.operators.bindings.primary_node import PrimaryNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.operators.bindings.interface import Site
    from airflow_eip_provider.preflight import Check


@dataclass(frozen=True)
class WithoutAddress(PrimaryNode):
    """Bind no address."""

    @property
    def checks(self) -> Sequence[Check]:
        """Check the cluster only."""
        from airflow_eip_provider.preflight import UNADDRESSED_CHECKS

        return UNADDRESSED_CHECKS

    def bind(self, site: Site) -> Bound | ClusterWait:
        """Wait until the primary node is running."""
        from airflow_eip_provider.aws.addresses import Address

        primary = site.poll("primary_running")
        if primary.status != "done":
            return ClusterWait("primary_running")
        node = {name: primary.data[name] for name in ("network_interface_id", "instance_id")}
        return Bound(Address("", "", "vpc", **node))
