"""Bad days: faults that come by chance, one stream of chance for each operation."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from local_emr.faults import ClusterFault, Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("throttle", "error", "lost_response", "delay")
CLUSTER_REASON = "INSTANCE_FAILURE"

# How often a call of an operation meets a fault. Reads are many: the queue polls.
RATES = {
    "GetItem": 0.005,
    "GetObject": 0.005,
    "PutItem": 0.04,
    "PutObject": 0.04,
    "RunJobFlow": 0.04,
    "AssociateAddress": 0.04,
    "DisassociateAddress": 0.05,
    "DescribeAddresses": 0.005,
    "TerminateJobFlows": 0.04,
}
CLUSTER_RATES = {"STARTING": 0.01, "BOOTSTRAPPING": 0.01, "RUNNING": 0.01}
_DELAY_SECONDS = 30.0
_CLUSTER_SECONDS = 8.0


class Weather(Faults):
    """
    Faults without a plan.

    :param time_scale: simulated seconds a real one; delays are real, and drawn in simulated seconds.
    :param rates: how often a call of an operation meets a fault.
    :param cluster_rates: how often a cluster that reaches a state ends by itself in it.
    """

    def __init__(
        self,
        seed: int,
        *,
        time_scale: float,
        rates: Mapping[str, float] = RATES,
        cluster_rates: Mapping[str, float] = CLUSTER_RATES,
    ) -> None:
        super().__init__()
        self._time_scale = time_scale
        self._rates, self._cluster_rates = rates, cluster_rates
        self._dice = {name: random.Random(f"{seed}/{name}") for name in (*rates, *cluster_rates)}
        self.calm = True

    def take(self, operation: str) -> Fault | None:
        """Draw what happens to a call."""
        rate = self._rates.get(operation)
        if self.calm or rate is None:
            return None
        dice = self._dice[operation]
        if dice.random() >= rate:
            return None
        seconds = dice.uniform(1, _DELAY_SECONDS) / self._time_scale
        return Fault(operation=operation, kind=dice.choice(KINDS), seconds=seconds)

    def take_cluster_fault(self, state: str) -> ClusterFault | None:
        """Draw whether a cluster that reaches a state ends by itself in it."""
        dice = self._dice.get(state)
        if self.calm or dice is None or dice.random() >= self._cluster_rates[state]:
            return None
        after: Any = dice.uniform(0, _CLUSTER_SECONDS)
        return ClusterFault(state=state, code=CLUSTER_REASON, message="Ended by itself.", after_seconds=after)
