"""The counter-example: a cluster like the DAGs', with the same step, but without the Elastic IP."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

from harness.calls import caller
from harness.judge import CLUSTER_ENDED, STEP_ENDED, calls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.judge import Event

NAME = "without-the-address"
_LOGS = ("stdout.gz", "stderr.gz")


def first_request(events: list[Event], operation: str, *, dag_ids: Sequence[str]) -> dict[str, Any] | None:
    """Return the request of the first successful call of an operation by a task of one of these DAGs."""
    for call in calls(events, operation):
        if not call.get("error_code") and caller(call.get("user_agent") or "", dag_ids=dag_ids) is not None:
            request: dict[str, Any] = call["request"]
            return request
    return None


class ClusterWithoutAddress:
    """
    A cluster that the demo itself launches; call :meth:`tick` until :attr:`ended`.

    :param emr: boto3 client.
    :param s3: boto3 client.
    """

    def __init__(self, *, emr: Any, s3: Any) -> None:
        self._emr = emr
        self._s3 = s3
        self.job_flow_id = ""
        self.step_state = "never submitted"
        self.log = ""
        self.ended = False
        self._step_id = ""
        self._log_uri = ""

    @property
    def launched(self) -> bool:
        """Whether the cluster was launched."""
        return bool(self.job_flow_id)

    def launch(self, events: list[Event], *, owners: Sequence[str]) -> bool:
        """Launch a copy of the first DAG's cluster and step if the event log has both; return whether it did."""
        cluster = first_request(events, "RunJobFlow", dag_ids=owners)
        steps = first_request(events, "AddJobFlowSteps", dag_ids=owners)
        if cluster is None or steps is None:
            return False
        copy = {name: value for name, value in cluster.items() if name != "Tags"}
        self._log_uri = copy["LogUri"]
        self.job_flow_id = self._emr.run_job_flow(**{**copy, "Name": NAME})["JobFlowId"]
        added = self._emr.add_job_flow_steps(JobFlowId=self.job_flow_id, Steps=steps["Steps"])
        self._step_id = added["StepIds"][0]
        return True

    def tick(self) -> None:
        """Poll the step; when it has ended, read its log and terminate the cluster; then poll the cluster."""
        if not self.launched or self.ended:
            return
        if not self.log:
            step = self._emr.describe_step(ClusterId=self.job_flow_id, StepId=self._step_id)
            self.step_state = step["Step"]["Status"]["State"]
            if self.step_state in STEP_ENDED and self._read_log():
                self._emr.terminate_job_flows(JobFlowIds=[self.job_flow_id])
            return
        cluster = self._emr.describe_cluster(ClusterId=self.job_flow_id)["Cluster"]
        self.ended = cluster["Status"]["State"] in CLUSTER_ENDED

    def _read_log(self) -> bool:
        """Read the step's standard output and error from the log bucket; return whether both exist."""
        bucket, _, prefix = self._log_uri.split("://", 1)[1].partition("/")
        folder = f"{prefix.rstrip('/')}/{self.job_flow_id}/steps/{self._step_id}/".lstrip("/")
        listed = self._s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", [])
        keys = [entry["Key"] for entry in listed if entry["Key"].endswith(_LOGS)]
        if len(keys) < len(_LOGS):
            return False
        bodies = [self._s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
        self.log = "\n".join(gzip.decompress(body).decode(errors="replace") for body in bodies)
        return bool(self.log)
