"""The Elastic IP on the network interface of the cluster's primary node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.operators.bindings.interface import Binding, Bound, ClusterWait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.operators.bindings.interface import Site
    from airflow_eip_provider.preflight import Check
    from airflow_eip_provider.triggers.emr import Target


@dataclass(frozen=True)
class PrimaryNode(Binding):
    """
    Put the address on the primary node's network interface, in a public subnet.

    Costs nothing and is bound as soon as that node runs. Only what runs on the primary node leaves from the address: a
    single-node cluster, or a driver in client mode.
    """

    @property
    def cluster_tags(self) -> Mapping[str, str]:
        """None: the instance that carries the address has EMR's own tag."""
        return {}

    @property
    def makes_gateway(self) -> bool:
        """Nothing is made."""
        return False

    @property
    def first_target(self) -> Target:
        """The primary node runs."""
        return "primary_running"

    @property
    def checks(self) -> Sequence[Check]:
        """The address, the topology, the subnets and who can reach the primary node."""
        from airflow_eip_provider.preflight import PRIMARY_CHECKS

        return PRIMARY_CHECKS

    def bind(self, site: Site) -> Bound | ClusterWait | None:
        """Primary node running → bound."""
        from airflow_eip_provider.operators.binder import Binder

        primary = site.look("primary_running")
        if primary.status != "done":
            return ClusterWait("primary_running")
        site.kill.check()
        address = Binder(site.eip, site.allocation_id).bind(
            network_interface_id=primary.data["network_interface_id"], instance_id=primary.data["instance_id"]
        )
        return Bound(address) if address else None
