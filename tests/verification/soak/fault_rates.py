"""Fault rates of a soak: higher than those of the stress test, because a soak has fewer runs."""

from __future__ import annotations

from tests.verification.stress import random_faults

RATES = random_faults.RATES | {
    "RunJobFlow": 0.1,
    "AddJobFlowSteps": 0.08,
    "DescribeCluster": 0.01,
    "ListInstances": 0.02,
    "ListClusters": 0.02,
    "ListSteps": 0.02,
    "DescribeInstances": 0.02,
}
CLUSTER_RATES = {"STARTING": 0.02, "BOOTSTRAPPING": 0.02, "RUNNING": 0.02}
