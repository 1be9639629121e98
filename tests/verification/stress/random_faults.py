"""Random faults of calls and clusters."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from local_emr.faults import ClusterFault, Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("throttle", "error", "lost_response", "delay")
CLUSTER_REASON = "INSTANCE_FAILURE"

# Probability that a call of an operation gets a fault. Reads have a lower one because the queue polls often.
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


class RandomFaults(Faults):
    """
    Draws faults at random while :attr:`paused` is False; it is True at first.

    Each operation has its own random generator, so the faults of one do not depend on how many calls others make.

    :param time_scale: simulated seconds per real second. Delays are drawn in simulated seconds and wait in real ones.
    :param rates: probability of a fault for a call of an operation.
    :param cluster_rates: probability that a cluster which reaches a state fails in it.
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
        self._random = {name: random.Random(f"{seed}/{name}") for name in (*rates, *cluster_rates)}
        self.paused = True

    def take(self, operation: str) -> Fault | None:
        """Draw the fault of a call, if it gets one."""
        rate = self._rates.get(operation)
        if self.paused or rate is None:
            return None
        rng = self._random[operation]
        if rng.random() >= rate:
            return None
        seconds = rng.uniform(1, _DELAY_SECONDS) / self._time_scale
        return Fault(operation=operation, kind=rng.choice(KINDS), seconds=seconds)

    def take_cluster_fault(self, state: str) -> ClusterFault | None:
        """Draw whether a cluster that reaches a state fails in it."""
        rng = self._random.get(state)
        if self.paused or rng is None or rng.random() >= self._cluster_rates[state]:
            return None
        seconds: Any = rng.uniform(0, _CLUSTER_SECONDS)
        return ClusterFault(state=state, code=CLUSTER_REASON, message="Injected failure.", after_seconds=seconds)
