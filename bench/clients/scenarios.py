"""The scenes, and the clients that go through them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import boto3

from bench.clients.figures import Figures, HeldTwice, Subject
from bench.clients.stage import Owner, SceneError, Stage
from bench.clients.venv import python_of_clients
from bench.world import Address, environment
from local_emr import LocalAws, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_WORK = 480
_HOUR = 3600
_DAY = 86400
_WAITERS = 4
_LEASES_AT_MOST = 10  # nobody is let in after a crash: it is not waited for longer
_POLL = 15  # as this provider's operators look
_LONG_LEASE = 7200  # longer than any work: what a lease that is never renewed has to be

DYNALOCK = {"name": "dynalock", "version": "0.3.0", "script": "run_dynalock", "service": "dynamodb", "key": ("LockId",)}
S3_LOCKS = {"name": "s3-locks", "version": "0.1.0", "script": "run_s3_locks", "service": "s3"}
SUBJECTS = (
    Subject(
        name="python-dynamodb-lock",
        version="0.9.1",
        script="run_python_dynamodb_lock",
        service="dynamodb",
        key=("lock_key", "sort_key"),
        lease=30,
        heartbeat=5,
        poll=5,
    ),
    Subject(**DYNALOCK, lease=60, poll=_POLL, chosen=("poll",)),
    Subject(**DYNALOCK, lease=_LONG_LEASE, poll=_POLL, chosen=("lease", "poll")),
    Subject(**S3_LOCKS, lease=60, poll=_POLL, chosen=("poll",)),
    Subject(**S3_LOCKS, lease=_LONG_LEASE, poll=_POLL, chosen=("lease", "poll")),
)


def measure(subjects: tuple[Subject, ...] = SUBJECTS) -> list[Figures]:
    """Let every client go through every scene; one that cannot is a row with the reason."""
    try:
        python = python_of_clients()
    except OSError as error:
        return [Figures(subject=subject, reason=str(error)) for subject in subjects]
    with LocalAws(clock=ManualClock()) as aws, environment(aws):
        carries = _cluster_with_address(aws)
        return [_Scenes(aws, python, subject, f"place-{n}", carries).figures() for n, subject in enumerate(subjects)]


def _cluster_with_address(aws: LocalAws) -> Callable[[], bool]:
    """Start the cluster of the first holder, put the address on it, and return a way to ask whether it carries it."""
    address = Address.allocated(aws)
    emr, ec2 = boto3.client("emr"), boto3.client("ec2")
    job_flow_id = emr.run_job_flow(**address.job_flow)["JobFlowId"]
    aws.clock.advance(_HOUR)
    instance_id = emr.list_instances(ClusterId=job_flow_id)["Instances"][0]["Ec2InstanceId"]
    ec2.associate_address(AllocationId=address.allocation_id, InstanceId=instance_id, AllowReassociation=False)

    def carries() -> bool:
        known = ec2.describe_addresses(AllocationIds=[address.allocation_id])["Addresses"][0]
        state = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"]
        return bool(known.get("InstanceId") == instance_id and state in {"RUNNING", "WAITING"})

    return carries


class _Scenes:
    """One client's scenes, each in a table or bucket of its own."""

    def __init__(self, aws: LocalAws, python: Path, subject: Subject, place: str, carries: Callable[[], bool]) -> None:
        self._aws = aws
        self._python = python
        self._subject = subject
        self._place = place
        self._carries = carries

    def figures(self) -> Figures:
        """Return what came of them."""
        try:
            return Figures(
                subject=self._subject,
                cycle=self._cycle(),
                **self._contended_hour(),
                **self._crash(),
                fast=self._wrong_clock(_HOUR),
                slow=self._wrong_clock(-_HOUR),
                paused=self._paused(),
                late_release_frees=self._late_release(),
            )
        except SceneError as error:
            return Figures(subject=self._subject, reason=str(error))

    @property
    def _short_work(self) -> float:
        """Work that fits into the lease when that is not renewed."""
        return _WORK if self._subject.heartbeat else 0.9 * self._subject.lease

    def _stage(self, scene: str) -> Stage:
        return Stage(self._aws, self._python, self._subject, f"{self._place}-{scene}")

    def _cycle(self) -> dict[str, int]:
        with self._stage("cycle") as stage:
            owner = stage.enter("owner", work=_WORK)
            stage.run(_DAY, until=lambda: owner.gone)
            return stage.calls()

    def _contended_hour(self) -> dict[str, Any]:
        with self._stage("hour") as stage:
            _holder(stage, work=_DAY)
            for number in range(_WAITERS):
                stage.enter(f"waiter {number + 1}", work=_DAY)
            stage.run(_HOUR)
            return {"hour": stage.calls(), "holders": sum(owner.acquired for owner in stage.owners)}

    def _crash(self) -> dict[str, Any]:
        with self._stage("crash") as stage:
            holder = _holder(stage, work=_DAY)
            following = stage.enter("next", work=_DAY)
            stage.run(1)
            stage.kill(holder)
            killed = stage.now
            let_in = stage.run(_LEASES_AT_MOST * self._subject.lease, until=lambda: following.acquired)
            return {
                "after_crash": stage.now - killed if let_in else None,
                "beside_cluster": let_in and self._carries(),
            }

    def _wrong_clock(self, skew: float) -> HeldTwice:
        with self._stage("fast" if skew > 0 else "slow") as stage:
            holder = _holder(stage, work=self._short_work, skew=skew)
            stage.enter("next", work=self._short_work)
            stage.run(_DAY, until=lambda: holder.gone)
            return _held_twice(stage)

    def _paused(self) -> HeldTwice:
        lease = self._subject.lease
        with self._stage("paused") as stage:
            holder = _holder(stage, work=self._short_work)
            following = stage.enter("next", work=_DAY)
            stage.run(0.5 * lease)
            stage.pause(holder)
            stage.run(2 * lease)
            stage.resume(holder)
            stage.run(_DAY, until=lambda: holder.gone)
            if not following.acquired:
                stage.run(_LEASES_AT_MOST * lease, until=lambda: following.acquired)
            return _held_twice(stage)

    def _late_release(self) -> bool:
        """Let a holder be stopped until the next one has the lock, then let the lock go; a third waits."""
        lease = self._subject.lease
        with self._stage("late") as stage:
            holder = _holder(stage, work=0.5 * lease)
            following = stage.enter("next", work=0.9 * lease)
            stage.run(0.25 * lease)
            stage.pause(holder)
            if not stage.run(_LEASES_AT_MOST * lease, until=lambda: following.acquired):
                return False
            stage.resume(holder)
            stage.run(lease, until=lambda: holder.gone)
            third = stage.enter("third", work=lease)
            stage.run(lease, until=lambda: following.gone or third.acquired)
            return third.acquired and "released" not in following.facts


def _holder(stage: Stage, *, work: float, skew: float = 0.0) -> Owner:
    """Let the first owner come, and wait until it has the lock."""
    holder = stage.enter("holder", work=work, skew=skew)
    stage.run(60, until=lambda: holder.acquired)
    return holder


def _held_twice(stage: Stage) -> HeldTwice:
    periods = sorted(owner.lease_period for owner in stage.owners if owner.acquired)
    overlap = max((max(0.0, one[1] - other[0]) for one, other in pairwise(periods)), default=0.0)
    return HeldTwice(overlap, told="told" in stage.owners[0].facts)
