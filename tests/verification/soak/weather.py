"""How often calls fail and clusters end by themselves in a soak: few runs, so more than in the stress test."""

from __future__ import annotations

from tests.verification.stress import weather

RATES = weather.RATES | {
    "RunJobFlow": 0.1,
    "AddJobFlowSteps": 0.08,
    "DescribeCluster": 0.01,
    "ListInstances": 0.02,
    "ListClusters": 0.02,
    "ListSteps": 0.02,
    "DescribeInstances": 0.02,
}
CLUSTER_RATES = {"STARTING": 0.02, "BOOTSTRAPPING": 0.02, "RUNNING": 0.02}
