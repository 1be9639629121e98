"""The environment of this folder's tests, which is started once, and the table of the measured times."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.network import create_load_balancer
from harness.processes import Children, ProcessError
from tests.real_airflow import ROOT
from tests.verification.recovery.stage import BUCKET, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.network import LoadBalancer

_HERE = Path(__file__).resolve().parent
_TIMES: list[tuple[str, str, float]] = []


@dataclass(kw_only=True)
class ActiveActive:
    """
    Two clusters behind one load balancer, whose outgoing traffic uses the address of one NAT gateway.

    :param public_ip: that address.
    """

    clusters: list[str]
    balancer: LoadBalancer
    public_ip: str


@dataclass(kw_only=True)
class ActivePassive:
    """
    A load balancer in front of the cluster to which dags/emr_standby.py binds the address.

    :param variable: the DAG's Airflow Variable.
    """

    balancer: LoadBalancer
    allocation_id: str
    public_ip: str
    variable: dict[str, Any]


@dataclass(kw_only=True)
class Scenes:
    """Everything that exists when Airflow starts."""

    stage: Stage
    active_active: ActiveActive
    active_passive: ActivePassive
    times: list[tuple[str, str, float]] = field(default_factory=lambda: _TIMES)

    def measured(self, plan: str, what: str, seconds: float) -> None:
        """Keep a time for the table at the end."""
        self.times.append((plan, what, seconds))


def _two_zones(stage: Stage) -> ActiveActive:
    public = stage.public_subnets()
    ec2 = stage.client("ec2")
    address = ec2.allocate_address(Domain="vpc")
    # In a third zone, so that the gateway outlives the loss of either cluster's zone.
    gateway = stage.nat_gateway(subnet_id=public[2]["SubnetId"], allocation_id=address["AllocationId"])
    zones = [subnet["AvailabilityZone"] for subnet in public[:2]]
    subnets = stage.private_subnets(zones=zones, nat_gateway_id=gateway)
    clusters = [stage.launch(name="balanced", subnet_id=subnet) for subnet in subnets]
    balancer = create_load_balancer(stage.client, "balanced", subnets=public, services=["livy"])
    return ActiveActive(clusters=clusters, balancer=balancer, public_ip=str(address["PublicIp"]))


def _a_pair(stage: Stage) -> ActivePassive:
    address = stage.client("ec2").allocate_address(Domain="vpc")
    public = stage.public_subnets()
    balancer = create_load_balancer(stage.client, "served", subnets=public, services=["yarn", "hdfs", "livy"])
    variable = {
        "allocation_id": address["AllocationId"],
        "subnet_ids": [subnet["SubnetId"] for subnet in public[:2]],
        "target_groups": list(balancer.groups.values()),
        "primary_security_group": balancer.security_group,
        "bucket": BUCKET,
        "job_flow_role": "EMR_EC2_DefaultRole",
        "service_role": "EMR_DefaultRole",
    }
    return ActivePassive(
        balancer=balancer,
        allocation_id=str(address["AllocationId"]),
        public_ip=str(address["PublicIp"]),
        variable=variable,
    )


def _livy(balancer: LoadBalancer) -> str:
    return json.dumps({"conn_type": "livy", "host": balancer.host, "port": 8998})


@pytest.fixture(scope="session")
def scenes() -> Iterator[Scenes]:
    """Start everything, for all tests of the folder."""
    # The user of PostgreSQL, who is not root, must be able to read it; pytest's directories are private.
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
        state = Path(folder)
        state.chmod(0o755)
        children = Children(directory=state / "children")
        try:
            stage = Stage(children, venv=Path(sys.prefix), state=state)
        except ProcessError as missing:
            pytest.skip(str(missing))
        try:
            stage.start_aws()
            active, passive = _two_zones(stage), _a_pair(stage)
            settings = {
                "AIRFLOW_CONN_LIVY_BALANCED": _livy(active.balancer),
                "AIRFLOW_CONN_LIVY_SERVED": _livy(passive.balancer),
                "AIRFLOW_VAR_EMR_STANDBY": json.dumps(passive.variable),
            }
            files = [*(_HERE / "dags").glob("*.py"), ROOT / "dags" / "emr_standby.py"]
            dag_ids = {"balanced", "balanced_long", "served", "served_long", "emr_standby", "emr_standby_start"}
            stage.start_airflow(settings, files=files, dag_ids=dag_ids)
            stage.run("emr_standby_start")
            stage.airflow.rest.unpause("emr_standby")
            stage.wait_until_ready(*active.clusters)
            stage.register(active.balancer, *active.clusters)
            yield Scenes(stage=stage, active_active=active, active_passive=passive)
        finally:
            children.stop()
            stage.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measured times."""
    if _TIMES:
        terminalreporter.section("recovery times")
        for plan, what, seconds in _TIMES:
            terminalreporter.write_line(f"{plan:<16} {what:<60} {seconds:6.1f} s")
