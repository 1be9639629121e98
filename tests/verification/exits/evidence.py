"""The events of one Elastic IP and its clusters in the local EMR's event log, and the checks on them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from harness import judge
from harness.calls import TRIGGERER, caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.lease.record import Record
    from harness.judge import Event

_FOREVER = 10**12


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """
    One cluster. Times are sequence numbers of events, or ``None``.

    :param token: fencing token of the lease that it was launched under.
    :param ended_by: "its own DAG", "the other DAG", "the triggerer", "idle termination", or EMR's own reason.
    """

    job_flow_id: str
    dag_id: str
    token: int
    launched: int
    ending: int | None
    ended: int | None
    ended_by: str
    steps: dict[str, str]

    @property
    def until(self) -> int:
        """The event with which the cluster begins to end."""
        return self.ending or _FOREVER


class Evidence:
    """
    The events of one address.

    :param dag_ids: the DAG that the scenario ends, and the DAG of the next owner.
    """

    def __init__(self, events: Sequence[Event], *, allocation_id: str, dag_ids: tuple[str, str]) -> None:
        self._dag_ids = dag_ids
        launches = [each for each in judge.launches(events) if each.tags.get(judge.ALLOCATION_TAG) == allocation_id]
        ids = {launch.job_flow_id for launch in launches}
        self.events = [e for e in events if e.get("job_flow_id") in ids or _names(e, ids)]
        self.address = [e for e in events if e["kind"] == "address" and e.get("allocation_id") == allocation_id]
        self.clusters = [self._cluster(launch) for launch in launches]

    def clusters_of(self, dag_id: str) -> list[Cluster]:
        """Return the clusters that a DAG launched, oldest first."""
        return [cluster for cluster in self.clusters if cluster.dag_id == dag_id]

    def calls(self, operation: str, job_flow_id: str) -> list[Event]:
        """Return the successful calls of an operation on a cluster."""
        calls = judge.calls(self.events, operation)
        return [call for call in calls if not call["error_code"] and _names(call, {job_flow_id})]

    def _cluster(self, launch: judge.Launch) -> Cluster:
        job_flow_id, dag_id = launch.job_flow_id, str(launch.dag_id)
        states = [e for e in self.events if e["kind"] == "cluster" and e["job_flow_id"] == job_flow_id]
        ending = next((e for e in states if e["to"] in ("TERMINATING", *judge.CLUSTER_ENDED)), None)
        ended = next((e for e in states if e["to"] in judge.CLUSTER_ENDED), None)
        steps = [e for e in self.events if e["kind"] == "step" and e["job_flow_id"] == job_flow_id]
        return Cluster(
            job_flow_id=job_flow_id,
            dag_id=dag_id,
            token=int(launch.tags[judge.TOKEN_TAG]),
            launched=launch.seq,
            ending=ending["seq"] if ending else None,
            ended=ended["seq"] if ended else None,
            ended_by=self._ended_by(job_flow_id, ending, dag_id=dag_id),
            steps={event["step_id"]: event["state"] for event in steps},
        )

    def _ended_by(self, job_flow_id: str, ending: Event | None, *, dag_id: str) -> str:
        if ending is None:
            return "nobody"
        if "auto-termination" in (ending["reason"]["Message"] or ""):
            return "idle termination"
        # A call is logged when it is answered, which is after the changes that it made.
        for call in self.calls("TerminateJobFlows", job_flow_id):
            name = caller(call["user_agent"], dag_ids=self._dag_ids)
            names = {dag_id: "its own DAG", TRIGGERER: "the triggerer", None: "an unknown client"}
            return names.get(name, "the other DAG")
        return str(ending["reason"]["Message"])


def _names(event: Event, ids: set[str]) -> bool:
    request = event.get("request") or {}
    return bool({request.get("JobFlowId"), request.get("ClusterId"), *request.get("JobFlowIds", [])} & ids)


def problems_of(evidence: Evidence, record: Record) -> list[str]:
    """
    Return the problems that are wrong in every scenario.

    :param record: the lease record after everything has ended.
    """
    merged = {event["seq"]: event for event in (*evidence.events, *evidence.address)}
    events = [event for _, event in sorted(merged.items())]
    left = [record.lease.attempt.name] if record.lease else []
    unused = [] if evidence.address else ["the address was never associated"]
    return [
        *judge.clusters_left(events),
        *_two_at_work(evidence),
        *judge.follow(events).problems,
        *judge.address_left(events),
        *unused,
        *judge.record_disagrees(events, left=left, ended=()),
        *_unknown_to_the_record(evidence, record),
    ]


def _two_at_work(evidence: Evidence) -> list[str]:
    return [
        f"clusters {one.job_flow_id} and {other.job_flow_id} were at work at the same time"
        for one, other in combinations(evidence.clusters, 2)
        if max(one.launched, other.launched) < min(one.until, other.until)
    ]


def _unknown_to_the_record(evidence: Evidence, record: Record) -> list[str]:
    bound = set(judge.follow(evidence.address).bound)
    unknown = bound - {ended.resource_id for ended in record.history}
    return [f"the address was on {sorted(map(str, unknown))}, which is not in the record's history"] * bool(unknown)
