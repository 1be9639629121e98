"""A lease that has ended, as a viewer may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.ui.clusters import cluster_view

if TYPE_CHECKING:
    from airflow_eip_provider.ui.clusters import ClusterView
    from airflow_eip_provider.ui.names import OwnerView, Viewer
    from airflow_eip_provider.ui.past import PastLease


@dataclass(frozen=True, slots=True)
class PastView:
    """A lease that has ended."""

    lease: PastLease
    owner: OwnerView
    cluster: ClusterView | None
    why: str


def past_view(lease: PastLease, viewer: Viewer, region: str | None) -> PastView:
    """Return an ended lease; whose owner the viewer may not see, without what names it."""
    owner = viewer.sees(lease.owner)
    why = lease.reason if owner.hidden else lease.why
    return PastView(lease=lease, owner=owner, cluster=cluster_view(lease.resource_id, region), why=why)
