"""Watching clusters and their steps."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import ENDED_STATES, READY_STATES
from airflow_eip_provider.aws.egress import Egress
from airflow_eip_provider.aws.lag import may_be_hidden
from airflow_eip_provider.aws.step_logs import StepLogs
from airflow_eip_provider.exceptions import LockStoreError, LockStoreUnavailableError
from airflow_eip_provider.triggers.eip import judge_instance
from airflow_eip_provider.triggers.second_look import SecondLook
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.clusters import ClusterStatus
    from airflow_eip_provider.triggers.observed import Observed, Wants

log = logging.getLogger(__name__)

Target = Literal["primary_running", "cluster_ready", "cluster_waiting", "cluster_completed", "cluster_ended"]

_LOST_STATES = frozenset({"shutting-down", "terminated", "stopping", "stopped"})
_TARGET_STATES: dict[str, frozenset[str]] = {
    "cluster_ready": READY_STATES,
    "cluster_waiting": frozenset({"WAITING"}),
    "cluster_completed": frozenset({"TERMINATED"}),
    "cluster_ended": ENDED_STATES,
}


def judge_gone(job_flow_id: str, cluster: ClusterStatus | None) -> Verdict:
    """Judge a cluster that has ended, is ending, or is unknown."""
    state, reason = (cluster.state, cluster.reason) if cluster else ("unknown", "EMR does not know it")
    data = {"gone": "cluster", "job_flow_id": job_flow_id, "state": state, "reason": reason}
    return Verdict("failed", f"Cluster '{job_flow_id}' is {state}: {reason}", data)


def _not_known_yet(job_flow_id: str) -> Verdict:
    return Verdict("pending", f"EMR does not know the new cluster {job_flow_id} yet")


def judge_primary_running(observed: Observed, job_flow_id: str, *, is_new: bool = False) -> Verdict:
    """
    Judge whether the primary instance can carry an address; that is long before the cluster is ready.

    :param is_new: EMR may not know the cluster yet.
    """
    cluster = observed.status(job_flow_id)
    if cluster is None and is_new:
        return _not_known_yet(job_flow_id)
    if cluster is None or cluster.is_ending:
        return judge_gone(job_flow_id, cluster)
    primary = observed.primary(job_flow_id)
    if primary is None:
        return Verdict("pending", f"Cluster {job_flow_id} is {cluster.state}, its primary instance is not there yet")
    verdict = judge_instance(*primary)
    # EMR replaces a primary instance that dies in start-up, or ends the cluster: only the cluster's state decides.
    status: Literal["done", "pending"] = "done" if verdict.status == "done" else "pending"
    return Verdict(status, f"Cluster {job_flow_id} is {cluster.state}. {verdict.message}", verdict.data)


def judge_cluster_state(observed: Observed, job_flow_id: str, *, target: Target, is_new: bool = False) -> Verdict:
    """
    Judge whether a cluster is in one of the states that the target names, or can never be.

    :param is_new: EMR may not know the cluster yet.
    """
    cluster = observed.status(job_flow_id)
    if cluster is None and is_new:
        return _not_known_yet(job_flow_id)
    if target == "cluster_ended" and cluster is None:
        return Verdict("done", f"EMR does not know cluster {job_flow_id} (any more)")
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
    Judge whether a cluster is where it is wanted.

    :param is_new: EMR may not know the cluster yet.
    """
    if target == "primary_running":
        return judge_primary_running(observed, job_flow_id, is_new=is_new)
    return judge_cluster_state(observed, job_flow_id, target=target, is_new=is_new)


@dataclass(kw_only=True, eq=False, repr=False)
class EmrClusterTrigger(WatchTrigger):
    """
    Wait until a cluster is where it is wanted.

    :param target: "primary_running" (it can carry an address), "cluster_ready" (RUNNING or WAITING), "cluster_waiting",
        "cluster_completed" (ended without errors) or "cluster_ended" (with or without).
    :param appears_by: seconds since the epoch, until which EMR may not know the cluster yet.
    """

    job_flow_id: str
    target: Target
    appears_by: float = 0.0

    def announce(self, wants: Wants) -> None:
        """Say that the cluster will be asked for, and maybe its primary instance."""
        wants.clusters.add(self.job_flow_id)
        if self.target == "primary_running":
            wants.primaries.add(self.job_flow_id)

    def judge(self, observed: Observed) -> Verdict:
        """
        Judge where the cluster is.

        A primary instance that runs ends the wait whatever EMR says of the cluster, so EMR is not asked: whoever waits
        looks at both again before anything is bound.
        """
        if self.target == "primary_running":
            primary = observed.tagged_primary(self.job_flow_id)
            if primary is not None and (found := judge_instance(primary.instance_id, primary)).status == "done":
                return replace(found, message=f"Cluster {self.job_flow_id}: {found.message}")
        return judge_target(observed, self.job_flow_id, target=self.target, is_new=clock.time() < self.appears_by)


def judge_start(
    observed: Observed, job_flow_id: str, *, instance_id: str | None = None, is_new: bool = False
) -> Verdict:
    """
    Judge whether a cluster has started: RUNNING or WAITING.

    :param instance_id: its primary node; when EC2 shuts that down before the start, the cluster has lost it.
    :param is_new: EMR may not know the cluster yet.
    """
    found = judge_cluster_state(observed, job_flow_id, target="cluster_ready", is_new=is_new)
    if found.status != "pending" or instance_id is None:
        return found
    instance = observed.instance(instance_id)
    if instance is None or instance.state not in _LOST_STATES:
        return found
    message = f"primary instance {instance_id} of cluster {job_flow_id} is {instance.state} before the start"
    return Verdict("failed", message, {**found.data, "gone": "primary", "job_flow_id": job_flow_id})


@dataclass(kw_only=True, eq=False, repr=False)
class EmrStartTrigger(WatchTrigger):
    """
    Wait until a cluster that has the address has started.

    :param instance_id: its primary node, where the address is; ``None`` where it is elsewhere.
    """

    job_flow_id: str
    instance_id: str | None = None

    def announce(self, wants: Wants) -> None:
        """Say that the cluster will be asked for, and its primary instance."""
        wants.clusters.add(self.job_flow_id)
        if self.instance_id is not None:
            wants.instances.add(self.instance_id)

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the cluster has started, or never will."""
        return judge_start(observed, self.job_flow_id, instance_id=self.instance_id)


def judge_no_step_runs(
    observed: Observed, job_flow_id: str, *, name_contains: str = "", may_lag: bool = False
) -> Verdict:
    """
    Judge whether no step of the cluster runs or still may.

    :param name_contains: only steps with this in their names count.
    :param may_lag: a step may have been submitted that ListSteps does not show yet, so seeing none decides nothing.
    """
    active = [step for step in observed.active_steps(job_flow_id) if name_contains in step.name]
    names = ", ".join(f"{step.step_id} {step.state}" for step in active)
    message = f"Cluster {job_flow_id} " + (f"still has steps: {names}" if active else "has no step left")
    if may_lag and not active:
        message += ", as far as EMR shows them yet"
    return Verdict("pending" if active or may_lag else "done", message, {"step_ids": [step.step_id for step in active]})


@dataclass(kw_only=True, eq=False, repr=False)
class EmrStepsEndedTrigger(WatchTrigger):
    """
    Wait until no step of a cluster runs or still may.

    :param name_contains: only steps with this in their names count; all by default.
    :param not_before: seconds since the epoch; until then a step that was submitted may not be shown.
    """

    job_flow_id: str
    name_contains: str = ""
    not_before: float = 0.0

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the cluster's steps have ended."""
        late = may_be_hidden(self.not_before, now=clock.time())
        return judge_no_step_runs(observed, self.job_flow_id, name_contains=self.name_contains, may_lag=late)


def leased_elsewhere(observed: Observed, allocation_id: str, *, job_flow_id: str, lock_store: str) -> str | None:
    """
    Return to whom the address is leased, if not to this cluster; ``None`` too when the lock store gives no answer.

    A lease that is being released is still the cluster's: an orderly release waits for the steps that run.
    """
    try:
        seen = observed.record(lock_store, allocation_id)
    except (LockStoreUnavailableError, LockStoreError) as error:
        log.warning("The lease could not be read, so only the address is checked this time: %s", error)
        return None
    lease = seen.record.lease
    if lease is None:
        return "leased to nobody"
    return None if lease.resource_id == job_flow_id else f"leased to {lease.attempt.name}"


@dataclass(frozen=True, slots=True)
class FenceSeen:
    """
    What one look shows of the lease and the address that work on a cluster needs.

    :param address: ``None`` when it does not exist.
    :param on_cluster: it has the association under which the work was submitted.
    :param astray: where the route to its NAT gateway leads, if not there.
    :param not_leased: to whom it is leased, if not to the cluster.
    """

    address: Address | None
    on_cluster: bool
    astray: str | None
    not_leased: str | None

    @property
    def is_bound(self) -> bool:
        """Whether the cluster leaves from the address."""
        return self.on_cluster and self.astray is None

    def place(self, observed: Observed) -> str:
        """Return where the address is, in words that follow "Elastic IP … is"."""
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
    Look at the lease, then at the address; what they fence is looked at after that.

    Work that is active after the address was seen elsewhere has outlived its fence, whereas work that ended first and
    an address that was freed then are the normal end.
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
    Judge a fence whose work is active; ``None`` while it holds.

    One look alone proves no loss: see :class:`~airflow_eip_provider.triggers.second_look.SecondLook`. The lease matters
    where the address stays in its place, on a permanent NAT gateway.
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
    """Judge steps and the binding that they need, in one look."""
    seen = see_fence(
        observed, allocation_id=allocation_id, egress=egress, job_flow_id=job_flow_id, lock_store=lock_store
    )
    steps = observed.steps(job_flow_id, step_ids)
    ended = {step.step_id for step in steps if not step.is_active}
    # What EMR does not show (yet) may run.
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
    Wait for steps, and fail when the Elastic IP leaves their cluster and another look confirms it.

    The event's data names as ``unfenced`` those steps of which no look showed that they ended with the address on the
    cluster.

    :param egress: the way out for which the steps were submitted: the fields of
        :class:`~airflow_eip_provider.aws.egress.Egress`.
    :param submitted_at: seconds since the epoch; for a while after it EC2 may answer from before the binding.
    :param lock_store: the store's URI; the lease is watched, too.
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
        """Say that the address and the steps will be asked for."""
        wants.addresses.add(self.allocation_id)
        wants.steps.setdefault(self.job_flow_id, set()).update(self.step_ids)

    def judge(self, observed: Observed) -> Verdict:
        """Judge the lease and the address, then the steps."""
        found = judge_fenced_steps(
            observed,
            allocation_id=self.allocation_id,
            egress=Egress(**self.egress),  # type: ignore[arg-type]
            job_flow_id=self.job_flow_id,
            step_ids=self.step_ids,
            lock_store=self.lock_store,
        )
        if found.data.get("bound"):
            self._unfenced = found.data["active"]
        found = replace(found, data={**found.data, "unfenced": self._unfenced})
        return self._second_look.judge(found, now=clock.time())


@dataclass(kw_only=True, eq=False, repr=False)
class EmrStepLogsTrigger(WatchTrigger):
    """
    Wait until EMR has written a step's stdout and stderr to the log bucket.

    :param bucket: the log bucket.
    :param prefix: the step's prefix in it, with a slash at its end.
    """

    bucket: str
    prefix: str

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the log objects are there."""
        written = observed.logs_written(StepLogs(self.bucket, self.prefix))
        where = f"s3://{self.bucket}/{self.prefix}"
        return Verdict("done" if written else "pending", f"Logs in {where}: {'written' if written else 'not yet'}")
