"""A local S3, and a runner of steps beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from airflow_eip_provider.local_aws.steps import ProcessStepRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def endpoint_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint_url: str) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}),
    )
    for bucket in ("logs", "data"):
        client.create_bucket(Bucket=bucket)
    yield client
    for bucket in ("logs", "data"):
        for found in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=found["Key"])
        client.delete_bucket(Bucket=bucket)
    client.close()


@pytest.fixture
def runner(endpoint_url: str, tmp_path: Path) -> Iterator[ProcessStepRunner]:
    runner = ProcessStepRunner(endpoint_url=lambda: endpoint_url, state_dir=tmp_path, grace_seconds=1)
    yield runner
    runner.close()
