"""Run a step and see what it left."""

from __future__ import annotations

import gzip
import threading
import time
from typing import TYPE_CHECKING, Any

from local_emr.emr.steps import StepResult, StepSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr.steps import ProcessStepRunner

WAIT_SECONDS = 300
LOGS = "s3://logs/emr/"


class Ended:
    """Collects the results that a runner reports."""

    def __init__(self) -> None:
        self.results: list[StepResult] = []
        self._event = threading.Event()

    def __call__(self, result: StepResult) -> None:
        self.results.append(result)
        self._event.set()

    def wait(self) -> StepResult:
        assert self._event.wait(WAIT_SECONDS)
        return self.results[0]


def spec(*args: str, jar: str = "command-runner.jar", step_id: str = "s-1", log_uri: str | None = LOGS) -> StepSpec:
    return StepSpec(
        job_flow_id="j-1",
        step_id=step_id,
        name="a step",
        jar=jar,
        args=args,
        instance_id="i-1",
        region="eu-west-1",
        log_uri=log_uri,
    )


def run(runner: ProcessStepRunner, step: StepSpec) -> StepResult:
    ended = Ended()
    runner.start(step, ended)
    return ended.wait()


def log(s3: Any, name: str, *, step_id: str = "s-1") -> str:
    kept = s3.get_object(Bucket="logs", Key=f"emr/j-1/steps/{step_id}/{name}.gz")
    return gzip.decompress(kept["Body"].read()).decode()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
