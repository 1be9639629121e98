"""A cluster as the page shows it, with a link to the EMR console."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_eip_provider.ids import JOB_FLOW_ID


@dataclass(frozen=True, slots=True)
class ClusterView:
    """
    A cluster or an instance.

    :param href: the cluster's page in the EMR console; ``None`` for an instance.
    """

    text: str
    href: str | None


def cluster_view(resource_id: str | None, region: str | None) -> ClusterView | None:
    """Return a cluster with the URL of its page in the EMR console; ``None`` when there is no cluster."""
    if resource_id is None:
        return None
    if region is None or not JOB_FLOW_ID.fullmatch(resource_id):
        return ClusterView(resource_id, None)
    return ClusterView(resource_id, f"{_console(region)}/emr/home?region={region}#/clusterDetails/{resource_id}")


def _console(region: str) -> str:
    """Return the URL of the AWS Management Console for the partition of a region, as in Airflow's own links."""
    if region.startswith("cn-"):
        return "https://console.amazonaws.cn"
    return "https://console.amazonaws-us-gov.com" if region.startswith("us-gov-") else "https://console.aws.amazon.com"
