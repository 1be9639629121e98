"""Waiting for clusters and their steps."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import ENDED_STATES, READY_STATES
from airflow_eip_provider.aws.egress import Egress
from airflow_eip_provider.aws.instance_status import GONE_STATES
from airflow_eip_provider.aws.lag import may_be_hidden
from airflow_eip_provider.aws.step_logs import StepLogs
from airflow_eip_provider.exceptions import LockStoreError, LockStoreUnavailableError
from airflow_eip_provider.triggers.eip import judge_gone, judge_instance
from airflow_eip_provider.triggers.second_look import SecondLook
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.triggers.observed import Observed, Wants

log = logging.getLogger(__name__)

Target = Literal["primary_running", "cluster_ready", "cluster_waiting", "cluster_completed", "cluster_ended"]

_TARGET_STATES: dict[str, frozenset[str]] = {
    "cluster_ready": READY_STATES,
    "cluster_waiting": frozenset({"WAITING"}),
    "cluster_completed": frozenset({"TERMINATED"}),
    "cluster_ended": ENDED_STATES,
}


def _not_known_yet(job_flow_id: str) -> Verdict:
    return Verdict("pending", f"EMR does not know the new cluster {job_flow_id} yet")


def judge_primary_running(observed: Observed, job_flow_id: str, *, is_new: bool = False) -> Verdict:
    """
    Judge whether the primary instance can be associated with an address, which is long before the cluster is ready.

    :param is_new: EMR's reads may not show the cluster yet.
    """
    cluster = observed.status(job_flow_id)
    if cluster is None and is_new:
        return _not_known_yet(job_flow_id)
    if cluster is None or cluster.is_ending:
        return judge_gone(job_flow_id, cluster)
    primary = observed.primary(job_flow_id)
    if primary is None:
        return Verdict("pending", f"Cluster {job_flow_id} is {cluster.state} and has no primary instance yet")
    verdict = judge_instance(*primary)
    # Only the cluster's state is final: EMR replaces a primary instance that is lost in the start, or ends the cluster.
    status: Literal["done", "pending"] = "done" if verdict.status == "done" else "pending"
    return Verdict(status, f"Cluster {job_flow_id} is {cluster.state}. {verdict.message}", verdict.data)


def judge_cluster_state(observed: Observed, job_flow_id: str, *, target: Target, is_new: bool = False) -> Verdict:
    """
    Judge whether a cluster is in one of the states of the target, or can never be.

    :param is_new: EMR's reads may not show the cluster yet.
    """
    cluster = observed.status(job_flow_id)
    if cluster is None and is_new:
        return _not_known_yet(job_flow_id)
    if cluster is None and target == "cluster_ended":
        return Verdict("done", f"EMR does not know cluster {job_flow_id}")
    if cluster is None:
        return judge_gone(job_flow_id, cluster)
    message = f"Cluster {job_flow_id} is {cluster.state} ({cluster.reason})"
    data = {"state": cluster.state, "reason": cluster.reason}
    if cluster.state in _TARGET_STATES[target]:
        return Verdict("done", message, data)
    ending_is_fine = target in {"cluster_ended", "cluster_completed"} and not cluster.has_ended
    if cluster.is_ending and not ending_is_fine:
        return judge_gone(job_flow_id, cluster)
    return Verdict("pending", message, data)


def judge_target(observed: Observed, job_flow_id: str, *, target: Target, is_new: bool = False) -> Verdict:
    """
    Judge whether a cluster has reached the target.

    :param is_new: EMR's reads may not show the cluster yet.
    """
    if target == "primary_running":
        return judge_primary_running(observed, job_flow_id, is_new=is_new)
    return judge_cluster_state(observed, job_flow_id, target=target, is_new=is_new)


@dataclass(kw_only=True, eq=False, repr=False)
class EmrClusterTrigger(WatchTrigger):
    """
    Wait until a cluster has reached a target.

    :param target: "primary_running" (it can be associated with an address), "cluster_ready" (RUNNING or WAITING),
        "cluster_waiting", "cluster_completed" (ended without errors) or "cluster_ended" (with or without errors).
    :param appears_by: seconds since the epoch, until which EMR's reads may not show the cluster yet.
    """

    job_flow_id: str
    target: Target
    appears_by: float = 0.0

    def announce(self, wants: Wants) -> None:
        """Add the cluster, and its primary instance for "primary_running"."""
        wants.clusters.add(self.job_flow_id)
        if self.target == "primary_running":
            wants.primaries.add(self.job_flow_id)

    def judge(self, observed: Observed) -> Verdict:
        """
        Judge whether the cluster has reached the target.

        A running primary instance ends the wait without a call to EMR: the operator reads both again before it
        associates the address.
        """
        if self.target == "primary_running":
            primary = observed.tagged_primary(self.job_flow_id)
            if primary is not None and (verdict := judge_instance(primary.instance_id, primary)).status == "done":
                return replace(verdict, message=f"Cluster {self.job_flow_id}: {verdict.message}")
        return judge_target(observed, self.job_flow_id, target=self.target, is_new=clock.time() < self.appears_by)


def judge_start(
    observed: Observed, job_flow_id: str, *, instance_id: str | None = None, is_new: bool = False
) -> Verdict:
    """
    Judge whether a cluster has started: RUNNING or WAITING.

    :param instance_id: its primary node; the verdict is a failure if EC2 shuts it down before the start.
    :param is_new: EMR's reads may not show the cluster yet.
    """
    verdict = judge_cluster_state(observed, job_flow_id, target="cluster_ready", is_new=is_new)
    if verdict.status != "pending" or instance_id is None:
        return verdict
    instance = observed.instance(instance_id)
    if instance is None or instance.state not in GONE_STATES:
        return verdict
    message = f"primary instance {instance_id} of cluster {job_flow_id} is {instance.state} before the start"
    return Verdict("failed", message, {**verdict.data, "gone": "primary", "job_flow_id": job_flow_id})


@dataclass(kw_only=True, eq=False, repr=False)
class EmrStartTrigger(WatchTrigger):
    """
    Wait until a cluster that has the address has started.

    :param instance_id: its primary node, if the address is on it.
    """

    job_flow_id: str
    instance_id: str | None = None

    def announce(self, wants: Wants) -> None:
        """Add the cluster and its primary instance."""
        wants.clusters.add(self.job_flow_id)
        if self.instance_id is not None:
            wants.instances.add(self.instance_id)

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the cluster has started."""
        return judge_start(observed, self.job_flow_id, instance_id=self.instance_id)


def judge_no_step_runs(
    observed: Observed, job_flow_id: str, *, name_contains: str = "", may_lag: bool = False
) -> Verdict:
    """
    Judge whether no step of the cluster is pending or running.

    :param name_contains: count only steps with this text in their names.
    :param may_lag: ListSteps may not show the newest steps yet, so the verdict is "pending" even without steps.
    """
    active = [step for step in observed.active_steps(job_flow_id) if name_contains in step.name]
    names = ", ".join(f"{step.step_id} {step.state}" for step in active)
    message = f"Cluster {job_flow_id} " + (f"still has steps: {names}" if active else "has no active step")
    if may_lag and not active:
        message += "; EMR may not show the newest ones yet"
    return Verdict("pending" if active or may_lag else "done", message, {"step_ids": [step.step_id for step in active]})


@dataclass(kw_only=True, eq=False, repr=False)
class EmrStepsEndedTrigger(WatchTrigger):
    """
    Wait until no step of a cluster is pending or running.

    :param name_contains: count only steps with this text in their names; all by default.
    :param not_before: seconds since the epoch, until which EMR's reads may not show a step that was submitted.
    """

    job_flow_id: str
    name_contains: str = ""
    not_before: float = 0.0

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the cluster's steps have ended."""
        may_lag = may_be_hidden(self.not_before, now=clock.time())
        return judge_no_step_runs(observed, self.job_flow_id, name_contains=self.name_contains, may_lag=may_lag)


def leased_elsewhere(observed: Observed, allocation_id: str, *, job_flow_id: str, lock_store: str) -> str | None:
    """
    Return to whom the address is leased; ``None`` for this cluster, and when the lock store does not answer.

    A lease that is being released still belongs to the cluster: the release waits for the steps that run.
    """
    try:
        lease = observed.record(lock_store, allocation_id).record.lease
    except (LockStoreUnavailableError, LockStoreError) as error:
        log.warning("The lease could not be read, so only the address is checked this time: %s", error)
        return None
    if lease is None:
        return "not leased"
    return None if lease.resource_id == job_flow_id else f"leased to {lease.attempt.name}"


@dataclass(frozen=True, slots=True)
class FenceSeen:
    """
    What one poll shows of the lease and the address that steps or batches of a cluster need.

    :param address: ``None`` when it was released.
    :param on_cluster: the address has the same association as at the submission.
    :param astray: where the route leads, if not to the address's NAT gateway.
    :param not_leased: to whom the address is leased, if not to the cluster.
    """

    address: Address | None
    on_cluster: bool
    astray: str | None
    not_leased: str | None

    @property
    def is_bound(self) -> bool:
        """Whether the cluster's traffic leaves from the address."""
        return self.on_cluster and self.astray is None

    def place(self, observed: Observed) -> str:
        """Return where the address is, as a text that follows "Elastic IP … is"."""
        if self.address is None:
            return "released"
        if self.address.is_free:
            return "not associated"
        place = f"on {observed.holder(self.address).description}"
        return f"{place}, but {self.astray}" if self.astray else place


def see_fence(
    observed: Observed, *, allocation_id: str, egress: Egress, job_flow_id: str, lock_store: str | None
) -> FenceSeen:
    """
    Read the lease, then the address; the caller reads the fenced steps or batch afterwards.

    The order matters: steps that are active after the address was seen elsewhere have lost it, whereas steps that ended
    before the address was freed are the normal case.
    """
    not_leased = None
    if lock_store is not None:
        not_leased = leased_elsewhere(observed, allocation_id, job_flow_id=job_flow_id, lock_store=lock_store)
    address = observed.address(allocation_id)
    on_cluster = address is not None and address.association_id == egress.association_id
    return FenceSeen(address, on_cluster, observed.astray(egress) if on_cluster else None, not_leased)


def judge_broken_fence(
    observed: Observed, seen: FenceSeen, *, allocation_id: str, job_flow_id: str, data: dict[str, Any]
) -> Verdict | None:
    """
    Return the failure if active steps or batches have lost the address or its lease; ``None`` if they have both.

    The failure has to be confirmed, see :class:`~airflow_eip_provider.triggers.second_look.SecondLook`. The lease
    decides where the address stays in place, on a permanent NAT gateway.
    """
    if seen.is_bound:
        if not seen.not_leased:
            return None
        facts = {**data, "gone": "lease", "place": seen.not_leased, "unconfirmed": seen.not_leased}
        return Verdict("failed", f"Elastic IP '{allocation_id}' is {seen.not_leased}", facts)
    place = seen.place(observed)
    cluster = observed.status(job_flow_id)
    if cluster is not None and cluster.is_ending:
        return judge_gone(job_flow_id, cluster)
    moved = seen.address is not None and not seen.address.is_free and not seen.on_cluster
    facts = {**data, "gone": "address", "place": place, "moved": moved, "unconfirmed": place}
    return Verdict("failed", f"Elastic IP '{allocation_id}' is {place}", facts)


def judge_fenced_steps(
    observed: Observed,
    *,
    allocation_id: str,
    egress: Egress,
    job_flow_id: str,
    step_ids: list[str],
    lock_store: str | None = None,
) -> Verdict:
    """Judge steps, and the binding that they need."""
    seen = see_fence(
        observed, allocation_id=allocation_id, egress=egress, job_flow_id=job_flow_id, lock_store=lock_store
    )
    steps = observed.steps(job_flow_id, step_ids)
    ended = {step.step_id for step in steps if not step.is_active}
    # A step that EMR does not show (yet) may run.
    active = [step_id for step_id in step_ids if step_id not in ended]
    shown = {step.step_id: step.state for step in steps}
    data: dict[str, Any] = {"bound": seen.is_bound, "active": active, "states": shown}
    states = f"Steps of cluster {job_flow_id}: " + ", ".join(f"{step.step_id} {step.state}" for step in steps)
    if active:
        broken = judge_broken_fence(observed, seen, allocation_id=allocation_id, job_flow_id=job_flow_id, data=data)
        return broken or Verdict("pending", states, data)
    if not seen.is_bound:
        data["place"] = seen.place(observed)
    return Verdict("done", states, data)


@dataclass(kw_only=True, eq=False, repr=False)
class EmrFencedStepsTrigger(WatchTrigger):
    """
    Wait for steps, and fail when the Elastic IP leaves their cluster and another poll confirms it.

    In the event's data, ``unfenced`` lists the steps for which no poll showed that they ended while the address was on
    the cluster.

    :param egress: the route of the cluster's traffic at the submission: the fields of
        :class:`~airflow_eip_provider.aws.egress.Egress`.
    :param submitted_at: seconds since the epoch; shortly after it EC2 may still answer from before the association.
    :param lock_store: the store's URI; the lease is checked, too.
    """

    allocation_id: str
    egress: dict[str, str | None]
    job_flow_id: str
    step_ids: list[str]
    submitted_at: float = 0.0
    lock_store: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._second_look = SecondLook(self.submitted_at)
        self._unfenced = list(self.step_ids)

    def announce(self, wants: Wants) -> None:
        """Add the address and the steps."""
        wants.addresses.add(self.allocation_id)
        wants.steps.setdefault(self.job_flow_id, set()).update(self.step_ids)

    def judge(self, observed: Observed) -> Verdict:
        """Judge the lease and the address, then the steps."""
        verdict = judge_fenced_steps(
            observed,
            allocation_id=self.allocation_id,
            egress=Egress(**self.egress),  # type: ignore[arg-type]
            job_flow_id=self.job_flow_id,
            step_ids=self.step_ids,
            lock_store=self.lock_store,
        )
        if verdict.data.get("bound"):
            self._unfenced = verdict.data["active"]
        verdict = replace(verdict, data={**verdict.data, "unfenced": self._unfenced})
        return self._second_look.judge(verdict, now=clock.time())


@dataclass(kw_only=True, eq=False, repr=False)
class EmrStepLogsTrigger(WatchTrigger):
    """
    Wait until EMR has written a step's stdout and stderr to the log bucket.

    :param bucket: the log bucket.
    :param prefix: the step's prefix in the bucket, with a slash at its end.
    """

    bucket: str
    prefix: str

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the log objects exist."""
        written = observed.logs_written(StepLogs(self.bucket, self.prefix))
        where = f"s3://{self.bucket}/{self.prefix}"
        return Verdict("done" if written else "pending", f"Logs in {where}: {'written' if written else 'not yet'}")
