"""Clusters, their primary node and their steps, as EMR shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import error_code, was_refused
from airflow_eip_provider.aws.tags import (
    ALLOCATION_TAG,
    CANDIDATE_TAG,
    OWNER_DIGEST_TAG,
    START_TIMEOUT_TAG,
    SUCCESSOR_TAG,
    TRY_TAG,
    tags_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

ENDED_STATES = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
READY_STATES = frozenset({"RUNNING", "WAITING"})
LIVE_STATES = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
NOT_ENDED_STATES = (*LIVE_STATES, "TERMINATING")
ACTIVE_STEP_STATES = ("PENDING", "RUNNING", "CANCEL_PENDING")
GUARD_MARK = "[eip "  # in the name of every fenced step, before the nonce of the task that submitted it
_STEP_IDS_PER_CALL = 10  # ListSteps takes no more (EMR API reference, ListSteps)
# For one cluster, where EMR has too many requests: two minutes.
_PAUSES, _PAUSE_SECONDS = 12, 10.0
UNKNOWN_CLUSTER = frozenset({"InvalidRequestException", "ClusterNotFound"})


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """
    The state of a job flow, as DescribeCluster and ListClusters both show it.

    :param reason: why it is in this state, in EMR's words, with the details of its errors.
    """

    job_flow_id: str
    name: str
    state: str
    reason: str

    @property
    def has_ended(self) -> bool:
        """Whether the cluster is in a terminal state: TERMINATED or TERMINATED_WITH_ERRORS."""
        return self.state in ENDED_STATES

    @property
    def is_ending(self) -> bool:
        """Whether the cluster has ended or is on its way there."""
        return self.has_ended or self.state == "TERMINATING"


@dataclass(frozen=True, slots=True)
class Cluster(ClusterStatus):
    """
    A job flow, as DescribeCluster shows it.

    :param ready_at: when it was ready for steps; ``None`` for never yet.
    :param age: by AWS's own clock, when the answer was given.
    :param subnet_id: where its instances are; ``None`` while EMR has not chosen it. ``zone``: its Availability Zone.
    :param ended_at: when it came to its terminal state.
    :param error_codes: the codes of ErrorDetails.
    :param change_code: the code of StateChangeReason, and ``change_message`` its text.
    """

    collection_type: str = "INSTANCE_GROUP"
    termination_protected: bool = False
    log_uri: str | None = None
    created_at: datetime | None = None
    ready_at: datetime | None = None
    age: timedelta | None = None
    subnet_id: str | None = None
    zone: str | None = None
    ended_at: datetime | None = None
    error_codes: tuple[str, ...] = ()
    change_code: str = ""
    change_message: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def newest_try(self) -> int:
        """The number of the try that speaks for the cluster; 0 for a cluster that is not ours."""
        return int(self.tags.get(TRY_TAG, 0))

    @property
    def has_started(self) -> bool:
        """Whether it is, or was, RUNNING or WAITING."""
        return self.ready_at is not None or self.state in READY_STATES

    @property
    def candidate(self) -> int:
        """Which of its owner's candidates it is; 0, the first choice, without a tag that says so."""
        number = self.tags.get(CANDIDATE_TAG, "")
        return int(number) if number.isdecimal() else 0

    @property
    def start_deadline(self) -> float | None:
        """Until when it has to have started, in seconds since the epoch; ``None`` when its tags set no end."""
        seconds = self.tags.get(START_TIMEOUT_TAG, "")
        return self.created_at.timestamp() + int(seconds) if self.created_at and seconds.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Step:
    """A step, as ListSteps shows it."""

    step_id: str
    name: str
    state: str
    reason: str = ""

    @property
    def is_active(self) -> bool:
        """Whether the step runs or still may."""
        return self.state in ACTIVE_STEP_STATES


def _sentence(*parts: str | None) -> str:
    """Put together what EMR says, each thing once: a step's state change often repeats its failure details."""
    return " ".join(dict.fromkeys(part for part in parts if part)) or "EMR gives no reason"


def _cluster(response: Mapping[str, Any]) -> Cluster:
    item = response["Cluster"]
    timeline = item["Status"].get("Timeline", {})
    change = item["Status"].get("StateChangeReason") or {}
    created_at = timeline.get("CreationDateTime")
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return Cluster(
        job_flow_id=item["Id"],
        name=item["Name"],
        state=item["Status"]["State"],
        reason=_reason(item["Status"]),
        collection_type=item.get("InstanceCollectionType", "INSTANCE_GROUP"),
        termination_protected=item.get("TerminationProtected", False),
        log_uri=item.get("LogUri"),
        created_at=created_at,
        ready_at=timeline.get("ReadyDateTime"),
        age=parsedate_to_datetime(date) - created_at if date and created_at else None,
        subnet_id=item.get("Ec2InstanceAttributes", {}).get("Ec2SubnetId") or None,
        zone=item.get("Ec2InstanceAttributes", {}).get("Ec2AvailabilityZone") or None,
        ended_at=timeline.get("EndDateTime"),
        error_codes=tuple(detail.get("ErrorCode", "") for detail in item["Status"].get("ErrorDetails", ())),
        change_code=change.get("Code") or "",
        change_message=change.get("Message") or "",
        tags=tags_of(item.get("Tags")),
    )


def _reason(status: Mapping[str, Any]) -> str:
    change = status.get("StateChangeReason", {})
    details = "; ".join(detail.get("ErrorMessage", "") for detail in status.get("ErrorDetails", ()))
    return _sentence(change.get("Code"), change.get("Message"), details)


def _step(item: Mapping[str, Any]) -> Step:
    status = item["Status"]
    failure = status.get("FailureDetails") or {}
    change = status.get("StateChangeReason") or {}
    return Step(
        step_id=item["Id"],
        name=item["Name"],
        state=status["State"],
        reason=_sentence(failure.get("Reason"), failure.get("Message"), change.get("Message")),
    )


def read_cluster(emr: Any, job_flow_id: str) -> Cluster | None:
    """Read one cluster; ``None`` when EMR does not know it."""
    try:
        response = emr.describe_cluster(ClusterId=job_flow_id)
    except ClientError as error:
        if error_code(error) in UNKNOWN_CLUSTER:
            return None
        raise
    return _cluster(response)


def read_cluster_patiently(emr: Any, job_flow_id: str) -> Cluster | None:
    """
    Read one cluster as :func:`read_cluster` does, and pause where EMR has too many requests, for minutes.

    For reads that belong together: who gives up at such an answer, and begins again, may never come to the last one.
    """
    for _ in range(_PAUSES):
        try:
            return read_cluster(emr, job_flow_id)
        except ClientError as error:
            if not was_refused(error):
                raise
        clock.sleep(_PAUSE_SECONDS)
    return read_cluster(emr, job_flow_id)


def read_listed_statuses(
    emr: Any, job_flow_ids: Collection[str], *, most_pages: int
) -> tuple[dict[str, ClusterStatus], int]:
    """
    Read the states of many clusters from the list of those that have not ended.

    It reads page by page, and stops when all were found. A cluster that has ended or is new may not be in the list.

    :param most_pages: where it stops at the latest.
    :return: what was found, by id, and how many pages were read.
    """
    wanted = set(job_flow_ids)
    found: dict[str, ClusterStatus] = {}
    marker: dict[str, str] = {}
    for page in range(1, most_pages + 1):
        response = emr.list_clusters(ClusterStates=list(NOT_ENDED_STATES), **marker)
        for item in response["Clusters"]:
            if item["Id"] in wanted:
                status = item["Status"]
                found[item["Id"]] = ClusterStatus(item["Id"], item["Name"], status["State"], _reason(status))
        if len(found) == len(wanted) or not response.get("Marker"):
            return found, page
        marker = {"Marker": response["Marker"]}
    return found, most_pages


def _primaries_of(cluster: Cluster) -> dict[str, Any]:
    if cluster.collection_type == "INSTANCE_FLEET":
        return {"InstanceFleetType": "MASTER"}
    return {"InstanceGroupTypes": ["MASTER"]}


def read_primary_instance_id(emr: Any, cluster: Cluster) -> str | None:
    """Read the EC2 id of the cluster's one primary instance; ``None`` while EMR does not show it yet."""
    try:
        response = emr.list_instances(ClusterId=cluster.job_flow_id, **_primaries_of(cluster))
    except ClientError as error:
        if error_code(error) in UNKNOWN_CLUSTER:
            return None
        raise
    return next(
        (
            str(item["Ec2InstanceId"])
            for item in response["Instances"]
            if item.get("Ec2InstanceId") and item["Status"]["State"] != "TERMINATED"
        ),
        None,
    )


def read_all_primaries(emr: Any, cluster: Cluster) -> dict[str, str | None]:
    """
    Read every instance that is or was the cluster's primary node: its private address, by its EC2 id.

    EMR shows those of a cluster that has ended, too; EC2 forgets them within the hour.
    """
    found: dict[str, str | None] = {}
    marker: dict[str, str] = {}
    while True:
        response = emr.list_instances(ClusterId=cluster.job_flow_id, **_primaries_of(cluster), **marker)
        for item in response["Instances"]:
            if item.get("Ec2InstanceId"):
                found[item["Ec2InstanceId"]] = item.get("PrivateIpAddress") or None
        if not response.get("Marker"):
            return found
        marker = {"Marker": response["Marker"]}


def read_steps(emr: Any, job_flow_id: str, *, step_ids: Sequence[str]) -> list[Step]:
    """Read the named steps, in the order of their ids given."""
    found: dict[str, Step] = {}
    for start in range(0, len(step_ids), _STEP_IDS_PER_CALL):
        chunk = list(step_ids[start : start + _STEP_IDS_PER_CALL])
        response = emr.list_steps(ClusterId=job_flow_id, StepIds=chunk)
        found.update({item["Id"]: _step(item) for item in response["Steps"]})
    return [found[step_id] for step_id in step_ids if step_id in found]


def read_active_steps(emr: Any, job_flow_id: str) -> list[Step]:
    """Read the steps that run or still may, newest first; none when EMR does not know the cluster."""
    return read_all_steps(emr, job_flow_id, states=ACTIVE_STEP_STATES)


def read_all_steps(emr: Any, job_flow_id: str, *, states: Sequence[str] = ()) -> list[Step]:
    """
    Read the steps of a cluster, newest first; none when EMR does not know it.

    :param states: those in these states only.
    """
    steps: list[Step] = []
    narrowed: dict[str, Any] = {"StepStates": list(states)} if states else {}
    marker: dict[str, str] = {}
    while True:
        params = {"ClusterId": job_flow_id, **narrowed, **marker}
        try:
            response = emr.list_steps(**params)
        except ClientError as error:
            if error_code(error) in UNKNOWN_CLUSTER:
                return []
            raise
        steps.extend(_step(item) for item in response["Steps"])
        if not response.get("Marker"):
            return steps
        marker = {"Marker": response["Marker"]}


def read_tagged_clusters(
    emr: Any, *, tags: Mapping[str, str], created_after: float = 0.0, ending: bool = False, patient: bool = True
) -> list[Cluster]:
    """
    Find live clusters by their tags.

    EMR cannot filter by tag, and ListClusters shows none: state and age narrow the list, and DescribeCluster decides.
    A name would narrow it further, but may differ from one attempt to the next.

    :param created_after: seconds since the epoch; older clusters are not looked at.
    :param ending: also those that are on their way to a terminal state.
    :param patient: read each by :func:`read_cluster_patiently`.
    """
    states = NOT_ENDED_STATES if ending else LIVE_STATES
    found: list[Cluster] = []
    for item in _list_clusters(emr, states, created_after=created_after):
        cluster = read_cluster_patiently(emr, item["Id"]) if patient else read_cluster(emr, item["Id"])
        wanted = cluster and not (cluster.has_ended if ending else cluster.is_ending)
        if cluster and wanted and tags.items() <= cluster.tags.items():
            found.append(cluster)
    return found


def read_successors(emr: Any, job_flow_id: str) -> list[Cluster]:
    """Find the live clusters to which failovers move the service of a cluster, oldest first."""
    return sorted(read_tagged_clusters(emr, tags={SUCCESSOR_TAG: job_flow_id}), key=age_order)


def age_order(cluster: Cluster) -> tuple[float, str]:
    """Return what sorts clusters by their age, the oldest first, the same for everybody."""
    return (cluster.created_at.timestamp() if cluster.created_at else 0.0, cluster.job_flow_id)


def read_clusters_of_any_owner(emr: Any) -> list[Cluster]:
    """Find the live clusters that were launched for an address, whoever launched them and for whichever address."""
    found: list[Cluster] = []
    for item in _list_clusters(emr, list(LIVE_STATES)):
        cluster = read_cluster(emr, item["Id"])
        if cluster and not cluster.is_ending and ALLOCATION_TAG in cluster.tags and OWNER_DIGEST_TAG in cluster.tags:
            found.append(cluster)
    return found


def _list_clusters(emr: Any, states: Sequence[str], *, created_after: float = 0.0) -> list[dict[str, Any]]:
    since = {"CreatedAfter": datetime.fromtimestamp(created_after, timezone.utc)} if created_after > 0 else {}
    items: list[dict[str, Any]] = []
    marker: dict[str, str] = {}
    while True:
        response = emr.list_clusters(ClusterStates=list(states), **since, **marker)
        items.extend(response["Clusters"])
        if not response.get("Marker"):
            return items
        marker = {"Marker": response["Marker"]}
