"""The stage of this folder's tests, started once; and the table of the times that they measured."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.processes import Children, ProcessError
from tests.verification.recovery.stage import Balancer, Stage

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
class Scenes:
    """What is there when Airflow starts."""

    stage: Stage
    active_active: ActiveActive
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
            active = _two_zones(stage)
            livy = {"conn_type": "livy", "host": active.balancer.host, "port": 8998}
            settings = {"AIRFLOW_CONN_LIVY_BALANCED": json.dumps(livy)}
            files = [_HERE / "dags" / "active_active.py"]
            stage.start_airflow(settings, files=files, dag_ids={"balanced", "balanced_long"})
            stage.wait_until_ready(*active.clusters)
            stage.register(active.balancer, *active.clusters)
            yield Scenes(stage=stage, active_active=active)
        finally:
            children.stop()
            stage.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if _TIMES:
        terminalreporter.section("recovery times")
        for plan, what, seconds in _TIMES:
            terminalreporter.write_line(f"{plan:<16} {what:<60} {seconds:6.1f} s")
