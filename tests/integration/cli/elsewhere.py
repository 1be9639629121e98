"""Clusters that no task launched, and the commands for them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import clock
from harness.life import clock_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.cli.results import Said


@dataclass
class Elsewhere:
    """Launches clusters without Airflow, and runs commands for them."""

    aws: Any
    ec2: Any
    emr: Any
    allocation_id: str
    overrides: dict[str, Any]
    directory: Path
    command: Callable[..., Said]
    planned: list[tuple[float, Callable[[], Any]]] = field(default_factory=list)

    def meanwhile(self, seconds: float, action: Callable[[], Any]) -> None:
        """Plan an action for later, while a command waits."""
        self.planned.append((self.aws.clock.now().timestamp() + seconds, action))

    def sleep(self, seconds: float) -> None:
        """Advance the time for a command that waits, and run the planned actions."""
        self.aws.clock.advance(seconds)
        now = self.aws.clock.now().timestamp()
        due = [action for at, action in self.planned if at <= now]
        self.planned = [(at, action) for at, action in self.planned if at > now]
        for action in due:
            with contextlib.redirect_stdout(io.StringIO()):
                action()

    @property
    def vpc_id(self) -> str:
        return str(self.ec2.describe_subnets()["Subnets"][0]["VpcId"])

    def launch(self, tag: str | None = "Signals", *, running: bool = True) -> str:
        """Launch a cluster by hand; return its ID when it is running."""
        tags = [] if tag is None else [{"Key": "ClusterFunction", "Value": tag}]
        job_flow_id = self.emr.run_job_flow(**self.overrides, Tags=tags)["JobFlowId"]
        if running:
            self.aws.clock.advance(900)
        return str(job_flow_id)

    def parameters(self, values: Any = None, **changed: Any) -> str:
        """Write the file, with changes; return its path."""
        good = {
            "clusterFunctionTagValue": "Signals",
            "clusterVPCID": self.vpc_id,
            "allocationID": self.allocation_id,
        }
        given = {key: value for key, value in {**good, **changed}.items() if value is not ...}
        path = self.directory / "parametersValues.json"
        path.write_text(values if isinstance(values, str) else json.dumps(given if values is None else values))
        return str(path)

    def run(self, *arguments: str, json: bool = True) -> Said:
        """Run a command, with ``--json`` unless told otherwise."""
        return self.command(*arguments, *(["--json"] if json else []))

    def associate(self, *arguments: str, json: bool = True) -> Said:
        return self.run("associate", "--parameters", self.parameters(), *arguments, json=json)

    def about(self, command: str, *arguments: str, json: bool = True) -> Said:
        return self.run(command, "--allocation-id", self.allocation_id, *arguments, json=json)

    def cluster_of_address(self) -> str | None:
        """Return the cluster that has the address, by AWS's own tag."""
        address = self.ec2.describe_addresses(AllocationIds=[self.allocation_id])["Addresses"][0]
        if "InstanceId" not in address:
            return None
        found = self.ec2.describe_instances(InstanceIds=[address["InstanceId"]])["Reservations"][0]["Instances"][0]
        return {tag["Key"]: tag["Value"] for tag in found["Tags"]}["aws:elasticmapreduce:job-flow-id"]

    def changes(self, after: int = 0) -> list[str]:
        """Return the calls that change something, without the permission checks by DryRun."""
        calls = [event for event in self.aws.events.read(after=after, kind="call") if not _is_dry_run(event)]
        looks = ("Describe", "List", "Get", "Head")
        return [call["operation"] for call in calls if not call["operation"].startswith(looks)]

    def mark(self) -> int:
        return int(self.aws.events.read()[-1]["seq"])


def _is_dry_run(event: Any) -> bool:
    return str(event["request"].get("DryRun", "false")).lower() == "true"


@pytest.fixture
def elsewhere(
    clocked: Any,
    ec2: Any,
    emr: Any,
    allocation_id: str,
    overrides: dict[str, Any],
    tmp_path: Path,
    run: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Elsewhere]:
    """Commands on the local EMR's clock, without an environment and a lock store."""
    for name in ("ENVIRONMENT", "LOCK_STORE"):
        monkeypatch.delenv(f"AIRFLOW__EIP__{name}", raising=False)
    made = Elsewhere(clocked, ec2, emr, allocation_id, overrides, tmp_path, run)
    with clock.used(clock_of(clocked, made.sleep)):
        yield made
