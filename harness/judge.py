"""
The judge of the local EMR's event log: what must hold whoever ran, as pure functions from events to problems.

Demo, chaos, exits, stress and soak use the same rules, and add what only they can know (which fault was injected, what
Airflow says). No rule asks the code under test. ``tests/unit/harness/test_judge.py`` shows that each of them can fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

Event = dict[str, Any]

# Set by the operators on each cluster and NAT gateway. Named here again: a rename there would change stored data.
ALLOCATION_TAG = "airflow-eip:allocation-id"
JOB_FLOW_TAG = "airflow-eip:job-flow-id"
OWNER_TAG = "airflow-eip:owner-name"  # environment/dag_id/run_id/task_id/map_index
TOKEN_TAG = "airflow-eip:token"  # noqa: S105 - a fencing token
CLUSTER_ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
STEP_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"})
_GATEWAY_ENDED = frozenset({"deleted", "failed"})


@dataclass(frozen=True, slots=True)
class Check:
    """A verdict and its grounds; it passes when there are no problems."""

    name: str
    problems: tuple[str, ...]
    detail: str

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def calls(events: Iterable[Event], operation: str) -> list[Event]:
    """Return the calls of an operation, refused ones included."""
    return [event for event in events if event["kind"] == "call" and event["operation"] == operation]


@dataclass(frozen=True, slots=True)
class Launch:
    """A RunJobFlow that was answered."""

    seq: int
    job_flow_id: str
    tags: dict[str, str]
    call: Event

    @property
    def owner(self) -> list[str]:
        """Environment, dag_id, run_id, task_id and map index of the task that owns it; empty without a tag."""
        return self.tags[OWNER_TAG].split("/") if OWNER_TAG in self.tags else []


def launches(events: Iterable[Event]) -> list[Launch]:
    """Return the clusters that were launched, oldest first."""
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
    """Where the address is and what runs, as the log goes on."""

    holder: str | None = None
    running: dict[str, str] = field(default_factory=dict)  # step id → cluster
    bound: list[str | None] = field(default_factory=list)  # a cluster or another holder for each association
    served: set[str] = field(default_factory=set)  # clusters on which a step ended well
    problems: list[str] = field(default_factory=list)

    def _moves(self, event: Event) -> None:
        cluster = event.get("job_flow_id") or event.get("instance_id")
        if event["change"] == "associated":
            self.bound.append(cluster)
            if self.holder is not None:
                self.problems.append(f"{event['seq']}: {cluster} got the address while {self.holder} had it")
            self.holder = cluster
            return
        if self.holder != cluster:
            self.problems.append(f"{event['seq']}: {cluster} lost the address, which {self.holder} had")
        for step, its in self.running.items():
            if its == cluster:
                self.problems.append(f"{event['seq']}: the address left {cluster} while {step} ran")
        self.holder = None

    def _step(self, event: Event) -> None:
        step, cluster = event["step_id"], event["job_flow_id"]
        if event["state"] == "RUNNING":
            if self.holder != cluster:
                self.problems.append(
                    f"{event['seq']}: {step} started on {cluster} while {self.holder or 'nobody'} had the address"
                )
            if others := sorted({its for its in self.running.values() if its != cluster}):
                self.problems.append(f"{event['seq']}: {step} started on {cluster} while a step ran on {others}")
            self.running[step] = cluster
        elif event["state"] in STEP_ENDED:
            self.running.pop(step, None)
        if event["state"] == "COMPLETED":
            self.served.add(cluster)


def follow(events: Iterable[Event], *, clusters: Collection[str] | None = None) -> Address:
    """
    See that one cluster at a time had the address, and that steps ran on clusters that had it, on one at a time.

    All is compared by its number in the log, which has one order for everything.

    :param clusters: those whose steps need the address; all by default.
    """
    address = Address()
    for event in events:
        if event["kind"] == "address":
            address._moves(event)  # noqa: SLF001 - the loop of the same rule
        elif event["kind"] == "step" and (clusters is None or event["job_flow_id"] in clusters):
            address._step(event)  # noqa: SLF001
    return address


def address_left(events: Iterable[Event]) -> list[str]:
    """Return where the address still is in the end."""
    holder = follow(event for event in events if event["kind"] == "address").holder
    return [f"the address is left on {holder}"] if holder else []


def clusters_left(events: Iterable[Event]) -> list[str]:
    """Return the clusters that have not ended."""
    states = {event["job_flow_id"]: event["to"] for event in events if event["kind"] == "cluster"}
    return [f"{cluster} is left {state}" for cluster, state in states.items() if state not in CLUSTER_ENDED]


def two_clusters_of_a_lease(events: Iterable[Event]) -> list[str]:
    """
    Return the clusters that were launched while another one of the same lease had not ended.

    A lease is its owner's, and has a token where there is a lock store. Without one an owner has one cluster at a time
    that is not terminating: a retry does not wait until the cluster that the failed try terminated has ended.
    """
    log = list(events)
    its = {one.job_flow_id: (tuple(one.owner), one.tags.get(TOKEN_TAG)) for one in launches(log)}
    living: dict[str, tuple[Any, ...]] = {}
    problems: list[str] = []
    for event in log:
        cluster = event.get("job_flow_id")
        if event["kind"] != "cluster" or cluster not in its:
            continue
        has_token = its[cluster][1] is not None
        if event["to"] in CLUSTER_ENDED or (event["to"] == "TERMINATING" and not has_token):
            living.pop(cluster, None)
            continue
        if cluster not in living:
            others = [other for other, lease in living.items() if lease == its[cluster] and lease[0]]
            problems += [f"{event['seq']}: {cluster} was launched while {other} had not ended" for other in others]
        living[cluster] = its[cluster]
    return problems


def idle_endings(events: Iterable[Event]) -> list[str]:
    """Return the clusters that EMR ended because they were idle: the last resort, when nobody else ended them."""
    return [
        event["job_flow_id"]
        for event in events
        if event["kind"] == "cluster"
        and event["to"] == "TERMINATING"
        and "idle" in ((event["reason"] or {}).get("Message") or "")
    ]


def thefts(events: Iterable[Event]) -> list[str]:
    """Return the calls of AssociateAddress that EC2 would have answered by taking the address from its holder."""
    return [
        f"{call['seq']}: AssociateAddress was sent with {call['request']}"
        for call in calls(events, "AssociateAddress")
        if str(call["request"].get("AllowReassociation")).lower() != "false"
        or not call["request"].get("NetworkInterfaceId")
    ]


def record_disagrees(events: Iterable[Event], *, left: Sequence[str], ended: Collection[str]) -> list[str]:
    """
    Return what the lease record says in the end that the log does not.

    :param left: the names of those that still have the lease or are in the queue.
    :param ended: the clusters of the record's history that had the address, as it says.
    """
    bound = {e.get("job_flow_id") for e in events if e["kind"] == "address" and e["change"] == "associated"} - {None}
    return [
        *(f"the record still has {name}" for name in left),
        *(f"the history says that {name} had the address" for name in sorted(set(ended) - bound)),
    ]


# Behind a NAT gateway, the address is on the gateway, and steps need a route to it.


def gateways_of_clusters(events: Sequence[Event]) -> dict[str, str]:
    """Return the cluster that each NAT gateway was made for, by the tags that it was asked for with."""
    asked = {}
    for call in calls(events, "CreateNatGateway"):
        given = call["request"]
        if "DryRun" not in given:
            keys = {given[name]: given.get(f"{name.removesuffix('Key')}Value") for name in given if ".Key" in name}
            asked[given["ClientToken"]] = str(keys[JOB_FLOW_TAG])
    made = [event for event in events if event["kind"] == "nat_gateway"]
    return {event["nat_gateway_id"]: asked[event["client_token"]] for event in made if event["client_token"] in asked}


def with_clusters(events: Sequence[Event]) -> list[Event]:
    """Name the cluster in what befell an address on a NAT gateway that was made for one."""
    clusters = gateways_of_clusters(events)
    told = []
    for event in events:
        gateway = str(event.get("cause")).rpartition(" ")[2] if event["kind"] == "address" else ""
        told.append({**event, "job_flow_id": clusters[gateway]} if gateway in clusters else event)
    return told


@dataclass(frozen=True, slots=True)
class Gateways:
    """
    What is wrong with NAT gateways and their routes.

    :param routeless: steps that ran while no route led to their cluster's gateway.
    :param left: gateways and routes that are there in the end.
    """

    routeless: list[str]
    left: list[str]


def gateways(events: Sequence[Event]) -> Gateways:
    """See that each NAT gateway is gone, that its routes were there under each step that ran, and are gone, too."""
    clusters = gateways_of_clusters(events)
    states: dict[str, str] = {}
    routes: dict[str, str | None] = {}
    running: dict[str, str] = {}
    found = set()
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
                found.add(f"{step} ran on {cluster} while no route led to its NAT gateway")
    left = [f"NAT gateway {name} is left {state}" for name, state in states.items() if state not in _GATEWAY_ENDED]
    left += [f"{table} is left to lead to {target}" for table, target in routes.items() if target]
    return Gateways(sorted(found), left)
