"""Batches of Livy that really run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import requests

from local_emr import LocalAws, ManualClock
from local_emr.livy.batches import command_line
from local_emr.steps import ProcessStepRunner
from stage import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB = """
import sys, urllib.request, os
print("seen from", urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/my-ip").read().decode())
print("oops", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


def test_a_request_becomes_the_command_of_spark_submit() -> None:
    request: dict[str, Any] = {
        "file": "s3://code/job.py",
        "name": "daily",
        "className": "org.example.Main",
        "driverMemory": "2g",
        "numExecutors": 3,
        "pyFiles": ["s3://code/a.zip", "s3://code/b.zip"],
        "conf": {"spark.x": "1"},
        "args": ["2026-01-01", 7],
        "proxyUser": "hadoop",
    }
    assert " ".join(command_line(request)) == (
        "spark-submit --name daily --class org.example.Main --driver-memory 2g --num-executors 3 "
        "--py-files s3://code/a.zip,s3://code/b.zip --conf spark.x=1 s3://code/job.py 2026-01-01 7"
    )


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[LocalAws]:
    def runner(made: LocalAws) -> ProcessStepRunner:
        return ProcessStepRunner(
            endpoint_url=lambda: made.endpoint_url, state_dir=tmp_path / "state", grace_seconds=1, views=False
        )

    with LocalAws(clock=ManualClock(), step_runner=runner) as made:
        yield made


@pytest.fixture
def livy(aws: LocalAws, tmp_path: Path) -> Any:
    """Post a batch; the program stands for ``spark-submit``, whose own tests are elsewhere."""
    aws.emr.answer(
        "RunJobFlow",
        {
            "Name": "long",
            "Instances": {"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": True},
            "Applications": [{"Name": "Livy"}],
        },
    )
    aws.clock.advance(300)
    (cluster,) = aws.emr.life.clusters
    job = tmp_path / "job.py"
    job.write_text(JOB, encoding="utf-8")
    submit = aws.step_runner.state_dir / "node" / cluster.primary.id / "python/bin/spark-submit"
    submit.parent.mkdir(parents=True)
    submit.write_text('#!/bin/sh\nexec python3 "$@"\n', encoding="utf-8")
    submit.chmod(0o755)
    url = f"http://{cluster.primary.private_ip_address}:8998/batches"
    session = requests.Session()
    session.trust_env = False
    call = functools.partial(session.request, timeout=30)

    def post(*args: str) -> Any:
        return call("POST", url, json={"file": str(job), "args": list(args)}).json()

    yield lambda path="", method="GET": call(method, url + path).json(), post, cluster
    session.close()


def test_a_batch_runs_on_its_primary_and_is_seen_from_its_public_address(aws: LocalAws, livy: Any) -> None:
    get, post, cluster = livy
    post("0")
    wait_until(lambda: get("/0/state")["state"] == "success")
    log = get("/0/log")["log"]
    public_ip = aws.ec2(aws.region).public_ip(cluster.primary.id)
    assert f"seen from {public_ip}" in log
    assert log.index("\nstderr: ") < log.index("oops")
    (seen,) = aws.events.read(kind="connection")
    assert (seen["from_ip"], seen["job_flow_id"], seen["step_id"]) == (public_ip, cluster.id, None)


def test_a_batch_that_fails_is_dead_and_logs_the_reason(aws: LocalAws, livy: Any) -> None:
    get, post, _ = livy
    post("4")
    wait_until(lambda: get("/0/state")["state"] == "dead")
    assert get("/0/log")["log"][-1] == "oops"
