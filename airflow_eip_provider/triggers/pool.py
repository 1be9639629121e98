"""Waiting for any one address of a pool."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.description import pool_place_of
from airflow_eip_provider.lease.observation import Action, Due, decide
from airflow_eip_provider.lease.record import LIMITS
from airflow_eip_provider.triggers.eip import judge_association
from airflow_eip_provider.triggers.lock import QueueTrigger
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.observed import Observed, Wants


@dataclass(kw_only=True, eq=False, repr=False)
class EipPoolLeaseTrigger(QueueTrigger):
    """Wait until an owner has something to do in the queue of any one address of a pool."""

    allocation_ids: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._due = {allocation_id: Due() for allocation_id in self.allocation_ids}

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether this owner has something to do at one of the addresses."""
        owner = self._lease_request.attempt.owner
        observations = {name: observed.lease(self.lock_store, name) for name in self.allocation_ids}
        prewarm = self.places(observed, [observation.snapshot for observation in observations.values()])
        is_started = any(
            entry.attempt.owner == owner and entry.prewarmed_at is not None
            for observation in observations.values()
            for entry in observation.snapshot.record.queue
        )
        lease_request = replace(self._lease_request, prewarm=0 if is_started else prewarm)
        due: dict[str, float] = {}
        actions: dict[str, str] = {}
        for name, observation in observations.items():
            due[name] = self._due[name].seconds(observation, LIMITS)
            action = decide(observation, lease_request, due_seconds=due[name], limits=LIMITS)
            if action is not Action.WAIT:
                actions[name] = action.value
        place = pool_place_of(observations, owner)
        message = f"Elastic IPs {', '.join(self.allocation_ids)}: {place}"
        data = {"actions": actions, "dead_seconds": due, "prewarm": prewarm, "queue": place.facts()}
        return Verdict("done" if actions else "pending", message, data)


@dataclass(kw_only=True, eq=False, repr=False)
class EipPoolFreeTrigger(WatchTrigger):
    """
    Wait until any one address of a pool is free, without a lock store.

    :param job_flow_id: a cluster that waits for one of them; the wait fails when the cluster ends.
    """

    allocation_ids: list[str]
    job_flow_id: str | None = None

    def announce(self, wants: Wants) -> None:
        """Add the addresses and the cluster."""
        wants.addresses.update(self.allocation_ids)
        if self.job_flow_id:
            wants.clusters.add(self.job_flow_id)

    def judge(self, observed: Observed) -> Verdict:
        """Judge where the addresses are; a released one counts as in use, unless all are released."""
        verdicts = [
            judge_association(observed, name, job_flow_id=self.job_flow_id, expect="free", or_left=True)
            for name in self.allocation_ids
        ]
        message = "; ".join(verdict.message for verdict in verdicts)
        if ended := [verdict for verdict in verdicts if verdict.data.get("gone") == "cluster"]:
            return ended[0]
        if any(verdict.status == "done" for verdict in verdicts):
            return Verdict("done", message)
        if all(verdict.data.get("gone") == "address" for verdict in verdicts):
            return Verdict("failed", message, {"gone": "address"})
        return Verdict("pending", message, {"holder": message})
