"""
Correct and wrong uses of the lease protocol, for mypy.

Each wrong line ignores its own error code. Strict mypy reports an unused ignore, so this file passes only if each wrong
line is an error, and no other line is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from airflow_eip_provider.lease.observation import LeaseRequest, Observation, observe
from airflow_eip_provider.lease.protocol import (
    Acquired,
    Ending,
    LeaseLost,
    Queued,
    Superseded,
    Work,
    enter,
    guard,
    hand_over,
    release,
    replace_cluster,
    start_release,
    undo,
)
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Conflict, Snapshot, Unknown
from airflow_eip_provider.lease.world import LeaseTags, TooLate, Unclear

if TYPE_CHECKING:
    from airflow_eip_provider.lease.world import ReadOnlyWorld, World
    from airflow_eip_provider.lease_client.client import LeaseWorld
    from airflow_eip_provider.lease_client.reads import LeaseReads


def right(world: World, reads: ReadOnlyWorld, lease_request: LeaseRequest) -> None:
    assert_type(enter(world, lease_request), Acquired | Queued | Superseded)
    assert_type(hand_over(world, lease_request.attempt, token=1, resource_id="j-1"), Snapshot | LeaseLost)
    replaced = replace_cluster(world, lease_request.attempt, token=1, failed="j-1")
    assert_type(replaced, str | Ending | LeaseLost | Unclear)
    assert_type(observe(reads), Observation)
    assert_type(observe(world), Observation)
    assert_type(guard(reads, "j-1"), str | None)
    assert_type(world.launch(1, 0.0), str | TooLate | Unclear)
    assert_type(world.write_record(Record(), None), Snapshot | Conflict | Unknown)


def on_aws(world: LeaseWorld, reads: LeaseReads, lease_request: LeaseRequest) -> None:
    enter(world, lease_request)
    observe(reads)


def a_trigger_changes_nothing(reads: ReadOnlyWorld, on_aws: LeaseReads, lease_request: LeaseRequest) -> None:
    enter(reads, lease_request)  # type: ignore[arg-type]
    enter(on_aws, lease_request)  # type: ignore[arg-type]
    release(reads, "j-1", why="released")  # type: ignore[arg-type]
    undo(reads, Work(lease_request.attempt))  # type: ignore[arg-type]
    replace_cluster(reads, lease_request.attempt, token=1, failed="j-1")  # type: ignore[arg-type]
    reads.terminate("j-1")  # type: ignore[attr-defined]
    on_aws.write_record(Record(), None)  # type: ignore[attr-defined]


def a_wrong_request(world: World) -> None:
    world.read_lease()  # type: ignore[attr-defined]
    world.write_record(Record())  # type: ignore[call-arg]
    world.write_record({"issued": 1}, None)  # type: ignore[arg-type]
    world.find_clusters("j-1", 0.0)  # type: ignore[arg-type]
    world.find_clusters(LeaseTags(1, "A"))  # type: ignore[call-arg]
    world.active_steps("j-1")  # type: ignore[call-arg]
    world.disassociate(None)  # type: ignore[arg-type]


def a_wrong_answer(world: World, lease_request: LeaseRequest) -> None:
    launched: str = world.launch(1, 0.0)  # type: ignore[assignment]
    written: Snapshot = world.write_record(Record(), None)  # type: ignore[assignment]
    snapshot = enter(world, lease_request).snapshot  # type: ignore[union-attr]
    why = hand_over(world, lease_request.attempt, token=1, resource_id=launched).why  # type: ignore[union-attr]
    start_release(world, world.read_resource("j-1"))  # type: ignore[arg-type]
    release(world, f"{written.version}{snapshot}{why}")  # type: ignore[call-arg]


class Half:
    """A world that lacks methods, and whose answer has a wrong type."""

    def read_record(self) -> Record:
        return Record()


def half_a_world(half: Half) -> None:
    observe(half)  # type: ignore[arg-type]
