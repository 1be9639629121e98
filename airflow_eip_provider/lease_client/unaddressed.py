"""
No address: what a failover does about the lease where only a load balancer leads to the clusters.

There is nothing to take, to wait for or to free, and EC2 refuses nobody. The tags of clusters are all that a retry, or
another failover of the same cluster, finds.
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
    from airflow_eip_provider.lease_client.interface import ClusterLauncher, Undo


class UnaddressedLeaseClient(PhysicalLeaseClient):
    """
    What an attempt does without an Elastic IP: launch, adopt by tags, and end what it launched.

    :param client_for: makes a boto3 client, by service and region.
    :param remembered: a cluster that an earlier attempt noted, whatever ListClusters says.
    """

    def __init__(self, *, client_for: Any, kill: KillFlag | None = None, remembered: str | None = None) -> None:
        super().__init__(allocation_id="", client_for=client_for, kill=kill, remembered=remembered)

    def enter(
        self, lease_request: LeaseRequest, *, due_seconds: float = 0.0, launcher: ClusterLauncher | None = None
    ) -> Acquired:
        """Go on: nobody else can have what there is not."""
        return Acquired(NO_RECORD)

    def disassociate(self, resource_id: str) -> bool:
        """Take nothing off."""
        return False

    def has_address(self, resource_id: str) -> bool:
        """Say no."""
        return False

    def was_handed_over(self, undo: Undo) -> bool:
        """Say no: a cluster has no address to show that it is in charge."""
        return False

    def _location(self) -> AddressLocation:
        return AddressLocation()

    def _owner_tags(self, owner: str) -> dict[str, str]:
        return {OWNER_DIGEST_TAG: owner}
