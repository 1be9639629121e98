"""
The tasks of the model: each operator as a series of stages. A stage is a function of the protocol, or one request.

A process is one running try. Its local state is a node in the tree of the answers to its function. A node has the next
request of the function, which one replay finds (:mod:`tests.verification.model.replay`), and is shared by all processes
that reach it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease import pool, protocol
from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.record import Attempt
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.world import LeaseTags, Unclear
from tests.verification.model.checks import check_guarded, check_stored
from tests.verification.model.replay import Replay, Request, run
from tests.verification.model.world import HANDOVER_TICKS, LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# A waiting process may estimate at any moment that one of this many first places may start early.
ESTIMATES = (1, 2)


@dataclass(slots=True, eq=False)
class Node:
    """
    A call of a function of the protocol, and the answers so far.

    :param key: the function's name, the address of its world, and its parameters.
    :param asks: the next request; ``None`` when the function has returned.
    :param result: the function's result.
    """

    key: tuple[Any, ...]
    told: tuple[Any, ...] = ()
    asks: Request | None = None
    result: Any = None
    children: dict[Any, Node] = field(default_factory=dict)

    def tell(self, response: Any) -> Node:
        child = self.children.get(response)
        if child is None:
            child = _node(self.key, (*self.told, response))
            self.children[response] = child
        return child


def _node(key: tuple[Any, ...], told: tuple[Any, ...] = ()) -> Node:
    name, address, *parameters = key
    function = _FUNCTIONS[name]
    asks, result = run(lambda world: function(world, *parameters), Replay(told, address))
    return Node(key, told, asks, result)


class Roots:
    """The first node of each function and its parameters, shared by all processes."""

    def __init__(self) -> None:
        self._roots: dict[Any, Node] = {}

    def of(self, key: tuple[Any, ...]) -> Node:
        if key not in self._roots:
            self._roots[key] = _node(key)
        return self._roots[key]


@dataclass(frozen=True, slots=True)
class Process:
    """
    :param task: "create", "steps", "release" or "terminate".
    :param stage: the stage of its task; see :class:`Tasks`.
    :param node: the state of its function; ``None`` in a stage without one.
    :param resource_id: the cluster that it knows.
    :param snapshot: the record that it knows.
    :param prewarm: the estimate with which it entered last: see :data:`ESTIMATES`.
    :param other: the cluster that it launched before it continued with that of an earlier try.
    :param address: its address of several; empty before it has one, and if there is only one.
    """

    owner: str
    try_number: int
    task: str
    stage: str
    node: Node | None = None
    resource_id: str | None = None
    snapshot: Snapshot | None = None
    token: int = 0
    prewarm: int = 0
    other: str | None = None
    address: str = ""

    def __hash__(self) -> int:
        return hash((self.owner, self.try_number, self.stage, id(self.node), self.resource_id, self.token))

    @property
    def attempt(self) -> Attempt:
        return Attempt(self.owner, self.owner, self.try_number, f"{self.owner}{self.try_number}")


class Tasks:
    """
    The order of the stages.

    create: enter → (wait → enter)* → launch → bind → (relocate → wait_free → bind)* → hand_over → returned;
        any failure → undo → failed
    with fallbacks a cluster that does not start is replaced: bind → start → hand_over, or
        start → replace → (ending → replace)* → bind
    for a pool of addresses: enter_any → (wait → enter_any)* → launch …, at one of them;
        before it has one: any failure → undo_all → failed
    a failover moves the lease of another owner's cluster to one of its own:
        move → (wait or other → move)* → quiet → launch → free → bind → hand_over → retire → returned;
        a failure before the hand-over → undo, which moves lease and address back → failed
    steps: guard → add → look_again → (watch →) (cancel →) done
    release: close → idle → release → done
    terminate: end → idle → release → done
    """

    def __init__(
        self,
        *,
        prewarm: int,
        fallbacks: bool = False,
        moves_from: str = "",
        pools: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.prewarm = prewarm
        self.pools = pools or {}
        self.fallbacks = fallbacks
        self.moves_from = moves_from
        self.enters = "move" if moves_from else "enter"
        self.roots = Roots()

    def lease_request(self, process: Process) -> LeaseRequest:
        prewarm = process.prewarm or self.prewarm
        return LeaseRequest(process.attempt, "cluster", HANDOVER_TICKS, prewarm, self.moves_from)

    def start(self, process: Process, stage: str, *, prewarm: int = 0) -> Process:
        """
        Enter a stage.

        :param prewarm: the estimate that its trigger has made.
        """
        process = replace(process, prewarm=prewarm)
        if stage == "undo":
            process = replace(process, snapshot=None)  # it reads the record itself
        key = self._key(process, stage)
        node = None if key is None else self.roots.of((self._function(process, stage), process.address, *key))
        process = replace(process, stage=stage, node=node)
        return process if node is None or node.asks is not None else self._ended(process, node.result)

    def _function(self, process: Process, stage: str) -> str:
        """Return the function of a stage; it is the pool's while the process has none of its addresses."""
        in_pool = process.owner in self.pools and not process.address
        return _IN_POOL.get(stage, stage) if in_pool else stage

    def _key(self, process: Process, stage: str) -> tuple[Any, ...] | None:  # noqa: C901 - one case a stage
        """Return the parameters of the function of a stage; ``None`` if the stage has no function."""
        key: tuple[Any, ...] | None = None
        if self._function(process, stage) != stage:
            return (self.pools[process.owner], self.lease_request(process) if stage == "enter" else process.attempt)
        match stage:
            case "enter":
                key = (self.lease_request(process),)
            case "move":
                key = (self.lease_request(process), self.moves_from)
            case "free":
                key = (process.attempt, process.token, self.moves_from)
            case "launch":
                key = (process.snapshot, process.attempt, self.fallbacks)
            case "replace":
                key = (process.attempt, process.token, process.resource_id, process.other)
            case "hand_over":
                key = (process.attempt, process.token, process.resource_id)
            case "undo":
                key = (process.attempt, process.resource_id, process.token, self.moves_from or None)
            case "relocate":
                key = (LeaseTags(process.token, process.owner), process.resource_id)
            case "guard" | "look_again" | "close" | "release":
                key = (process.resource_id,)
        return key

    def request(self, process: Process) -> Request | None:
        """Return the next request of a process; ``None`` when it waits or has ended."""
        if process.node is not None:
            return process.node.asks
        method = _REQUESTS.get(process.stage)
        if method is None:
            return None
        resource_id = self.moves_from if process.stage == "retire" else process.resource_id
        return Request(method, (resource_id,), process.address)

    def tell(self, process: Process, response: Any) -> Process:
        """Return the process after an answer; in its next stage, if its function has returned."""
        if process.node is None:
            return self._answered(process, response)
        node = process.node.tell(response)
        process = replace(process, node=node)
        return process if node.asks is not None else self._ended(process, node.result)

    def _answered(self, process: Process, response: Any) -> Process:
        stage = _AFTER_REQUEST[process.stage, response]
        if self.fallbacks and process.stage == "bind":
            stage = {"hand_over": "start", "undo": "replace"}.get(stage, stage)
        return self.start(process, stage)

    def _ended(self, process: Process, result: Any) -> Process:
        if isinstance(result, pool.AcquiredOne):
            process, result = replace(process, address=result.allocation_id), result.acquired
        stage = _AFTER_FUNCTION[process.stage, type(result)]
        told = process.node.told if process.node is not None else ()
        if stage in {"add", "watch"} and process.node is not None:
            check_guarded(told[-1] if told else None, str(process.resource_id))
        if isinstance(result, protocol.Acquired):
            lease = result.snapshot.record.lease
            assert lease is not None
            check_stored(told, result.snapshot)
            process = replace(process, snapshot=result.snapshot, token=lease.token)
        elif isinstance(result, Snapshot):
            check_stored(told, result)
            process = replace(process, snapshot=result)
        elif process.stage in {"launch", "replace"} and isinstance(result, str):
            process = replace(process, resource_id=result, other=None)
        elif isinstance(result, protocol.NotStarted):
            process = replace(process, resource_id=result.resource_id)
        elif process.stage == "relocate" and result != process.resource_id:
            process, stage = replace(process, resource_id=result, other=process.resource_id), "bind"
        if self.moves_from:
            stage = {"bind": "free", "returned": "retire"}.get(stage, stage) if process.stage != "free" else stage
        return self.start(process, stage)


_REQUESTS: Mapping[str, str] = {
    "bind": "associate",
    "add": "add_step",
    "cancel": "cancel_step",
    "end": "terminate",
    "retire": "terminate",
}
_AFTER_REQUEST = {
    ("bind", "bound"): "hand_over",
    ("bind", "busy"): "relocate",
    ("bind", "gone"): "undo",
    ("add", "accepted"): "look_again",
    ("add", "refused"): "done",
    ("cancel", None): "done",
    ("end", True): "idle",
    ("retire", True): "returned",
}
_AFTER_FUNCTION = {
    ("enter", protocol.Acquired): "launch",
    ("enter", protocol.Queued): "wait",
    ("enter", pool.QueuedForAll): "wait",
    ("enter", protocol.Superseded): "gone",
    ("move", protocol.Acquired): "quiet",
    ("move", protocol.Queued): "wait",
    ("move", protocol.Superseded): "gone",
    ("move", protocol.MovedByAnother): "other",
    ("free", type(None)): "bind",
    ("free", protocol.LeaseLost): "undo",
    ("launch", str): "bind",
    ("launch", protocol.LeaseLost): "undo",
    ("launch", Unclear): "undo",
    ("launch", protocol.NotStarted): "replace",
    ("replace", str): "bind",
    ("replace", protocol.Ending): "ending",
    ("replace", protocol.LeaseLost): "undo",
    ("replace", Unclear): "undo",
    ("relocate", str): "wait_free",
    ("hand_over", Snapshot): "returned",
    ("hand_over", protocol.LeaseLost): "undo",
    ("undo", type(None)): "failed",
    ("guard", type(None)): "add",
    ("guard", str): "done",
    ("look_again", type(None)): "watch",
    ("look_again", str): "cancel",
    ("close", bool): "idle",
    ("release", bool): "done",
}
_IN_POOL = {"enter": "enter_any", "undo": "undo_all"}


def _undo_all(world: Any, names: tuple[str, ...], attempt: Attempt) -> None:
    """Undo in every record, as ``lease_client.pool.StorePool.undo`` does."""
    worlds = {name: world.at(name) for name in names}
    pool.name_kept(worlds, attempt, LIMITS)
    for address_world in worlds.values():
        protocol.undo(address_world, protocol.Work(attempt), LIMITS)


# Looked up in each call, because mutations replace them.
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "enter": lambda world, lease_request: protocol.enter(world, lease_request, due_seconds=1e9, limits=LIMITS),
    "enter_any": lambda world, names, lease_request: pool.enter_any(
        {name: world.at(name) for name in names}, lease_request, due_seconds=dict.fromkeys(names, 1e9), limits=LIMITS
    ),
    "undo_all": _undo_all,
    "move": lambda world, lease_request, moved_from: protocol.move(
        world, lease_request, moved_from=moved_from, due_seconds=1e9, limits=LIMITS
    ),
    "free": lambda world, attempt, token, moved_from: protocol.take_off(
        world, attempt, token=token, moved_from=moved_from
    ),
    "launch": lambda world, snapshot, attempt, replaces: protocol.launch(
        world, snapshot, attempt, LIMITS, replaces=replaces
    ),
    "replace": lambda world, attempt, token, failed, other: protocol.replace_cluster(
        world, attempt, token=token, failed=failed, other=other, limits=LIMITS
    ),
    "hand_over": lambda world, attempt, token, resource_id: protocol.hand_over(
        world, attempt, token=token, resource_id=resource_id, limits=LIMITS
    ),
    "undo": lambda world, attempt, resource_id, token, moved_from: protocol.undo(
        world, protocol.Work(attempt, resource_id, token, moved_from=moved_from), LIMITS
    ),
    "relocate": lambda world, lease_tags, resource_id: protocol.relocate(world, lease_tags, resource_id=resource_id),
    "guard": lambda world, resource_id: protocol.guard(world, resource_id),  # noqa: PLW0108
    "look_again": lambda world, resource_id: protocol.guard(world, resource_id),  # noqa: PLW0108
    "close": lambda world, resource_id: protocol.start_release(world, resource_id, LIMITS),
    "release": lambda world, resource_id: protocol.release(world, resource_id, why="released", limits=LIMITS),
}
