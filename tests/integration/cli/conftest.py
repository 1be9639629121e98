"""Fixtures for the commands: how to run one, and clusters that earlier tasks left behind."""

from __future__ import annotations

import functools
import json
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.aws import addresses
from airflow_eip_provider.cli.__main__ import main
from harness.leases import Queue
from harness.life import Task
from local_emr.emr.queue import StepQueue
from tests.integration.cli.elsewhere import Elsewhere, elsewhere
from tests.integration.cli.results import Examined, Said
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
    "Said",
    "allocation_id",
    "create_operator",
    "elsewhere",
    "lock_store",
    "network",
    "overrides",
    "record",
    "step",
    "subnet_id",
    "terminate_operator",
]

# The calls of a command that changes nothing.
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


# The calls of the doctor; others are made with DryRun only.
DOCTOR_LOOKS = {
    "GetCallerIdentity",
    "DescribeAddresses",
    "DescribeAvailabilityZones",
    "DescribeCluster",
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


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command of ``airflow-eip``; return its exit status and what it printed."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        status: Any
        try:
            status = main(list(arguments))
        except SystemExit as ended:
            status = ended.code
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def address_of_a_local_zone(allocation_id: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Move the address into the network border group of a Local Zone, which the local EMR does not have."""
    read = addresses._address
    monkeypatch.setattr(addresses, "_address", lambda item: read({**item, "NetworkBorderGroup": "eu-west-1-lhr-1"}))
    return allocation_id


@pytest.fixture
def examine(
    clocked: Any, run: Callable[..., Said], allocation_id: str, overrides: dict[str, Any], tmp_path: Path
) -> Callable[..., Examined]:
    """Run ``doctor`` for the address and the current overrides; check that it changes nothing."""

    def examine(*arguments: str, file: bool = True, address: str = allocation_id) -> Examined:
        given = ["doctor", "--allocation-id", address, "--json", *arguments]
        if file:
            path = tmp_path / "cluster.json"
            path.write_text(json.dumps(overrides))
            given += ["--job-flow-overrides", str(path)]
        before = last_event(clocked)
        said = run(*given)
        assert_doctor_only_read(clocked, before)
        return Examined(said.status, said.out, said.err)

    return examine


def last_event(aws: Any) -> int:
    return int(aws.events.read()[-1]["seq"])


def assert_doctor_only_read(aws: Any, after: int) -> None:
    for event in aws.events.read(after=after, kind="call"):
        is_dry_run = str(event["request"].get("DryRun")).lower() == "true"
        assert is_dry_run or event["operation"] in DOCTOR_LOOKS, event


@pytest.fixture
def queue(clocked: Any, boto: Any) -> Queue:
    return Queue(clocked, functools.cache(boto))


@pytest.fixture
def with_lock_store(elsewhere: Elsewhere, lock_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure an environment "testing" and the lock store."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    monkeypatch.setenv("AIRFLOW__EIP__LOCK_STORE", lock_store)


@pytest.fixture
def left(clocked: Any, create_operator: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Create a cluster with the address, as a task of an environment; return its ID when it has reached an age."""

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
    """Run a step on a cluster, which continues for a while after the cluster is terminated; return its ID."""
    monkeypatch.setattr(StepQueue, "cancel_all", StepQueue.cancel_pending)

    def add(job_flow_id: str) -> str:
        steps = [step("--sleep", "1000000")]
        (step_id,) = emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=steps)["StepIds"]
        clocked.clock.advance(60)
        return str(step_id)

    return add


@pytest.fixture
def reap(run: Callable[..., Said]) -> Callable[..., Said]:
    """Run ``airflow-eip reap``; with ``json=False`` without ``--json``."""
    return lambda *arguments, json=True: run("reap", *arguments, *(["--json"] if json else []))


@pytest.fixture
def only_looked(clocked: Any) -> Callable[..., None]:
    """Check that only reading calls were sent since an event."""

    def check(after: int) -> None:
        called = {event["operation"] for event in clocked.events.read(after=after, kind="call")}
        assert called
        assert called <= LOOKS

    return check


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Restore the default handlers of signals; under nohup, this process and its children ignore them."""
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
