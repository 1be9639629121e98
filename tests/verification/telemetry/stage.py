"""A real Airflow and a local EMR, with DAGs that queue, lose their address, and fail over."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import boto3

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
_CREDENTIALS = {"aws_access_key_id": "telemetry", "aws_secret_access_key": "local-telemetry"}
_PATIENCE_SECONDS = 900.0
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
    What the tests of one Airflow share.

    :param settings: where it sends its metrics.
    :param dags: by name: "address", a number, and what the DAG file takes.
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
        login = f"{_CREDENTIALS['aws_access_key_id']}:{_CREDENTIALS['aws_secret_access_key']}"
        where = urlencode({"endpoint_url": self.aws.endpoint_url, "region_name": REGION})
        extra = {"AIRFLOW_CONN_AWS_DEFAULT": f"aws://{login}@/?{where}"}
        extra |= {f"AIRFLOW__{name}": value for name, value in _SETTINGS.items()} | dict(self._settings)
        self.airflow = real_airflow(self._children, venv=self._venv, state=self._state, dags=self._folder, extra=extra)
        self._folder.mkdir(parents=True)
        ec2 = self.client("ec2")
        found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        subnets = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in found}
        self.aws.limit_capacity(A)
        most = max(dag["address"] for dag in self._dags.values())
        self.addresses = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(most + 1)]
        made = {
            name: {
                "allocation_id": self.addresses[dag["address"]],
                "subnets": [subnets[zone] for zone in dag.get("zones", [B])],
                "deferrable": dag["deferrable"],
                "step_seconds": dag.get("step_seconds", 30),
            }
            for name, dag in self._dags.items()
        }
        (self._folder / "dags.json").write_text(json.dumps(made), encoding="utf-8")
        shutil.copy(_HERE / "dags" / "telemetry.py", self._folder)
        self.airflow.migrate()
        self.airflow.preload(_HERE / "plugins" / "preload.py")
        self.airflow.start()
        self.airflow.wait_for_dags(set(made))

    def client(self, service: str) -> Any:
        """Return a boto3 client of the local EMR."""
        return boto3.client(service, endpoint_url=self.aws.endpoint_url, region_name=REGION, **_CREDENTIALS)

    @property
    def told(self) -> list[dict[str, Any]]:
        """What the notifiers were called with."""
        path = self._folder / "told.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def until(self, what: str, happened: Callable[[], Any]) -> None:
        """Wait until something has happened."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not happened():
            assert time.monotonic() < deadline, f"not {what} after {_PATIENCE_SECONDS:.0f} s"
            time.sleep(1)
        log.info("%s", what)

    def is_bound(self, number: int) -> bool:
        """Whether an address is on something."""
        found = self.client("ec2").describe_addresses(AllocationIds=[self.addresses[number]])["Addresses"][0]
        return "AssociationId" in found

    def steal(self, number: int) -> None:
        """Take an address off whatever has it."""
        ec2 = self.client("ec2")
        found = ec2.describe_addresses(AllocationIds=[self.addresses[number]])["Addresses"][0]
        ec2.disassociate_address(AssociationId=found["AssociationId"])

    def runs_step(self, dag_id: str) -> bool:
        """Whether a step of a DAG's cluster runs."""
        emr = self.client("emr")
        for cluster in emr.list_clusters(ClusterStates=["RUNNING", "WAITING"])["Clusters"]:
            if cluster["Name"] == dag_id:
                return bool(emr.list_steps(ClusterId=cluster["Id"], StepStates=["RUNNING"])["Steps"])
        return False
