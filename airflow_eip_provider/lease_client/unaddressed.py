"""
The lease of a failover without an address, when only a load balancer leads to the clusters.

There is no address to acquire, to wait for or to free, and EC2 refuses no association. A retry, or another failover of
the same cluster, finds only the tags of clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.tags import OWNER_DIGEST_TAG
from airflow_eip_provider.lease.protocol import Acquired
from airflow_eip_provider.lease.world import AddressLocation
from airflow_eip_provider.lease_client.interface import NO_RECORD
from airflow_eip_provider.lease_client.physical import PhysicalLeaseClient

if TYPE_CHECKING:
    from typing import Any

    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease_client.interface import ClusterLauncher


class UnaddressedLeaseClient(PhysicalLeaseClient):
    """A lease client without an Elastic IP: it launches, adopts by tags, and terminates what it launched."""

    def __init__(self, *, client_for: Any, kill: KillFlag | None = None, remembered: str | None = None) -> None:
        super().__init__(allocation_id="", client_for=client_for, kill=kill, remembered=remembered)

    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: float = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired:
        """Continue: there is no address to wait for."""
        return Acquired(NO_RECORD)

    def disassociate(self, resource_id: str) -> bool:
        """Return ``False``."""
        return False

    def has_address(self, resource_id: str) -> bool:
        """Return ``False``."""
        return False

    def _put_back(self, job_flow_id: str) -> None:
        """Do nothing."""

    def _location(self) -> AddressLocation:
        return AddressLocation()

    def _owner_tags(self, owner: str) -> dict[str, str]:
        return {OWNER_DIGEST_TAG: owner}
