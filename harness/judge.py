"""
Checks on the local EMR's event log that apply to every run: pure functions that return problems.

Demo, chaos, exits, stress and soak share them, and add their own (on injected faults, on Airflow's states).
No check uses the code under test. ``tests/unit/harness/test_judge.py`` shows that each check can fail.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

Event = dict[str, Any]

# Tags that the operators set on clusters and NAT gateways. They are stored data, so they are repeated here: if the
# provider changes one, the checks must fail.
ALLOCATION_TAG = "airflow-eip:allocation-id"
JOB_FLOW_TAG = "airflow-eip:job-flow-id"
OWNER_TAG = "airflow-eip:owner-name"  # environment/dag_id/run_id/task_id/map_index
TOKEN_TAG = "airflow-eip:token"  # noqa: S105 - a fencing token
CLUSTER_ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
STEP_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"})
_GATEWAY_ENDED = frozenset({"deleted", "failed"})


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check; it passes if there are no problems."""

    name: str
    problems: tuple[str, ...]
    detail: str

    @property
    def passed(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def calls(events: Iterable[Event], operation: str) -> list[Event]:
    """Return the calls of an operation, including refused ones."""
    return [event for event in events if event["kind"] == "call" and event["operation"] == operation]


@dataclass(frozen=True, slots=True)
class Launch:
    """A successful RunJobFlow call."""

    seq: int
    job_flow_id: str
    tags: dict[str, str]
    call: Event

    @property
    def owner(self) -> list[str]:
        """Environment, dag_id, run_id, task_id and map index of the task that owns it; empty without a tag."""
        return self.tags[OWNER_TAG].split("/") if OWNER_TAG in self.tags else []

    @property
    def dag_id(self) -> str | None:
        """The DAG of the owner; None without a tag."""
        return self.owner[1] if self.owner else None


def launches(events: Iterable[Event]) -> list[Launch]:
    """Return the launches of clusters, oldest first."""
    return [
        Launch(
            call["seq"],
            call["response"]["JobFlowId"],
            {tag["Key"]: tag["Value"] for tag in call["request"].get("Tags", ())},
            call,
        )
        for call in calls(events, "RunJobFlow")
        if not call.get("error_code")
    ]


@dataclass(slots=True)
class Address:
    """The location of the address and the running steps, after some events of the log."""

    holder: str | None = None
    running: dict[str, str] = field(default_factory=dict)  # step id → cluster
    bound: list[str | None] = field(default_factory=list)  # the holder of each association
    served: set[str] = field(default_factory=set)  # clusters that completed a step
    problems: list[str] = field(default_factory=list)

    def _move(self, event: Event) -> None:
        cluster = event.get("job_flow_id") or event.get("instance_id")
        if event["change"] == "associated":
            self.bound.append(cluster)
            if self.holder is not None:
                self.problems.append(f"{event['seq']}: {cluster} got the address while {self.holder} had it")
            self.holder = cluster
            return
        if self.holder != cluster:
            self.problems.append(f"{event['seq']}: {cluster} lost the address, which {self.holder} had")
        for step, on_cluster in self.running.items():
            if on_cluster == cluster:
                self.problems.append(f"{event['seq']}: the address left {cluster} while {step} ran")
        self.holder = None

    def _step(self, event: Event) -> None:
        step, cluster = event["step_id"], event["job_flow_id"]
        if event["state"] == "RUNNING":
            if self.holder != cluster:
                self.problems.append(
                    f"{event['seq']}: {step} started on {cluster} while {self.holder or 'nobody'} had the address"
                )
            if others := sorted({other for other in self.running.values() if other != cluster}):
                self.problems.append(f"{event['seq']}: {step} started on {cluster} while a step ran on {others}")
            self.running[step] = cluster
        elif event["state"] in STEP_ENDED:
            self.running.pop(step, None)
        if event["state"] == "COMPLETED":
            self.served.add(cluster)


def follow(events: Iterable[Event], *, clusters: Collection[str] | None = None) -> Address:
    """
    Check that one cluster at a time had the address, and that steps ran only on the cluster that had it.

    Events are ordered by their number in the log.

    :param clusters: the clusters whose steps need the address; all by default.
    """
    address = Address()
    for event in events:
        if event["kind"] == "address":
            address._move(event)  # noqa: SLF001 - this function is the loop over the methods of the class
        elif event["kind"] == "step" and (clusters is None or event["job_flow_id"] in clusters):
            address._step(event)  # noqa: SLF001
    return address


def of_address(events: Sequence[Event], allocation_id: str) -> list[Event]:
    """
    Return the events of one of several addresses: its moves, its record, and the steps of the clusters that had it.

    A step of a cluster that never had an address counts for every address, as a problem. A step of a cluster that had
    several addresses counts for each of these.
    """
    had: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event["kind"] == "address" and event["change"] == "associated":
            had[event["job_flow_id"]].add(event["allocation_id"])
    return [
        event
        for event in events
        if (event["kind"] not in {"address", "stored"} or event["allocation_id"] == allocation_id)
        and (event["kind"] != "step" or allocation_id in (had.get(event["job_flow_id"]) or {allocation_id}))
    ]


def address_left(events: Iterable[Event]) -> list[str]:
    """Return a problem if the address is still associated at the end."""
    holder = follow(event for event in events if event["kind"] == "address").holder
    return [f"the address is left on {holder}"] if holder else []


def clusters_left(events: Iterable[Event]) -> list[str]:
    """Return the clusters that have not ended."""
    states = {event["job_flow_id"]: event["to"] for event in events if event["kind"] == "cluster"}
    return [f"{cluster} is left {state}" for cluster, state in states.items() if state not in CLUSTER_ENDED]


def two_clusters_of_a_lease(events: Iterable[Event]) -> list[str]:
    """
    Return the clusters that were launched while another cluster of the same lease had not ended.

    A lease is identified by its owner and, with a lock store, its token. Without a lock store, an owner may have one
    cluster besides those that are terminating, because a retry does not wait until the failed try's cluster has ended.
    """
    log = list(events)
    lease_of = {launch.job_flow_id: (tuple(launch.owner), launch.tags.get(TOKEN_TAG)) for launch in launches(log)}
    active: dict[str, tuple[Any, ...]] = {}
    problems: list[str] = []
    for event in log:
        cluster = event.get("job_flow_id")
        if event["kind"] != "cluster" or cluster not in lease_of:
            continue
        has_token = lease_of[cluster][1] is not None
        if event["to"] in CLUSTER_ENDED or (event["to"] == "TERMINATING" and not has_token):
            active.pop(cluster, None)
            continue
        if cluster not in active:
            others = [other for other, lease in active.items() if lease == lease_of[cluster] and lease[0]]
            problems += [f"{event['seq']}: {cluster} was launched while {other} had not ended" for other in others]
        active[cluster] = lease_of[cluster]
    return problems


def idle_endings(events: Iterable[Event]) -> list[str]:
    """Return the clusters that EMR's idle termination ended."""
    return [
        event["job_flow_id"]
        for event in events
        if event["kind"] == "cluster"
        and event["to"] == "TERMINATING"
        and "idle" in ((event["reason"] or {}).get("Message") or "")
    ]


def unsafe_associations(events: Iterable[Event]) -> list[str]:
    """Return the AssociateAddress calls that could take the address from its holder."""
    return [
        f"{call['seq']}: AssociateAddress was sent with {call['request']}"
        for call in calls(events, "AssociateAddress")
        if str(call["request"].get("AllowReassociation")).lower() != "false"
        or not call["request"].get("NetworkInterfaceId")
    ]


def record_disagrees(events: Iterable[Event], *, left: Sequence[str], ended: Collection[str]) -> list[str]:
    """
    Return the contradictions between the lease record at the end and the log.

    :param left: the owners that still have the lease or a place in the queue.
    :param ended: the clusters that had the address according to the record's history.
    """
    bound = {e.get("job_flow_id") for e in events if e["kind"] == "address" and e["change"] == "associated"} - {None}
    return [
        *(f"the record still has {name}" for name in left),
        *(f"the history says that {name} had the address" for name in sorted(set(ended) - bound)),
    ]


# With a NAT gateway, the address is on the gateway, and steps need a route to it.


def gateways_of_clusters(events: Sequence[Event]) -> dict[str, str]:
    """Return the cluster of each NAT gateway, from the tags in the CreateNatGateway call."""
    by_client_token = {}
    for call in calls(events, "CreateNatGateway"):
        request = call["request"]
        if "DryRun" not in request:
            keys = {
                request[name]: request.get(f"{name.removesuffix('Key')}Value") for name in request if ".Key" in name
            }
            by_client_token[request["ClientToken"]] = str(keys[JOB_FLOW_TAG])
    return {
        event["nat_gateway_id"]: by_client_token[event["client_token"]]
        for event in events
        if event["kind"] == "nat_gateway" and event["client_token"] in by_client_token
    }


def with_clusters(events: Sequence[Event]) -> list[Event]:
    """Return the events; those of an address on a cluster's NAT gateway get the cluster's id."""
    clusters = gateways_of_clusters(events)
    completed = []
    for event in events:
        gateway = str(event.get("cause")).rpartition(" ")[2] if event["kind"] == "address" else ""
        completed.append({**event, "job_flow_id": clusters[gateway]} if gateway in clusters else event)
    return completed


@dataclass(frozen=True, slots=True)
class Gateways:
    """
    Problems of NAT gateways and their routes.

    :param routeless: steps that ran while no route led to their cluster's gateway.
    :param left: gateways and routes that exist at the end.
    """

    routeless: list[str]
    left: list[str]


def gateways(events: Sequence[Event]) -> Gateways:
    """Check that routes existed while steps ran, and that each NAT gateway and its routes are deleted at the end."""
    clusters = gateways_of_clusters(events)
    states: dict[str, str] = {}
    routes: dict[str, str | None] = {}
    running: dict[str, str] = {}
    routeless = set()
    for event in events:
        if event["kind"] == "nat_gateway":
            states[event["nat_gateway_id"]] = event["state"]
        elif event["kind"] == "route":
            routes[event["route_table_id"]] = event["target"] if event["change"] != "deleted" else None
        elif event["kind"] == "step":
            running[event["step_id"]] = event["job_flow_id"]
            if event["state"] != "RUNNING":
                del running[event["step_id"]]
        for step, cluster in running.items():
            if clusters and cluster not in {clusters.get(str(target)) for target in routes.values()}:
                routeless.add(f"{step} ran on {cluster} while no route led to its NAT gateway")
    left = [f"NAT gateway {name} is left {state}" for name, state in states.items() if state not in _GATEWAY_ENDED]
    left += [f"{table} still has a route to {target}" for table, target in routes.items() if target]
    return Gateways(sorted(routeless), left)
