"""The data of a cluster: instances, steps, state and its reason."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from local_emr.clock import Timer
    from local_emr.emr.steps import BootstrapActionSpec, StepResult

READY = frozenset({"RUNNING", "WAITING"})
ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
# States in which AddJobFlowSteps is accepted (docs: EMR API, AddJobFlowSteps).
OPEN = READY | {"STARTING", "BOOTSTRAPPING"}
UNFINISHED_STEP = frozenset({"PENDING", "CANCEL_PENDING", "RUNNING"})
_LETTERS = string.ascii_uppercase + string.digits


def new_id(prefix: str) -> str:
    """Return an id in EMR's form, e.g. ``j-2AXXXXXXGAPLF``."""
    return prefix + "".join(random.choices(_LETTERS, k=13))  # noqa: S311 - a name, not a secret


@dataclass(frozen=True)
class Reason:
    """Why a cluster or a step is in its state.

    :param code: The code in StateChangeReason.
    :param error_code: The code in ErrorDetails; ``code`` if not given.
    :param error_data: The data in ErrorDetails.
    """

    code: str | None = None
    message: str | None = None
    error_code: str | None = None
    error_data: tuple[tuple[str, str], ...] = ()


@dataclass(kw_only=True)
class Node:
    """An instance in EMR; its EC2 instance is assigned later.

    :param action: The running bootstrap action.
    :param actions_done: Number of bootstrap actions that have succeeded.
    :param failure: The failure of the next one.
    """

    id: str = field(default_factory=lambda: new_id("ci-"))
    created: datetime
    state: str = "AWAITING_FULFILLMENT"
    instance: Any = None
    ready: datetime | None = None
    ended: datetime | None = None
    action: BootstrapActionSpec | None = None
    actions_done: int = 0
    failure: StepResult | None = None


@dataclass(kw_only=True)
class Pool:
    """An instance group or an instance fleet.

    :param role: MASTER, CORE or TASK.
    """

    id: str
    role: str
    name: str
    instance_type: str
    market: str
    request: dict[str, Any]
    nodes: list[Node] = field(default_factory=list)


@dataclass(kw_only=True)
class Step:
    """One step; ``request`` is its StepConfig."""

    id: str = field(default_factory=lambda: new_id("s-"))
    request: dict[str, Any]
    created: datetime
    execution_role_arn: str | None = None
    state: str = "PENDING"
    started: datetime | None = None
    ended: datetime | None = None
    result: StepResult | None = None
    reason: Reason = field(default_factory=Reason)

    @property
    def name(self) -> str:
        """The step's name."""
        return str(self.request["Name"])

    @property
    def action_on_failure(self) -> str:
        """What a failure does to the cluster; the default is TERMINATE_CLUSTER."""
        action = str(self.request.get("ActionOnFailure", "TERMINATE_CLUSTER"))
        return "TERMINATE_CLUSTER" if action == "TERMINATE_JOB_FLOW" else action


@dataclass(kw_only=True)
class Cluster:
    """A job flow; ``request`` has the parameters of RunJobFlow.

    :param hangs: It stays in its state until it is terminated.
    :param starting_time_is_over: The minimum time in STARTING is over.
    :param bootstrap_time_is_over: The minimum time in BOOTSTRAPPING is over.
    """

    id: str = field(default_factory=lambda: new_id("j-"))
    request: dict[str, Any]
    created: datetime
    subnet: Any
    collection: Literal["INSTANCE_GROUP", "INSTANCE_FLEET"]
    pools: list[Pool]
    tags: dict[str, str]
    termination_protected: bool
    keep_alive: bool
    step_concurrency: int
    needs_runtime_role: bool = False
    idle_timeout: int | None = None
    state: str = "STARTING"
    reason: Reason = field(default_factory=Reason)
    fails: bool = False
    hangs: bool = False
    starting_time_is_over: bool = False
    bootstrap_time_is_over: bool = False
    ready: datetime | None = None
    ended: datetime | None = None
    steps: list[Step] = field(default_factory=list)
    idle_timer: Timer | None = None

    def members(self) -> Iterator[tuple[Pool, Node]]:
        """Yield every node with its pool."""
        for pool in self.pools:
            for node in pool.nodes:
                yield pool, node

    def nodes(self) -> Iterator[Node]:
        """Yield the nodes of every pool."""
        return (node for _, node in self.members())

    @property
    def bootstrap_actions(self) -> list[dict[str, Any]]:
        """The request's BootstrapActionConfigs, in order."""
        return list(self.request.get("BootstrapActions", ()))

    @property
    def primary_pool(self) -> Pool:
        """The pool of the primary node or nodes."""
        return next(pool for pool in self.pools if pool.role == "MASTER")

    @property
    def primary(self) -> Any | None:
        """The EC2 instance of the (first) primary node, if any."""
        return self.primary_pool.nodes[0].instance

    @property
    def workers(self) -> list[Any]:
        """The EC2 instances of the core and task nodes, core nodes first."""
        pools = sorted((pool for pool in self.pools if pool.role != "MASTER"), key=lambda pool: pool.role)
        return [node.instance for pool in pools for node in pool.nodes if node.instance is not None]

    def steps_in(self, *states: str) -> list[Step]:
        """Return the steps in these states, oldest first."""
        return [step for step in self.steps if step.state in states]
