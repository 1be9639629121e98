"""What the stock EMR hook lacks: the primary node, fenced steps, adoption by tag, a termination that always works."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.amazon.aws.hooks.emr import EmrHook
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_eip_provider.airflow_compat import AirflowNotFoundException
from airflow_eip_provider.calls import Call, Reading, error_code, is_transient, perform
from airflow_eip_provider.hooks.eip import StrictConnectionMixin
from airflow_eip_provider.hooks.tags import ALLOCATION_TAG, OWNER_DIGEST_TAG, TRY_TAG, tags_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

T = TypeVar("T")

ENDED_STATES = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
READY_STATES = frozenset({"RUNNING", "WAITING"})
LIVE_STATES = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
ACTIVE_STEP_STATES = ("PENDING", "RUNNING", "CANCEL_PENDING")
GUARD_MARK = "[eip "  # in the name of every fenced step, before the nonce of the task that submitted it
_STEP_IDS_PER_CALL = 10  # ListSteps takes no more (EMR API reference, ListSteps)
# EMR's reads are eventually consistent; for how long after RunJobFlow is not documented.
_UNKNOWN_LOOKS = 4
_UNKNOWN_DELAY_SECONDS = 5
_UNKNOWN_CLUSTER = frozenset({"InvalidRequestException", "ClusterNotFound"})


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    A job flow, as DescribeCluster shows it.

    :param age: by AWS's own clock, when the answer was given.
    :param subnet_id: where its instances are; ``None`` while EMR has not chosen it.
    """

    job_flow_id: str
    name: str
    state: str
    reason: str
    collection_type: str = "INSTANCE_GROUP"
    termination_protected: bool = False
    log_uri: str | None = None
    created_at: datetime | None = None
    age: timedelta | None = None
    subnet_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether the cluster is in a terminal state: TERMINATED or TERMINATED_WITH_ERRORS."""
        return self.state in ENDED_STATES

    @property
    def newest_try(self) -> int:
        """The number of the try that speaks for the cluster; 0 for a cluster that is not ours."""
        return int(self.tags.get(TRY_TAG, 0))

    @property
    def is_ending(self) -> bool:
        """Whether the cluster has ended or is on its way there."""
        return self.has_ended or self.state == "TERMINATING"


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
    return " ".join(part for part in parts if part) or "EMR gives no reason"


def _cluster(response: Mapping[str, Any]) -> Cluster:
    item = response["Cluster"]
    status = item["Status"]
    created_at = status.get("Timeline", {}).get("CreationDateTime")
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    change = status.get("StateChangeReason", {})
    details = "; ".join(detail.get("ErrorMessage", "") for detail in status.get("ErrorDetails", ()))
    return Cluster(
        job_flow_id=item["Id"],
        name=item["Name"],
        state=status["State"],
        reason=_sentence(change.get("Code"), change.get("Message"), details),
        collection_type=item.get("InstanceCollectionType", "INSTANCE_GROUP"),
        termination_protected=item.get("TerminationProtected", False),
        log_uri=item.get("LogUri"),
        created_at=created_at,
        age=parsedate_to_datetime(date) - created_at if date and created_at else None,
        subnet_id=item.get("Ec2InstanceAttributes", {}).get("Ec2SubnetId") or None,
        tags=tags_of(item.get("Tags")),
    )


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


def read_cluster(job_flow_id: str) -> Reading[Cluster | None]:
    """Read one cluster; ``None`` when EMR does not know it."""
    try:
        response = yield Call("emr", "describe_cluster", {"ClusterId": job_flow_id})
    except ClientError as error:
        if error_code(error) in _UNKNOWN_CLUSTER:
            return None
        raise
    return _cluster(response)


def read_primary_instance_id(cluster: Cluster) -> Reading[str | None]:
    """Read the EC2 id of the cluster's one primary instance; ``None`` while EMR does not show it yet."""
    which: dict[str, Any] = (
        {"InstanceFleetType": "MASTER"}
        if cluster.collection_type == "INSTANCE_FLEET"
        else {"InstanceGroupTypes": ["MASTER"]}
    )
    try:
        response = yield Call("emr", "list_instances", {"ClusterId": cluster.job_flow_id, **which})
    except ClientError as error:
        if error_code(error) in _UNKNOWN_CLUSTER:
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


def read_steps(job_flow_id: str, *, step_ids: Sequence[str]) -> Reading[list[Step]]:
    """Read the named steps, in the order of their ids given."""
    found: dict[str, Step] = {}
    for start in range(0, len(step_ids), _STEP_IDS_PER_CALL):
        chunk = list(step_ids[start : start + _STEP_IDS_PER_CALL])
        response = yield Call("emr", "list_steps", {"ClusterId": job_flow_id, "StepIds": chunk})
        found.update({item["Id"]: _step(item) for item in response["Steps"]})
    return [found[step_id] for step_id in step_ids if step_id in found]


def read_active_steps(job_flow_id: str) -> Reading[list[Step]]:
    """Read the steps that run or still may, newest first; none when EMR does not know the cluster."""
    return read_all_steps(job_flow_id, states=ACTIVE_STEP_STATES)


def read_all_steps(job_flow_id: str, *, states: Sequence[str] = ()) -> Reading[list[Step]]:
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
            response = yield Call("emr", "list_steps", params)
        except ClientError as error:
            if error_code(error) in _UNKNOWN_CLUSTER:
                return []
            raise
        steps.extend(_step(item) for item in response["Steps"])
        if not response.get("Marker"):
            return steps
        marker = {"Marker": response["Marker"]}


def read_tagged_clusters(*, name: str, tags: Mapping[str, str], ending: bool = False) -> Reading[list[Cluster]]:
    """
    Find live clusters by name and tags.

    EMR cannot filter by tag, and ListClusters shows none; so state and name narrow, and DescribeCluster decides.

    :param ending: those that are on their way to a terminal state, too.
    """
    states = [*LIVE_STATES, "TERMINATING"] if ending else list(LIVE_STATES)
    found: list[Cluster] = []
    for item in (yield from _list_clusters(states)):
        if item["Name"] == name:
            cluster = yield from read_cluster(item["Id"])
            wanted = cluster and not (cluster.has_ended if ending else cluster.is_ending)
            if cluster and wanted and tags.items() <= cluster.tags.items():
                found.append(cluster)
    return found


def read_clusters_of_any_owner() -> Reading[list[Cluster]]:
    """Find the live clusters that were launched for an address, whoever launched them and for whichever address."""
    found: list[Cluster] = []
    for item in (yield from _list_clusters(list(LIVE_STATES))):
        cluster = yield from read_cluster(item["Id"])
        if cluster and not cluster.is_ending and ALLOCATION_TAG in cluster.tags and OWNER_DIGEST_TAG in cluster.tags:
            found.append(cluster)
    return found


def _list_clusters(states: Sequence[str]) -> Reading[list[dict[str, Any]]]:
    items: list[dict[str, Any]] = []
    marker: dict[str, str] = {}
    while True:
        response = yield Call("emr", "list_clusters", {"ClusterStates": list(states), **marker})
        items.extend(response["Clusters"])
        if not response.get("Marker"):
            return items
        marker = {"Marker": response["Marker"]}


class EmrClusterHook(StrictConnectionMixin, EmrHook):
    """The stock EMR hook, with clusters and steps typed and every change idempotent where EMR allows it."""

    def read(self, reading: Reading[T]) -> T:
        """Perform a reading that only calls EMR."""
        return perform(reading, {"emr": self.conn})

    def get_cluster(self, job_flow_id: str) -> Cluster | None:
        """Return the cluster; ``None`` when EMR does not know it (elasticmapreduce:DescribeCluster)."""
        return self.read(read_cluster(job_flow_id))

    def merged_overrides(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return what RunJobFlow would be sent: the EMR connection's extra, overridden.

        As in the stock hook, an EMR connection that does not exist counts as empty: it carries no credentials.
        """
        base: dict[str, Any] = {}
        if self.emr_conn_id:
            try:
                base = EmrHook.get_connection(self.emr_conn_id).extra_dejson.copy()
            except AirflowNotFoundException:
                self.log.info("No EMR connection '%s': starting from an empty configuration", self.emr_conn_id)
        return {**base, **overrides}

    def run_job_flow(self, config: Mapping[str, Any]) -> str:
        """
        Launch a cluster and return its id; sent at most once (elasticmapreduce:RunJobFlow, iam:PassRole).

        RunJobFlow has no client token: botocore's own retry after a lost response would launch a second cluster.
        """
        return str(self._conn_without_retries.run_job_flow(**config)["JobFlowId"])

    def submit_steps(self, job_flow_id: str, steps: Sequence[Mapping[str, Any]], **options: Any) -> list[str]:
        """
        Submit steps and return their ids; sent at most once (elasticmapreduce:AddJobFlowSteps).

        AddJobFlowSteps has no token either: a second sending would run the steps twice.
        """
        sent = self._conn_without_retries.add_job_flow_steps(JobFlowId=job_flow_id, Steps=list(steps), **options)
        return list(sent["StepIds"])

    @property
    def _conn_without_retries(self) -> Any:
        once = self._get_config().merge(Config(retries={"total_max_attempts": 1}))
        return self.get_client_type(region_name=self.region_name, config=once)

    def cancel_steps(self, job_flow_id: str, *, step_ids: Sequence[str]) -> None:
        """Cancel steps, running ones included; those that have ended are left alone (elasticmapreduce:CancelSteps)."""
        try:
            self.conn.cancel_steps(
                ClusterId=job_flow_id, StepIds=list(step_ids), StepCancellationOption="TERMINATE_PROCESS"
            )
        except ClientError as error:
            if error_code(error) not in _UNKNOWN_CLUSTER:
                raise
            self.log.info("Cluster %s takes no cancellation any more: %s", job_flow_id, error)

    def end(self, job_flow_id: str) -> None:
        """
        Terminate a cluster by its id, be it so new that EMR does not know it everywhere yet, or gone already.

        (elasticmapreduce:DescribeCluster, …:SetTerminationProtection, …:TerminateJobFlows)
        """
        for _ in range(_UNKNOWN_LOOKS):
            cluster = self.get_cluster(job_flow_id)
            if cluster is not None:
                self.terminate(cluster)
                return
            if self._terminate_unseen(job_flow_id):
                return
            time.sleep(_UNKNOWN_DELAY_SECONDS)
        self.log.warning("EMR does not know cluster %s: there is nothing to terminate", job_flow_id)

    def _terminate_unseen(self, job_flow_id: str) -> bool:
        """Terminate a cluster that DescribeCluster does not show; return whether EMR took the order."""
        try:
            self.conn.terminate_job_flows(JobFlowIds=[job_flow_id])
        except ClientError as error:
            if is_transient(error):
                raise
            self.log.info("EMR does not know cluster %s, or does not terminate it: %s", job_flow_id, error)
            return False
        self.log.info("Terminating cluster %s, which EMR does not show yet", job_flow_id)
        return True

    def terminate(self, cluster: Cluster) -> None:
        """
        Terminate a cluster, protected or not (elasticmapreduce:SetTerminationProtection, …:TerminateJobFlows).

        TerminateJobFlows refuses protected clusters; terminating one that is ending already changes nothing.
        """
        if cluster.is_ending:
            return
        if cluster.termination_protected:
            self.log.info("Lifting termination protection of cluster %s", cluster.job_flow_id)
            self.conn.set_termination_protection(JobFlowIds=[cluster.job_flow_id], TerminationProtected=False)
        self.log.info("Terminating cluster %s", cluster.job_flow_id)
        self.conn.terminate_job_flows(JobFlowIds=[cluster.job_flow_id])
