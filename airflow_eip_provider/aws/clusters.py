"""EMR clusters, their primary nodes and their steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import IgnoreCodes, was_throttled
from airflow_eip_provider.aws.pages import read_pages
from airflow_eip_provider.aws.tags import (
    ALLOCATION_TAG,
    CANDIDATE_TAG,
    IN_CHARGE_TAG,
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
CLUSTER_STATES = (*NOT_ENDED_STATES, *sorted(ENDED_STATES))
ACTIVE_STEP_STATES = ("PENDING", "RUNNING", "CANCEL_PENDING")
GUARD_MARK = "[eip "  # in the name of every fenced step, before the nonce of the task that submitted it
_STEP_IDS_PER_CALL = 10  # the limit of ListSteps (EMR API Reference, ListSteps)
# For one cluster while EMR throttles: two minutes.
_PAUSES, _PAUSE_SECONDS = 12, 10.0
UNKNOWN_CLUSTER = frozenset({"InvalidRequestException", "ClusterNotFound"})


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """
    The state of a cluster, as both DescribeCluster and ListClusters show it.

    :param reason: EMR's reason for the state, with its error details.
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
        """Whether the cluster is terminating or has ended."""
        return self.has_ended or self.state == "TERMINATING"


@dataclass(frozen=True, slots=True)
class Cluster(ClusterStatus):
    """
    A cluster, as DescribeCluster shows it.

    :param ready_at: when it was first ready for steps; ``None`` before that.
    :param age: by AWS's clock, at the time of the response.
    :param subnet_id: the subnet of its instances, and ``zone`` its Availability Zone; ``None`` until EMR has chosen it.
    :param ended_at: when it reached its terminal state.
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
        """The number of the newest try that uses the cluster; 0 for a cluster that this package did not launch."""
        return int(self.tags.get(TRY_TAG, 0))

    @property
    def has_started(self) -> bool:
        """Whether it is or was RUNNING or WAITING."""
        return self.ready_at is not None or self.state in READY_STATES

    @property
    def candidate(self) -> int:
        """The number of the candidate that it was launched for; 0, the first choice, without a tag."""
        number = self.tags.get(CANDIDATE_TAG, "")
        return int(number) if number.isdecimal() else 0

    @property
    def start_deadline(self) -> float | None:
        """When its start timeout ends, in seconds since the epoch; ``None`` when its tags set none."""
        seconds = self.tags.get(START_TIMEOUT_TAG, "")
        return self.created_at.timestamp() + int(seconds) if self.created_at and seconds.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Step:
    """
    A step, as ListSteps shows it.

    :param jar: its JAR; ``None`` when EMR does not show it and its arguments, ``args``.
    """

    step_id: str
    name: str
    state: str
    reason: str = ""
    jar: str | None = None
    args: tuple[str, ...] = field(default=(), repr=False)  # they may contain a password

    @property
    def is_active(self) -> bool:
        """Whether the step is running or may still run."""
        return self.state in ACTIVE_STEP_STATES


def _sentence(*parts: str | None) -> str:
    """Join EMR's texts without repetitions: a step's state change often repeats its failure details."""
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
        jar=item.get("Config", {}).get("Jar"),
        args=tuple(item.get("Config", {}).get("Args") or ()),
    )


def read_cluster(emr: Any, job_flow_id: str) -> Cluster | None:
    """Read one cluster; ``None`` when it does not exist."""
    with IgnoreCodes(*UNKNOWN_CLUSTER):
        return _cluster(emr.describe_cluster(ClusterId=job_flow_id))
    return None


def read_cluster_patiently(emr: Any, job_flow_id: str) -> Cluster | None:
    """
    Read one cluster as :func:`read_cluster` does, but wait up to two minutes while EMR throttles.

    Use it for a series of reads: a series that starts over after each throttled request may never finish.
    """
    for _ in range(_PAUSES):
        try:
            return read_cluster(emr, job_flow_id)
        except ClientError as error:
            if not was_throttled(error):
                raise
        clock.sleep(_PAUSE_SECONDS)
    return read_cluster(emr, job_flow_id)


def read_listed_statuses(
    emr: Any, job_flow_ids: Collection[str], *, most_pages: int
) -> tuple[dict[str, ClusterStatus], int]:
    """
    Read the states of many clusters from the list of clusters that have not ended.

    It stops at the page that completes them. An ended cluster is not in the list, and a new one may not be.

    :param most_pages: the maximum number of pages to read.
    :return: the states by cluster ID, and the number of pages that were read.
    """
    wanted = set(job_flow_ids)
    statuses: dict[str, ClusterStatus] = {}
    marker: dict[str, str] = {}
    for page in range(1, most_pages + 1):
        response = emr.list_clusters(ClusterStates=list(NOT_ENDED_STATES), **marker)
        for item in response["Clusters"]:
            if item["Id"] in wanted:
                status = item["Status"]
                statuses[item["Id"]] = ClusterStatus(item["Id"], item["Name"], status["State"], _reason(status))
        if len(statuses) == len(wanted) or not response.get("Marker"):
            return statuses, page
        marker = {"Marker": response["Marker"]}
    return statuses, most_pages


def _primaries_of(cluster: Cluster) -> dict[str, Any]:
    """Return the parameters of ListInstances for the primary nodes of a cluster."""
    which: dict[str, Any] = {"InstanceGroupTypes": ["MASTER"]}
    if cluster.collection_type == "INSTANCE_FLEET":
        which = {"InstanceFleetType": "MASTER"}
    return {"ClusterId": cluster.job_flow_id, **which}


def read_primary_instance_id(emr: Any, cluster: Cluster) -> str | None:
    """Read the EC2 ID of the cluster's one primary instance; ``None`` until EMR shows it."""
    with IgnoreCodes(*UNKNOWN_CLUSTER):
        for item in emr.list_instances(**_primaries_of(cluster))["Instances"]:
            if item.get("Ec2InstanceId") and item["Status"]["State"] != "TERMINATED":
                return str(item["Ec2InstanceId"])
    return None


def read_all_primaries(emr: Any, cluster: Cluster) -> dict[str, str | None]:
    """
    Read the private address of every instance that is or was the cluster's primary node, by its EC2 ID.

    EMR shows them after the end of the cluster, too; EC2 only for about an hour.
    """
    return _addresses_of(read_pages(emr.list_instances, "Instances", **_primaries_of(cluster)))


def read_all_nodes(emr: Any, cluster: Cluster) -> dict[str, str | None]:
    """Read the private address of every instance that is or was a node of the cluster, by its EC2 ID."""
    return _addresses_of(read_pages(emr.list_instances, "Instances", ClusterId=cluster.job_flow_id))


def _addresses_of(instances: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    known = [item for item in instances if item.get("Ec2InstanceId")]
    return {item["Ec2InstanceId"]: item.get("PrivateIpAddress") or None for item in known}


def read_steps(emr: Any, job_flow_id: str, *, step_ids: Sequence[str]) -> list[Step]:
    """Read steps by their IDs, in the given order; those that EMR does not show are left out."""
    steps: dict[str, Step] = {}
    for start in range(0, len(step_ids), _STEP_IDS_PER_CALL):
        chunk = list(step_ids[start : start + _STEP_IDS_PER_CALL])
        response = emr.list_steps(ClusterId=job_flow_id, StepIds=chunk)
        steps.update({item["Id"]: _step(item) for item in response["Steps"]})
    return [steps[step_id] for step_id in step_ids if step_id in steps]


def read_active_steps(emr: Any, job_flow_id: str) -> list[Step]:
    """Read the steps that are running or may still run, newest first; none when the cluster does not exist."""
    return read_all_steps(emr, job_flow_id, states=ACTIVE_STEP_STATES)


def read_all_steps(emr: Any, job_flow_id: str, *, states: Sequence[str] = ()) -> list[Step]:
    """
    Read the steps of a cluster, newest first; none when the cluster does not exist.

    :param states: only steps in these states.
    """
    filters = {"StepStates": list(states)} if states else {}
    with IgnoreCodes(*UNKNOWN_CLUSTER):
        return [_step(item) for item in read_pages(emr.list_steps, "Steps", ClusterId=job_flow_id, **filters)]
    return []


def read_tagged_clusters(
    emr: Any, *, tags: Mapping[str, str], created_after: float = 0.0, ending: bool = False, patient: bool = True
) -> list[Cluster]:
    """
    Find live clusters by their tags.

    EMR cannot filter by tag, and ListClusters shows no tags. State and age narrow the list, and DescribeCluster
    decides. A name would narrow it further, but may change from one attempt to the next.

    :param created_after: seconds since the epoch; older clusters are left out.
    :param ending: include terminating clusters.
    :param patient: read each with :func:`read_cluster_patiently`.
    """
    found: list[Cluster] = []
    for item in _list_clusters(emr, NOT_ENDED_STATES if ending else LIVE_STATES, created_after=created_after):
        cluster = read_cluster_patiently(emr, item["Id"]) if patient else read_cluster(emr, item["Id"])
        if cluster is None or (cluster.has_ended if ending else cluster.is_ending):
            continue
        if tags.items() <= cluster.tags.items():
            found.append(cluster)
    return found


def read_successors(emr: Any, job_flow_id: str) -> list[Cluster]:
    """Find the live clusters to which failovers move the service of a cluster, oldest first."""
    return sorted(read_tagged_clusters(emr, tags={SUCCESSOR_TAG: job_flow_id}), key=age_order)


def took_over(successor: Cluster, old: Cluster | None) -> bool:
    """Whether a failover has put a cluster in charge in the place of another one, and none has moved it back since."""
    in_charge_since = successor.tags.get(IN_CHARGE_TAG)
    return in_charge_since is not None and in_charge_since >= (old.tags.get(IN_CHARGE_TAG, "") if old else "")


def age_order(cluster: Cluster) -> tuple[float, str]:
    """Return a sort key: oldest first, and in the same order for every caller."""
    return (cluster.created_at.timestamp() if cluster.created_at else 0.0, cluster.job_flow_id)


def read_clusters_of_any_owner(emr: Any) -> list[Cluster]:
    """Find the live clusters that any owner launched for any address."""
    clusters = read_tagged_clusters(emr, tags={}, patient=False)
    return [cluster for cluster in clusters if {ALLOCATION_TAG, OWNER_DIGEST_TAG} <= cluster.tags.keys()]


def _list_clusters(emr: Any, states: Sequence[str], *, created_after: float = 0.0) -> list[Mapping[str, Any]]:
    since = {"CreatedAfter": datetime.fromtimestamp(created_after, timezone.utc)} if created_after > 0 else {}
    return read_pages(emr.list_clusters, "Clusters", ClusterStates=list(states), **since)
