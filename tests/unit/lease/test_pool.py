"""The lease of any one address of a pool, in a world in memory that stops a process at any of its calls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.pool import AcquiredOne, QueuedForAll, enter_any, name_kept
from airflow_eip_provider.lease.protocol import Acquired, Superseded, Work, enter, hand_over, launch, release, undo
from airflow_eip_provider.lease.record import Attempt, Phase, Record
from airflow_eip_provider.lease.store import Conflict, Snapshot
from airflow_eip_provider.lease.world import AddressLocation, LeaseTags, Resource

POOL = ("x", "y")


class Cut(BaseException):
    """The process is gone."""


@dataclass
class Cluster:
    address: str
    tags: LeaseTags
    is_live: bool = True


@dataclass
class Aws:
    """EC2, EMR and the lock store; every call of a process may be its last one."""

    now: float = 1000.0
    records: dict[str, tuple[Record, int]] = field(default_factory=dict)
    bound: dict[str, str] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    calls: int = 0
    cut_at: int | None = None
    cut_after: bool = False

    def record(self, address: str) -> Record:
        return self.records.get(address, (Record(), 0))[0]

    def live(self, owner: str) -> set[str]:
        return {name for name, cluster in self.clusters.items() if cluster.is_live and cluster.tags.owner == owner}

    def worlds(self, attempt: Attempt) -> dict[str, World]:
        return {address: World(self, address, attempt) for address in POOL}


class World:
    """One address as one attempt sees it."""

    def __init__(self, aws: Aws, address: str, attempt: Attempt) -> None:
        self._aws, self._address, self._attempt = aws, address, attempt

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name.startswith("_"):
            return method
        aws = self._aws

        def called(*given: Any, **named: Any) -> Any:
            aws.calls += 1
            is_last = aws.calls == aws.cut_at
            if is_last and not aws.cut_after:
                raise Cut
            answer = method(*given, **named)
            if is_last:
                raise Cut
            return answer

        return called

    def read_record(self) -> Snapshot:
        record, version = self._aws.records.get(self._address, (Record(), 0))
        return Snapshot(record, str(version) if version else None, self._aws.now)

    def write_record(self, record: Record, version: str | None, *, joins: bool = False) -> Snapshot | Conflict:
        _, known = self._aws.records.get(self._address, (Record(), 0))
        if version != (str(known) if known else None):
            return Conflict(None)
        self._aws.records[self._address] = (record, known + 1)
        return Snapshot(record, str(known + 1), self._aws.now)

    def read_location(self) -> AddressLocation:
        name = self._aws.bound.get(self._address)
        if name is None:
            return AddressLocation()
        cluster = self._aws.clusters[name]
        return AddressLocation(f"on {name}", (name,), live=cluster.is_live, lease_tags=self._tags(cluster))

    def settled_location(self, expected: str) -> AddressLocation:
        return self.read_location()

    def _tags(self, cluster: Cluster) -> LeaseTags | None:
        return cluster.tags if cluster.address == self._address else None

    def read_resource(self, resource_id: str) -> Resource:
        cluster = self._aws.clusters[resource_id]
        return Resource(resource_id, "live" if cluster.is_live else "ended", self._tags(cluster))

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        live = (item for item in self._aws.clusters.items() if item[1].is_live)
        return tuple(Resource(name, "live", lease_tags) for name, cluster in live if self._tags(cluster) == lease_tags)

    def active_steps(self, resource_id: str, *, guarded: bool) -> tuple[str, ...]:
        return ()

    def pause(self) -> None: ...

    def launch(self, token: int, announced_at: float) -> str:
        name = f"j-{len(self._aws.clusters) + 1}"
        self._aws.clusters[name] = Cluster(self._address, LeaseTags(token, self._attempt.owner))
        return name

    def give_lease_tags(self, resource_id: str, token: int) -> None:
        cluster = self._aws.clusters[resource_id]
        tags = replace(cluster.tags, token=token)
        self._aws.clusters[resource_id] = replace(cluster, address=self._address, tags=tags)

    def terminate(self, resource_id: str) -> bool:
        self._aws.clusters[resource_id].is_live = False
        for address in [address for address, name in self._aws.bound.items() if name == resource_id]:
            del self._aws.bound[address]
        return True

    def disassociate(self, association_id: str) -> None:
        self._aws.bound.pop(self._address, None)


def attempt(owner: str, number: int = 1) -> Attempt:
    return Attempt(owner, owner, number, f"{owner}{number}")


def wanted(who: Attempt, *, prewarm: int = 0) -> LeaseRequest:
    return LeaseRequest(who, "cluster", 3600.0, prewarm)


def hold(aws: Aws, owner: str, address: str) -> str:
    """Let an owner have an address, with a cluster."""
    who = attempt(owner)
    world: Any = World(aws, address, who)
    acquired = enter(world, wanted(who))
    assert isinstance(acquired, Acquired)
    name = launch(world, acquired.snapshot, who)
    assert isinstance(name, str)
    aws.bound[address] = name
    hand_over(world, who, token=acquired.token or 0, resource_id=name)
    return name


def end(aws: Aws, address: str) -> None:
    """Let the lease of an address end as its teardown does."""
    name = aws.bound[address]
    world: Any = World(aws, address, attempt("-"))
    world.terminate(name)
    release(world, name, why="terminated")


def finish(aws: Aws, who: Attempt, entered: AcquiredOne) -> str:
    """Launch, bind and hand over."""
    world: Any = aws.worlds(who)[entered.allocation_id]
    name = launch(world, entered.acquired.snapshot, who)
    assert isinstance(name, str)
    assert aws.bound.setdefault(entered.allocation_id, name) == name
    assert isinstance(hand_over(world, who, token=entered.acquired.token or 0, resource_id=name), Snapshot)
    return name


def queued(aws: Aws, address: str) -> list[str]:
    return [entry.attempt.owner for entry in aws.record(address).queue]


def try_for(aws: Aws, who: Attempt, *, prewarm: int = 0) -> Any:
    worlds: Any = aws.worlds(who)
    return enter_any(worlds, wanted(who, prewarm=prewarm))


@pytest.fixture
def aws() -> Aws:
    return Aws()


def test_the_first_free_address_is_taken_without_a_queue(aws):
    hold(aws, "Z", "x")
    entered = try_for(aws, attempt("A"))
    assert isinstance(entered, AcquiredOne)
    assert entered.allocation_id == "y"
    assert queued(aws, "x") == []
    assert aws.records["y"][1] == 1, "one write"


def test_who_finds_none_joins_all_queues_and_takes_the_first_that_comes(aws):
    hold(aws, "Y", "x")
    hold(aws, "Z", "y")
    for owner in "AB":
        assert isinstance(try_for(aws, attempt(owner)), QueuedForAll)
    assert [queued(aws, address) for address in POOL] == [["A", "B"]] * 2
    end(aws, "y")
    later = try_for(aws, attempt("B"))
    assert isinstance(later, QueuedForAll), "it is A's turn"
    entered = try_for(aws, attempt("A"))
    assert entered.allocation_id == "y"
    assert [queued(aws, address) for address in POOL] == [["B"]] * 2


def test_an_older_attempt_acquires_nothing_once_a_newer_one_is_at_work(aws):
    hold(aws, "Y", "x")
    hold(aws, "Z", "y")
    try_for(aws, attempt("A"))
    assert isinstance(try_for(aws, attempt("A", 2)), QueuedForAll)
    end(aws, "x")
    assert isinstance(try_for(aws, attempt("A")), Superseded)
    assert isinstance(try_for(aws, attempt("A", 2)), AcquiredOne)


def test_a_cluster_that_was_started_early_goes_to_the_address_that_is_free_first(aws):
    hold(aws, "Y", "x")
    hold(aws, "Z", "y")
    for _ in range(2):  # it joins the queues, and then starts its cluster
        try_for(aws, attempt("A"), prewarm=2)
    (early,) = aws.live("A")
    assert aws.clusters[early].address == "x"
    end(aws, "y")
    entered = try_for(aws, attempt("A"), prewarm=2)
    assert finish(aws, attempt("A"), entered) == early
    assert aws.live("A") == {early}
    assert aws.clusters[early].address == "y"
    assert [left.keep for left in aws.record("x").possible_orphans] == [early]


def leads_to(aws: Aws, name: str) -> bool:
    """Whether any record leads to a cluster: by its id, or by its tags."""
    cluster = aws.clusters[name]
    for address in POOL:
        record = aws.record(address)
        parts: list[Any] = [*([record.lease] if record.lease else []), *record.queue]
        if any(part.resource_id == name for part in parts):
            return True
        tokens = {part.token for part in parts} | {left.token for left in record.possible_orphans if left.keep != name}
        if cluster.address == address and cluster.tags.token in tokens:
            return True
    return False


def staged(*, prewarm: int) -> Aws:
    """Let A wait for two addresses, one of which has become free."""
    aws = Aws()
    hold(aws, "Y", "x")
    hold(aws, "Z", "y")
    for _ in range(2):
        try_for(aws, attempt("A"), prewarm=prewarm)
    assert len(aws.live("A")) == (1 if prewarm else 0)
    end(aws, "y")
    aws.calls = 0
    return aws


@pytest.mark.parametrize("prewarm", [0, 2])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("follows", ["a retry", "an undo"])
def test_cut_off_at_any_call_it_leaves_nothing_that_the_next_one_does_not_find(prewarm, after, follows):
    for call in count(1):
        aws = staged(prewarm=prewarm)
        aws.cut_at, aws.cut_after = call, after
        try:
            finish(aws, attempt("A"), try_for(aws, attempt("A"), prewarm=prewarm))
        except Cut:
            aws.cut_at = None
        else:
            assert call > 10, "it makes more calls than that"
            return
        if follows == "an undo":
            worlds: Any = aws.worlds(attempt("A"))
            name_kept(worlds, attempt("A"))
            for world in worlds.values():
                undo(world, Work(attempt("A")))
            assert aws.live("A") == set(), f"cut off at call {call}"
            assert aws.record("y").lease is None
        else:
            entered = try_for(aws, attempt("A", 2), prewarm=prewarm)
            assert entered.allocation_id == "y", f"cut off at call {call}"
            name = finish(aws, attempt("A", 2), entered)
            lease = aws.record("y").lease
            assert lease is not None
            assert (lease.phase, lease.resource_id) == (Phase.ACTIVE, name)
            assert name in aws.live("A")
            assert all(leads_to(aws, name) for name in aws.live("A")), f"cut off at call {call}"
        assert [queued(aws, address) for address in POOL] == [[], []], f"cut off at call {call}"
        assert aws.bound["x"] in aws.live("Y"), "another owner's is left alone"
