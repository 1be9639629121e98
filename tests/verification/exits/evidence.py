"""What the local EMR's event log says of one Elastic IP, and of the clusters that were launched for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.calls import TRIGGERER, caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.lease.record import Record

Event = dict[str, Any]
ALLOCATION_TAG = "airflow-eip:allocation-id"
OWNER_TAG = "airflow-eip:owner-name"
TOKEN_TAG = "airflow-eip:token"
_ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
_STEP_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED")
_FOREVER = 10**12


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """
    One cluster's life. Moments are the numbers of events, or ``None``.

    :param token: of the lease that it was launched under.
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
        """The moment from which on it is at work no more."""
        return self.ending or _FOREVER


class Evidence:
    """
    The events of one address.

    :param dag_ids: the DAG that was made to exit, and the next owner's.
    """

    def __init__(self, events: Sequence[Event], *, allocation_id: str, dag_ids: tuple[str, str]) -> None:
        self._dag_ids = dag_ids
        launches = [event for event in events if _launched_for(event, allocation_id)]
        ids = {launch["response"]["JobFlowId"] for launch in launches}
        self.events = [e for e in events if e.get("job_flow_id") in ids or _names(e, ids)]
        self.address = [e for e in events if e["kind"] == "address" and e.get("allocation_id") == allocation_id]
        self.clusters = [self._cluster(launch) for launch in launches]

    def clusters_of(self, dag_id: str) -> list[Cluster]:
        """Return the clusters that a DAG launched, oldest first."""
        return [cluster for cluster in self.clusters if cluster.dag_id == dag_id]

    def calls(self, operation: str, job_flow_id: str) -> list[Event]:
        """Return the successful calls of an operation on a cluster."""
        made = [e for e in self.events if e["kind"] == "call" and e["operation"] == operation and not e["error_code"]]
        return [call for call in made if _names(call, {job_flow_id})]

    def _cluster(self, launch: Event) -> Cluster:
        job_flow_id = launch["response"]["JobFlowId"]
        tags = {tag["Key"]: tag["Value"] for tag in launch["request"]["Tags"]}
        dag_id = tags[OWNER_TAG].split("/")[1]
        states = [e for e in self.events if e["kind"] == "cluster" and e["job_flow_id"] == job_flow_id]
        ending = next((e for e in states if e["to"] in ("TERMINATING", *_ENDED)), None)
        ended = next((e for e in states if e["to"] in _ENDED), None)
        mine = [e for e in self.events if e["kind"] == "step" and e["job_flow_id"] == job_flow_id]
        return Cluster(
            job_flow_id=job_flow_id,
            dag_id=dag_id,
            token=int(tags[TOKEN_TAG]),
            launched=launch["seq"],
            ending=ending["seq"] if ending else None,
            ended=ended["seq"] if ended else None,
            ended_by=self._ended_by(job_flow_id, ending, dag_id=dag_id),
            steps={event["step_id"]: event["state"] for event in mine},
        )

    def _ended_by(self, job_flow_id: str, ending: Event | None, *, dag_id: str) -> str:
        if ending is None:
            return "nobody"
        if "auto-termination" in (ending["reason"]["Message"] or ""):
            return "idle termination"
        # A call is logged when it is answered, after what it changed.
        for call in self.calls("TerminateJobFlows", job_flow_id):
            who = caller(call["user_agent"], dag_ids=self._dag_ids)
            return {dag_id: "its own DAG", TRIGGERER: "the triggerer", None: "a stranger"}.get(who, "the other DAG")
        return str(ending["reason"]["Message"])


def _launched_for(event: Event, allocation_id: str) -> bool:
    if event["kind"] != "call" or event["operation"] != "RunJobFlow" or event["error_code"]:
        return False
    return {"Key": ALLOCATION_TAG, "Value": allocation_id} in event["request"].get("Tags", [])


def _names(event: Event, ids: set[str]) -> bool:
    request = event.get("request") or {}
    named = {request.get("JobFlowId"), request.get("ClusterId"), *request.get("JobFlowIds", [])}
    return bool(named & ids)


def faults(evidence: Evidence, record: Record) -> list[str]:
    """
    Return what is wrong, whatever the exit was; nothing when all is well.

    :param record: the lock's, when all has ended.
    """
    return [
        *_not_ended(evidence),
        *_two_at_work(evidence),
        *_steps_off_address(evidence),
        *_not_free(evidence),
        *_record_disagrees(evidence, record),
    ]


def _not_ended(evidence: Evidence) -> list[str]:
    return [f"cluster {c.job_flow_id} of {c.dag_id} has not ended" for c in evidence.clusters if c.ended is None]


def _two_at_work(evidence: Evidence) -> list[str]:
    clusters = evidence.clusters
    pairs = [(one, other) for k, one in enumerate(clusters) for other in clusters[k + 1 :]]
    return [
        f"clusters {one.job_flow_id} and {other.job_flow_id} were at work at the same time"
        for one, other in pairs
        if max(one.launched, other.launched) < min(one.until, other.until)
    ]


def _steps_off_address(evidence: Evidence) -> list[str]:
    """Follow the address and the steps through the log: a step runs only while its own cluster has the address."""
    found: list[str] = []
    place: str | None = None
    running: dict[str, str] = {}
    merged = {event["seq"]: event for event in (*evidence.events, *evidence.address)}
    for _, event in sorted(merged.items()):
        if event["kind"] == "address":
            place = event["job_flow_id"] if event["change"] == "associated" else None
        elif event["kind"] == "step" and event["state"] == "RUNNING":
            running[event["step_id"]] = event["job_flow_id"]
        elif event["kind"] == "step" and event["state"] in _STEP_ENDED:
            running.pop(event["step_id"], None)
        off = [step_id for step_id, job_flow_id in running.items() if job_flow_id != place]
        found += [f"step {step_id} ran while the address was on {place} ({event['seq']})" for step_id in off]
        for step_id in off:
            del running[step_id]
    return found


def _not_free(evidence: Evidence) -> list[str]:
    last = evidence.address[-1]["change"] if evidence.address else "never associated"
    return [] if last == "disassociated" else [f"the address is not free in the end: {last}"]


def _record_disagrees(evidence: Evidence, record: Record) -> list[str]:
    found = []
    if record.lease is not None:
        found.append(f"the record has a lease of {record.lease.attempt.name} in the end")
    resource_ids = {ended.resource_id for ended in record.history if ended.resource_id}
    bound = {event["job_flow_id"] for event in evidence.address if event["change"] == "associated"}
    if unknown := bound - resource_ids:
        found.append(f"the address was on {sorted(map(str, unknown))}, of which the record's history knows nothing")
    return found
