"""Buckets of the local EMR, and a runner of steps beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local_emr.steps import ProcessStepRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_emr import LocalAws


@pytest.fixture
def s3(local_emr: LocalAws, boto: Callable[..., Any]) -> Any:
    """A client, with the buckets ``logs`` and ``data``."""
    client = boto("s3")
    for bucket in ("logs", "data"):
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": local_emr.region})
    return client


@pytest.fixture
def runner(local_emr: LocalAws, tmp_path: Path) -> Iterator[ProcessStepRunner]:
    runner = ProcessStepRunner(endpoint_url=lambda: local_emr.endpoint_url, state_dir=tmp_path, grace_seconds=1)
    yield runner
    runner.close()
