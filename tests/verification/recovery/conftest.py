"""The stage of this folder's tests, started once; and the table of the times that they measured."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.processes import Children, ProcessError
from tests.real_airflow import ROOT
from tests.verification.recovery.stage import BUCKET, Balancer, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).resolve().parent
_TIMES: list[tuple[str, str, float]] = []


@dataclass(kw_only=True)
class ActiveActive:
    """
    Two clusters behind one load balancer, which leave from the address of one NAT gateway.

    :param public_ip: that address.
    """

    clusters: list[str]
    balancer: Balancer
    public_ip: str


@dataclass(kw_only=True)
class ActivePassive:
    """
    A load balancer in front of the cluster that dags/emr_standby.py puts the address on.

    :param variable: what the DAG reads.
    """

    balancer: Balancer
    allocation_id: str
    public_ip: str
    variable: dict[str, Any]


@dataclass(kw_only=True)
class Scenes:
    """What is there when Airflow starts."""

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
    # In a third zone: the loss of either cluster's zone is not that of the way out.
    gateway = stage.nat_gateway(subnet_id=public[2]["SubnetId"], allocation_id=address["AllocationId"])
    zones = [subnet["AvailabilityZone"] for subnet in public[:2]]
    subnets = stage.private_subnets(zones=zones, nat_gateway_id=gateway)
    clusters = [stage.launch(name="balanced", subnet_id=subnet) for subnet in subnets]
    balancer = stage.balancer("balanced", "livy")
    return ActiveActive(clusters=clusters, balancer=balancer, public_ip=str(address["PublicIp"]))


def _a_pair(stage: Stage) -> ActivePassive:
    address = stage.client("ec2").allocate_address(Domain="vpc")
    balancer = stage.balancer("served", "yarn", "hdfs", "livy")
    variable = {
        "allocation_id": address["AllocationId"],
        "subnet_ids": [subnet["SubnetId"] for subnet in stage.public_subnets()[:2]],
        "target_groups": list(balancer.groups.values()),
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


def _livy(balancer: Balancer) -> str:
    return json.dumps({"conn_type": "livy", "host": balancer.host, "port": 8998})


@pytest.fixture(scope="session")
def scenes() -> Iterator[Scenes]:
    """Start everything, for all tests of the folder."""
    # PostgreSQL, which is never root, must reach into it; pytest's own directories are private.
    with tempfile.TemporaryDirectory(prefix="recovery-") as made:
        state = Path(made)
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
    """Print what was measured."""
    if _TIMES:
        terminalreporter.section("recovery times")
        for plan, what, seconds in _TIMES:
            terminalreporter.write_line(f"{plan:<16} {what:<60} {seconds:6.1f} s")
