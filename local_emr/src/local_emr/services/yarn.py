"""The part of YARN's ResourceManager that health checks use.

(Docs: Apache Hadoop, "ResourceManager REST API's", Cluster Information API and Cluster Metrics API.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_emr.emr.cluster import Cluster

PORT = 8088
_VERSION = "3.4.0"


def answer(path: str, cluster: Cluster) -> dict[str, Any] | None:
    """Return the response of a path; ``None`` if it does not exist."""
    if path in {"/ws/v1/cluster", "/ws/v1/cluster/info"}:
        return {"clusterInfo": _info(cluster)}
    if path == "/ws/v1/cluster/metrics":
        nodes = len(cluster.workers)
        return {"clusterMetrics": {"activeNodes": nodes, "totalNodes": nodes, "unhealthyNodes": 0, "lostNodes": 0}}
    return None


def _info(cluster: Cluster) -> dict[str, Any]:
    started = int((cluster.ready or cluster.created).timestamp() * 1000)
    return {
        "id": started,
        "startedOn": started,
        "state": "STARTED",
        "haState": "ACTIVE",
        "rmStateStoreName": "org.apache.hadoop.yarn.server.resourcemanager.recovery.NullRMStateStore",
        "resourceManagerVersion": _VERSION,
        "hadoopVersion": _VERSION,
    }
