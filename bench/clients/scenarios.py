"""The scenarios, and the clients that run them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import boto3

from bench.clients.figures import ClientConfig, Figures, Overlap
from bench.clients.simulation import Owner, OwnerFailedError, Simulation
from bench.clients.venv import python_of_clients
from bench.environment import Address, environment
from local_emr import LocalAws, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_WORK = 480
_HOUR = 3600
_DAY = 86400
_WAITERS = 4
_MAX_LEASES = 10  # an owner that has no lock after this many leases counts as never getting it
_POLL = 15  # as this provider's operators
_LONG_LEASE = 7200  # longer than any work, which a lease without renewal requires

DYNALOCK = {"name": "dynalock", "version": "0.3.0", "script": "run_dynalock", "service": "dynamodb", "key": ("LockId",)}
S3_LOCKS = {"name": "s3-locks", "version": "0.1.0", "script": "run_s3_locks", "service": "s3"}
CONFIGS = (
    ClientConfig(
        name="python-dynamodb-lock",
        version="0.9.1",
        script="run_python_dynamodb_lock",
        service="dynamodb",
        key=("lock_key", "sort_key"),
        lease=30,
        heartbeat=5,
        poll=5,
    ),
    ClientConfig(**DYNALOCK, lease=60, poll=_POLL, chosen=("poll",)),
    ClientConfig(**DYNALOCK, lease=_LONG_LEASE, poll=_POLL, chosen=("lease", "poll")),
    ClientConfig(**S3_LOCKS, lease=60, poll=_POLL, chosen=("poll",)),
    ClientConfig(**S3_LOCKS, lease=_LONG_LEASE, poll=_POLL, chosen=("lease", "poll")),
)


def measure(configs: tuple[ClientConfig, ...] = CONFIGS) -> list[Figures]:
    """Run every scenario with every client; a client that cannot run has a row with the reason."""
    try:
        python = python_of_clients()
    except OSError as error:
        return [Figures(config=config, reason=str(error)) for config in configs]
    with LocalAws(clock=ManualClock()) as aws, environment(aws):
        has_address = _cluster_with_address(aws)
        return [
            _Scenarios(aws, python, config, f"place-{n}", has_address).figures() for n, config in enumerate(configs)
        ]


def _cluster_with_address(aws: LocalAws) -> Callable[[], bool]:
    """Start the cluster of the first holder with the address; return a function that checks whether it has it."""
    address = Address.allocated(aws)
    emr, ec2 = boto3.client("emr"), boto3.client("ec2")
    job_flow_id = emr.run_job_flow(**address.job_flow)["JobFlowId"]
    aws.clock.advance(_HOUR)
    instance_id = emr.list_instances(ClusterId=job_flow_id)["Instances"][0]["Ec2InstanceId"]
    ec2.associate_address(AllocationId=address.allocation_id, InstanceId=instance_id, AllowReassociation=False)

    def has_address() -> bool:
        described = ec2.describe_addresses(AllocationIds=[address.allocation_id])["Addresses"][0]
        state = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"]
        return bool(described.get("InstanceId") == instance_id and state in {"RUNNING", "WAITING"})

    return has_address


class _Scenarios:
    """The scenarios of one client, each with its own table or bucket."""

    def __init__(
        self, aws: LocalAws, python: Path, config: ClientConfig, location: str, has_address: Callable[[], bool]
    ) -> None:
        self._aws = aws
        self._python = python
        self._config = config
        self._location = location
        self._has_address = has_address

    def figures(self) -> Figures:
        """Run all scenarios and return the figures."""
        try:
            return Figures(
                config=self._config,
                cycle=self._cycle(),
                **self._contended_hour(),
                **self._crash(),
                fast=self._wrong_clock(_HOUR),
                slow=self._wrong_clock(-_HOUR),
                paused=self._paused(),
                late_release_frees=self._late_release(),
            )
        except OwnerFailedError as error:
            return Figures(config=self._config, reason=str(error))

    @property
    def _short_work(self) -> float:
        """Seconds of work that end before a lease that is not renewed."""
        return _WORK if self._config.heartbeat else 0.9 * self._config.lease

    def _simulate(self, scenario: str) -> Simulation:
        return Simulation(self._aws, self._python, self._config, f"{self._location}-{scenario}")

    def _cycle(self) -> dict[str, int]:
        with self._simulate("cycle") as simulation:
            owner = simulation.enter("owner", work=_WORK)
            simulation.run(_DAY, until=lambda: owner.gone)
            return simulation.calls()

    def _contended_hour(self) -> dict[str, Any]:
        with self._simulate("hour") as simulation:
            _holder(simulation, work=_DAY)
            for number in range(_WAITERS):
                simulation.enter(f"waiter {number + 1}", work=_DAY)
            simulation.run(_HOUR)
            return {"hour": simulation.calls(), "holders": sum(owner.acquired for owner in simulation.owners)}

    def _crash(self) -> dict[str, Any]:
        with self._simulate("crash") as simulation:
            holder = _holder(simulation, work=_DAY)
            following = simulation.enter("next", work=_DAY)
            simulation.run(1)
            simulation.kill(holder)
            killed = simulation.now
            acquired = simulation.run(_MAX_LEASES * self._config.lease, until=lambda: following.acquired)
            return {
                "after_crash": simulation.now - killed if acquired else None,
                "beside_cluster": acquired and self._has_address(),
            }

    def _wrong_clock(self, skew: float) -> Overlap:
        with self._simulate("fast" if skew > 0 else "slow") as simulation:
            holder = _holder(simulation, work=self._short_work, skew=skew)
            simulation.enter("next", work=self._short_work)
            simulation.run(_DAY, until=lambda: holder.gone)
            return _overlap_of(simulation)

    def _paused(self) -> Overlap:
        lease = self._config.lease
        with self._simulate("paused") as simulation:
            holder = _holder(simulation, work=self._short_work)
            following = simulation.enter("next", work=_DAY)
            simulation.run(0.5 * lease)
            simulation.pause(holder)
            simulation.run(2 * lease)
            simulation.resume(holder)
            simulation.run(_DAY, until=lambda: holder.gone)
            if not following.acquired:
                simulation.run(_MAX_LEASES * lease, until=lambda: following.acquired)
            return _overlap_of(simulation)

    def _late_release(self) -> bool:
        """Pause a holder until the next one has the lock, let it release, and return whether a third gets the lock."""
        lease = self._config.lease
        with self._simulate("late") as simulation:
            holder = _holder(simulation, work=0.5 * lease)
            following = simulation.enter("next", work=0.9 * lease)
            simulation.run(0.25 * lease)
            simulation.pause(holder)
            if not simulation.run(_MAX_LEASES * lease, until=lambda: following.acquired):
                return False
            simulation.resume(holder)
            simulation.run(lease, until=lambda: holder.gone)
            third = simulation.enter("third", work=lease)
            simulation.run(lease, until=lambda: following.gone or third.acquired)
            return third.acquired and "released" not in following.facts


def _holder(simulation: Simulation, *, work: float, skew: float = 0.0) -> Owner:
    """Start the first owner, and wait until it has the lock."""
    holder = simulation.enter("holder", work=work, skew=skew)
    simulation.run(60, until=lambda: holder.acquired)
    return holder


def _overlap_of(simulation: Simulation) -> Overlap:
    periods = sorted(owner.lease_period for owner in simulation.owners if owner.acquired)
    overlap = max((max(0.0, one[1] - other[0]) for one, other in pairwise(periods)), default=0.0)
    return Overlap(overlap, noticed="loss noticed" in simulation.owners[0].facts)
