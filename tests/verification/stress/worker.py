"""A worker process: it runs its lease periods with the real operators, and may be killed at any time."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import botocore.client
import botocore.endpoint
import structlog
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

from airflow_eip_provider import clock
from harness.simulated_clock import SimulatedClock
from tests.verification.stress import dag_runs
from tests.verification.stress.try_log import TryLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.verification.stress.plan import Job


class ProcessKilled(BaseException):
    """The simulated process of this try was killed; a BaseException, so that no ``except Exception`` catches it."""


class SimulatedProcess:
    """
    The process of one try, which can be killed between two calls to AWS: from then on, each call and each sleep raises.

    :param real_sleep: sleeps for a number of simulated seconds.
    """

    def __init__(self, real_sleep: Callable[[float], None]) -> None:
        self._real_sleep = real_sleep
        self._left: int | None = None
        self.dead = False

    def restart(self, *, calls: int | None) -> None:
        """Start a new process, which is killed after this number of calls to AWS; None for never."""
        self._left, self.dead = calls, False

    def check_alive(self) -> None:
        """
        Do nothing while the process is alive.

        :raises ProcessKilled: when it was killed.
        """
        if self.dead:
            raise ProcessKilled

    def count_call(self) -> None:
        """Count one call to AWS; the process is killed before it gets the answer of the last one."""
        if self._left is not None:
            self._left -= 1
            self.dead = self._left <= 0

    def sleep(self, seconds: float) -> None:
        """Sleep, if alive."""
        self.check_alive()
        self._real_sleep(seconds)


def main(job: Job) -> None:
    """Run all lease periods of this worker that have not ended by its try log."""
    _redirect_output(job)
    os.environ.update(job.environment, AIRFLOW__EIP__ENVIRONMENT="stress", AWS_SDK_UA_APP_ID=job.worker)
    process = SimulatedProcess(lambda seconds: time.sleep(seconds / job.options.time_scale))
    reuse_clients()
    kill_between_calls(process)
    simulated = botocore.endpoint.time = simulated_clock(job, process)
    with clock.used(simulated):
        dag_runs.run_all(job, TryLog(job.try_log), process=process, killed=ProcessKilled)


def simulated_clock(job: Job, process: SimulatedProcess) -> SimulatedClock:
    """Return the local EMR's clock, which is the machine's, but faster; a killed process cannot sleep by it."""
    began, scale = job.real_zero, job.options.time_scale
    return SimulatedClock(lambda: job.zero + (time.monotonic() - began) * scale, process.sleep)


def reuse_clients() -> None:
    """Share clients between hooks: each operator has its own hooks, and making a client is slow."""
    create, clients = AwsGenericHook.get_client_type, {}

    def get(hook: Any, region_name: str | None = None, config: Any = None, **options: Any) -> Any:
        key = (hook.client_type, region_name, json.dumps(config.retries if config else None))
        if key not in clients:
            clients[key] = create(hook, region_name=region_name, config=config, **options)
        return clients[key]

    AwsGenericHook.get_client_type = get


def kill_between_calls(process: SimulatedProcess) -> None:
    """Count every call to AWS, and raise from it once the process was killed."""
    send = botocore.client.BaseClient._make_api_call

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        process.check_alive()
        try:
            return send(client, operation, parameters)
        finally:
            process.count_call()
            process.check_alive()

    botocore.client.BaseClient._make_api_call = call


def _redirect_output(job: Job) -> None:
    log = os.open(job.directory / f"{job.worker}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    logging.disable(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
