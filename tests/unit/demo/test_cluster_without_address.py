from __future__ import annotations

import gzip
import io
import uuid
from typing import Any

from demo.cluster_without_address import NAME, ClusterWithoutAddress
from tests.unit.demo.event_log import DAGS, Log


class Emr:
    """EMR as far as the cluster without the address needs it."""

    def __init__(self) -> None:
        self.launched: dict[str, Any] = {}
        self.terminated: list[str] = []
        self.step_state = "PENDING"

    def run_job_flow(self, **request: Any) -> dict[str, Any]:
        self.launched = request
        return {"JobFlowId": "j-3"}

    def add_job_flow_steps(self, *, JobFlowId: str, Steps: list[Any]) -> dict[str, Any]:  # noqa: N803 - EMR's names
        self.steps = (JobFlowId, Steps)
        return {"StepIds": ["s-1"]}

    def describe_step(self, **_: Any) -> dict[str, Any]:
        return {"Step": {"Status": {"State": self.step_state}}}

    def terminate_job_flows(self, *, JobFlowIds: list[str]) -> None:  # noqa: N803 - EMR's name
        self.terminated = JobFlowIds

    def describe_cluster(self, **_: Any) -> dict[str, Any]:
        return {"Cluster": {"Status": {"State": "TERMINATED" if self.terminated else "RUNNING"}}}


class S3:
    """A log bucket."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def list_objects_v2(self, *, Bucket: str, Prefix: str) -> dict[str, Any]:  # noqa: N803 - S3's names
        return {"Contents": [{"Key": key} for key in self.objects if key.startswith(Prefix)]}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - S3's names
        return {"Body": io.BytesIO(self.objects[Key])}


STEP = {"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit"]}}


def launched() -> tuple[ClusterWithoutAddress, Emr, S3]:
    emr, s3, log = Emr(), S3(), Log()
    log.call(0, "RunJobFlow", {"Name": "dag", "LogUri": "s3://logs/emr/", "Tags": ["owner"]}, JobFlowId="j-1")
    log.call(1, "AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [STEP]})
    for event in log.events:
        event["user_agent"] = f"Boto3 DagRunKey/{uuid.uuid5(uuid.NAMESPACE_OID, DAGS[0])}"
    cluster = ClusterWithoutAddress(emr=emr, s3=s3)
    assert not cluster.launch(log.events, owners=DAGS[1:]), "what other DAGs do is no business of its"
    assert cluster.launch(log.events, owners=DAGS)
    return cluster, emr, s3


def test_it_waits_for_a_cluster_and_a_step_to_copy():
    assert not ClusterWithoutAddress(emr=Emr(), s3=S3()).launch([], owners=DAGS)


def test_it_copies_cluster_and_step_but_not_the_owner():
    _, emr, _ = launched()
    assert emr.launched == {"Name": NAME, "LogUri": "s3://logs/emr/"}
    assert emr.steps == ("j-3", [STEP])


def test_it_reads_the_log_before_it_terminates_its_cluster():
    cluster, emr, s3 = launched()
    cluster.tick()
    emr.step_state = "FAILED"
    cluster.tick()
    assert not emr.terminated
    s3.objects["emr/j-3/steps/s-1/stdout.gz"] = gzip.compress(b"starts")
    cluster.tick()
    assert not emr.terminated
    s3.objects["emr/j-3/steps/s-1/stderr.gz"] = gzip.compress(b"error 40615")
    cluster.tick()
    assert (cluster.step_state, cluster.log.splitlines()[1], emr.terminated) == ("FAILED", "error 40615", ["j-3"])
    cluster.tick()
    assert cluster.ended
