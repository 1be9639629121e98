"""The Elastic IP on the network interface of the cluster's primary node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.operators.bindings.interface import Binding, Bound, ClusterWait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.operators.bindings.interface import Site
    from airflow_eip_provider.preflight import Check
    from airflow_eip_provider.triggers.emr import Target


@dataclass(frozen=True)
class PrimaryNode(Binding):
    """
    Associate the address with the primary node's network interface, in a public subnet.

    This costs nothing, and the address is bound as soon as the node is running. Only connections from the primary node
    use the address: those of a single-node cluster, or of a driver in client mode.
    """

    @property
    def first_target(self) -> Target:
        """The primary node is running."""
        return "primary_running"

    @property
    def checks(self) -> Sequence[Check]:
        """Check the address, the topology, the subnets and who can reach the primary node."""
        from airflow_eip_provider.preflight import PRIMARY_CHECKS

        return PRIMARY_CHECKS

    def bind(self, site: Site) -> Bound | ClusterWait | None:
        """Bind the address when the primary node is running."""
        from airflow_eip_provider.operators.binder import Binder

        primary = site.poll("primary_running")
        if primary.status != "done":
            return ClusterWait("primary_running")
        site.kill.check()
        address = Binder(site.eip, site.allocation_id).bind(
            network_interface_id=primary.data["network_interface_id"], instance_id=primary.data["instance_id"]
        )
        return Bound(address) if address else None
