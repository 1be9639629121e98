"""Clusters that tasks of other environments left behind, and the command that looks for them."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.cli.__main__ import main
from harness.life import Task
from local_emr.emr.queue import StepQueue
from tests.integration.operators.conftest import (
    allocation_id,
    create_operator,
    lock_store,
    network,
    overrides,
    record,
    step,
    subnet_id,
    terminate_operator,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "allocation_id",
    "create_operator",
    "lock_store",
    "network",
    "overrides",
    "record",
    "step",
    "subnet_id",
    "terminate_operator",
]

# Nothing else may be called where nothing may be changed.
LOOKS = {
    "GetCallerIdentity",
    "ListClusters",
    "DescribeCluster",
    "ListSteps",
    "DescribeAddresses",
    "DescribeInstances",
    "DescribeNatGateways",
    "GetItem",
    "GetObject",
}


# The same for the doctor, but for what it asks with DryRun.
DOCTOR_LOOKS = {
    "GetCallerIdentity",
    "DescribeAddresses",
    "DescribeAvailabilityZones",
    "DescribeInstances",
    "DescribeInstanceTypeOfferings",
    "DescribeNatGateways",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "DescribeRouteTables",
    "DescribeSecurityGroups",
    "GetBlockPublicAccessConfiguration",
    "DescribeTable",
    "HeadBucket",
    "GetItem",
    "GetObject",
}


@dataclass(frozen=True)
class Said:
    """What the command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def decisions(self) -> dict[str, str]:
        return {found["job_flow_id"]: found["decision"] for found in self.result["clusters"]}

    @property
    def reasons(self) -> dict[str, str]:
        return {found["job_flow_id"]: found["reason"] for found in self.result["clusters"]}


class Examined(Said):
    """What the doctor said as JSON."""

    def found(self, check: str) -> dict[str, Any]:
        """Return the only finding of a check; there is no other error but of this check."""
        (findings,) = [c["findings"] for c in self.result["checks"] if c["check"] == check]
        (finding,) = findings
        assert self.status == (3 if finding["severity"] == "error" else 0), self.out
        assert all(finding[part] for part in ("subject", "what", "why", "mend"))
        return finding

    @property
    def skipped(self) -> dict[str, str]:
        return {c["check"]: c["skipped"] for c in self.result["checks"] if c["skipped"]}

    @property
    def all_found(self) -> dict[str, list[str]]:
        return {c["check"]: [f["what"] for f in c["findings"]] for c in self.result["checks"] if c["findings"]}


@pytest.fixture
def examine(
    clocked: Any, allocation_id: str, overrides: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Examined]:
    """Carry the command out for the address and the overrides, as they are then; nothing may be changed."""

    def run(*arguments: str, file: bool = True, address: str = allocation_id) -> Examined:
        given = ["doctor", "--allocation-id", address, "--json", *arguments]
        if file:
            path = tmp_path / "cluster.json"
            path.write_text(json.dumps(overrides))
            given += ["--job-flow-overrides", str(path)]
        capsys.readouterr()
        before = clocked.events.read()[-1]["seq"]
        status = main(given)
        for event in clocked.events.read(after=before, kind="call"):
            asked = str(event["request"].get("DryRun")).lower() == "true"
            assert asked or event["operation"] in DOCTOR_LOOKS, event
        return Examined(status, *capsys.readouterr())

    return run


@pytest.fixture
def left(clocked: Any, create_operator: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Create a cluster that carries the address, as a task of an environment; return its id when it is old."""

    def leave(
        environment: str | None = "gone",
        *,
        dag_id: str = "daily",
        run_id: str = "run-1",
        age: float = 7200,
        **more: Any,
    ) -> str:
        with monkeypatch.context() as patch:
            if environment is None:
                patch.delenv("AIRFLOW__EIP__ENVIRONMENT", raising=False)
            else:
                patch.setenv("AIRFLOW__EIP__ENVIRONMENT", environment)
            operator = create_operator(**{"idle_timeout": timedelta(days=7), **more})
            job_flow_id = Task(operator, dag_id=dag_id, run_id=run_id).run()
        clocked.clock.advance(age)
        return str(job_flow_id)

    return leave


@pytest.fixture
def running_step(clocked: Any, emr: Any, step: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Let a step run on a cluster, even for a while after that is told to end; return its id."""
    monkeypatch.setattr(StepQueue, "cancel_all", StepQueue.cancel_pending)

    def add(job_flow_id: str) -> str:
        steps = [step("--sleep", "1000000")]
        (step_id,) = emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=steps)["StepIds"]
        clocked.clock.advance(60)
        return str(step_id)

    return add


@pytest.fixture
def reap(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Carry out ``airflow-eip reap``; with ``json=False`` as people see it."""

    def run(*arguments: str, json: bool = True) -> Said:
        capsys.readouterr()
        status = main(["reap", *arguments, *(["--json"] if json else [])])
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def only_looked(clocked: Any) -> Callable[..., None]:
    """Check the wire: since an event, nothing was called but what looks."""

    def check(after: int) -> None:
        called = {event["operation"] for event in clocked.events.read(after=after, kind="call")}
        assert called
        assert called <= LOOKS

    return check


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Let signals do what they do by default; under nohup they are ignored, here and in processes begun here."""
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
