"""A real Airflow and a local EMR, with DAGs that queue, lose their address, and fail over."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from harness.airflow import aws_connection
from harness.network import default_subnets
from harness.wait import wait_for
from local_emr import LocalAws, ScaledClock
from local_emr.durations import Durations
from tests.real_airflow import real_airflow, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.processes import Children

log = logging.getLogger(__name__)

REGION = "eu-west-1"
A, B = "eu-west-1a", "eu-west-1b"
TIME_SCALE = 10.0
_WAIT_SECONDS = 900.0
_HERE = Path(__file__).resolve().parent
_SETTINGS = {
    "CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "CORE__DAG_FILE_PROCESSOR_TIMEOUT": "600",
    "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "600",
    "EIP__ENVIRONMENT": "telemetry",
    "EIP__LOCK_STORE": f"dynamodb://telemetry?region={REGION}&create=true",
}


class Stage:
    """
    The environment of the tests of one Airflow.

    :param settings: Airflow's settings for metrics and traces.
    :param dags: by name: the number of its address ("address"), and the parameters of the DAG file.
    """

    def __init__(
        self, children: Children, *, venv: Path, state: Path, settings: Mapping[str, str], dags: Mapping[str, Any]
    ) -> None:
        self.version = version_of(venv)
        durations = Durations(fulfilment=10, instance_boot=90, starting=110, bootstrapping=40)
        self.aws = LocalAws(clock=ScaledClock(TIME_SCALE), region=REGION, durations=durations, state_dir=state / "aws")
        self.addresses: list[str] = []
        self._dags, self._folder = dags, state / "dags"
        self._state = state
        self._children, self._venv, self._settings = children, venv, settings

    def start(self) -> None:
        """Start both, with an Elastic IP for each number."""
        self.aws.start()
        extra = {"AIRFLOW_CONN_AWS_DEFAULT": aws_connection(self.aws.endpoint_url, region=REGION)}
        extra |= {f"AIRFLOW__{name}": value for name, value in _SETTINGS.items()} | dict(self._settings)
        self.airflow = real_airflow(self._children, venv=self._venv, state=self._state, dags=self._folder, extra=extra)
        self._folder.mkdir(parents=True)
        ec2 = self.client("ec2")
        subnets = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in default_subnets(ec2)}
        self.aws.limit_capacity(A)
        most = max(dag["address"] for dag in self._dags.values())
        self.addresses = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(most + 1)]
        parameters = {
            name: {
                "allocation_id": self.addresses[dag["address"]],
                "subnets": [subnets[zone] for zone in dag.get("zones", [B])],
                "deferrable": dag["deferrable"],
                "step_seconds": dag.get("step_seconds", 30),
            }
            for name, dag in self._dags.items()
        }
        (self._folder / "dags.json").write_text(json.dumps(parameters), encoding="utf-8")
        shutil.copy(_HERE / "dags" / "telemetry.py", self._folder)
        self.airflow.migrate()
        self.airflow.preload()
        self.airflow.start()
        self.airflow.wait_for_dags(set(parameters))

    def client(self, service: str) -> Any:
        """Return a boto3 client of the local EMR."""
        session = boto3.Session("testing", "testing", region_name=REGION)
        return session.client(service, endpoint_url=self.aws.endpoint_url)

    @property
    def notifications(self) -> list[dict[str, Any]]:
        """The contexts with which notifiers were called."""
        path = self._folder / "notifications.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def until(self, event: str, condition: Callable[[], Any]) -> None:
        """Wait until a condition holds, and log the event."""
        problem = f"not {event} after {_WAIT_SECONDS:.0f} s"
        wait_for(condition, seconds=_WAIT_SECONDS, error=lambda: AssertionError(problem), pause_seconds=1)
        log.info("%s", event)

    def association_id(self, number: int) -> str | None:
        """Return the association of an address, if it has one."""
        address = self.client("ec2").describe_addresses(AllocationIds=[self.addresses[number]])["Addresses"][0]
        return address.get("AssociationId")

    def disassociate(self, number: int) -> None:
        """Disassociate an address from its cluster."""
        self.client("ec2").disassociate_address(AssociationId=self.association_id(number))

    def runs_step(self, dag_id: str) -> bool:
        """Whether a step of a DAG's cluster is running."""
        emr = self.client("emr")
        for cluster in emr.list_clusters(ClusterStates=["RUNNING", "WAITING"])["Clusters"]:
            if cluster["Name"] == dag_id:
                return bool(emr.list_steps(ClusterId=cluster["Id"], StepStates=["RUNNING"])["Steps"])
        return False
