"""A worker process: it runs its lease periods with the real operators, and may be killed at any moment."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import botocore.client
import botocore.endpoint
import structlog
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

from tests.verification.stress import runs
from tests.verification.stress.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.verification.stress.plan import Job


class Vanished(BaseException):
    """The process of this try is no more: whatever its code does from now on does not happen."""


class Process:
    """
    The process of one try, as far as it can be taken from it.

    :param real_sleep: sleeps so many simulated seconds.
    """

    def __init__(self, real_sleep: Callable[[float], None]) -> None:
        self._real_sleep = real_sleep
        self._left: int | None = None
        self.dead = False

    def begin(self, *, calls: int | None) -> None:
        """Start a process that vanishes after so many calls to AWS, or does not."""
        self._left, self.dead = calls, False

    def live(self) -> None:
        """
        Do one thing that only a living process does.

        :raises Vanished: when it does not live any more.
        """
        if self.dead:
            raise Vanished

    def count(self) -> None:
        """Note one call to AWS; the last one's answer reaches nobody."""
        if self._left is not None:
            self._left -= 1
            self.dead = self._left <= 0

    def sleep(self, seconds: float) -> None:
        """Sleep, if alive."""
        self.live()
        self._real_sleep(seconds)


def main(job: Job) -> None:
    """Run all lease periods of this worker that its journal does not know as ended."""
    _speak_to_a_file(job)
    os.environ.update(
        AIRFLOW__EIP__ENVIRONMENT="stress",
        AWS_ENDPOINT_URL=job.endpoint_url,
        AWS_DEFAULT_REGION=job.region,
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_CONFIG_FILE="/dev/null",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_SDK_UA_APP_ID=job.worker,
    )
    process = live_in_simulated_time(job)
    reuse_clients()
    vanish_between_calls(process)
    runs.live(job, Journal(job.journal), process=process, vanished=Vanished)


def live_in_simulated_time(job: Job) -> Process:
    """Put the local EMR's clock in the place of ``time``, module by module, also for botocore's pauses."""
    scale, pause, monotonic = job.options.time_scale, time.sleep, time.monotonic

    def now() -> float:
        return job.zero + (monotonic() - job.real_zero) * scale

    process = Process(lambda seconds: pause(seconds / scale))
    clock = SimpleNamespace(time=now, monotonic=now, sleep=process.sleep)
    for name, module in tuple(sys.modules.items()):
        ours = name.startswith("airflow_eip_provider.")
        if (ours or module in {runs, botocore.endpoint}) and getattr(module, "time", None) is time:
            module.time = clock
    return process


def reuse_clients() -> None:
    """Make each client once for a process: a hook makes its own each time, and each operator has hooks of its own."""
    make, made = AwsGenericHook.get_client_type, {}

    def get(hook: Any, region_name: str | None = None, config: Any = None, **given: Any) -> Any:
        key = (hook.client_type, region_name, json.dumps(config.retries if config else None))
        if key not in made:
            made[key] = make(hook, region_name=region_name, config=config, **given)
        return made[key]

    AwsGenericHook.get_client_type = get


def vanish_between_calls(process: Process) -> None:
    """Let a call to AWS be one of the things that only a living process does."""
    send = botocore.client.BaseClient._make_api_call

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        process.live()
        try:
            return send(client, operation, parameters)
        finally:
            process.count()
            process.live()

    botocore.client.BaseClient._make_api_call = call


def _speak_to_a_file(job: Job) -> None:
    log = os.open(job.directory / f"{job.worker}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    logging.disable(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
