"""A batch of Livy with Spark itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from local_emr import LocalAws, ManualClock
from local_emr.steps import ProcessStepRunner
from stage import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.spark

JOB = """
import os, sys, urllib.request
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
seen = lambda: urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/my-ip").read().decode().strip()
on_executors = spark.sparkContext.parallelize(range(2), 2).map(lambda _: seen()).collect()
print(spark.sparkContext.appName, sys.argv[1], "seen from", sorted({seen(), *on_executors}))
spark.stop()
"""


def test_driver_and_executors_are_seen_from_the_public_address_of_the_only_node(tmp_path: Path) -> None:
    def runner(made: LocalAws) -> ProcessStepRunner:
        return ProcessStepRunner(endpoint_url=lambda: made.endpoint_url, state_dir=tmp_path, grace_seconds=1)

    instances: dict[str, Any] = {
        "InstanceCount": 1,
        "MasterInstanceType": "m5.xlarge",
        "KeepJobFlowAliveWhenNoSteps": True,
    }
    with LocalAws(clock=ManualClock(), step_runner=runner) as aws, requests.Session() as session:
        session.trust_env = False
        session.put(f"{aws.endpoint_url}/code", timeout=30)
        session.put(f"{aws.endpoint_url}/code/job.py", data=JOB.encode(), timeout=30)
        request = {"Name": "long", "Instances": instances, "Applications": [{"Name": "Spark"}, {"Name": "Livy"}]}
        job_flow_id = aws.emr.answer("RunJobFlow", request)["JobFlowId"]
        aws.clock.advance(300)
        primary = aws.cluster(job_flow_id).primary
        url = f"http://{primary.private_ip_address}:8998/batches"
        batch = {"file": "s3://code/job.py", "name": "daily", "args": ["2026-01-01"], "executorMemory": "1g"}
        assert session.post(url, json=batch, timeout=30).status_code == 201
        wait_until(lambda: session.get(f"{url}/daily/state", timeout=30).json()["state"] in {"success", "dead"})
        log = session.get(f"{url}/daily/log?from=0&size=-1", timeout=30).json()["log"]
        public_ip = aws.ec2(aws.region).public_ip(primary.id)
        assert f"daily 2026-01-01 seen from ['{public_ip}']" in log, "\n".join(log)[-3000:]
        assert session.get(f"{url}/0/state", timeout=30).json()["state"] == "success"
