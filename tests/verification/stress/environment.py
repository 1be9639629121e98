"""The environment of a stress test: the local EMR with random faults, and the worker processes, some of them killed."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import random
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import boto3
import moto.core.responses
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.models import s3_backends

from harness.wait import wait_for_clusters_to_end
from local_emr import LocalAws, ScaledClock
from local_emr.testing import client_environment
from tests.verification.stress import plan, try_log, worker
from tests.verification.stress.log_reader import address_of_call, worker_of
from tests.verification.stress.random_faults import RandomFaults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_emr.events import Event
    from tests.verification.stress.plan import Job, Options
    from tests.verification.stress.try_log import TryEvent

_WRITES = frozenset({"PutItem", "PutObject"})
_TERMINATED_VISIBLE_SECONDS = 3600.0  # EC2 shows a terminated instance for about an hour


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The input of the judge.

    :param events: the local EMR's log, with the kills of worker processes ("kill") and the content of the lock store
        after each write ("stored").
    :param try_events: from the try logs of all workers.
    """

    events: list[Event]
    try_events: list[TryEvent]
    wall_seconds: float
    simulated_seconds: float


class Environment:
    """
    Sets up and runs one stress test.

    :param directory: for try logs and other logs.
    :param report_progress: is called with lines of text about the progress.
    """

    def __init__(self, options: Options, directory: Path, *, report_progress: Callable[[str], None]) -> None:
        self._options = options
        self._directory = directory
        self._report_progress = report_progress
        self._dice = random.Random(options.seed)
        self._faults = RandomFaults(options.seed, time_scale=options.time_scale)
        start, self._real_zero = datetime.now(UTC), time.monotonic()
        self._zero = start.timestamp()
        self._aws = LocalAws(clock=ScaledClock(options.time_scale, start=start), durations=options.durations)
        self._aws.faults = self._faults
        self._aws.reset()  # only clusters that are made after this take their faults from it
        self._aws.events.listeners.append(self._on_event)
        self._periods = 0

    def run(self) -> Outcome:
        """Run all lease periods."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.verification.stress.forkserver_preload"])
        cache_moto_lookups()
        gc.set_threshold(50_000, 20, 100)  # the log grows large; frequent full collections would stop the server
        with self._aws:
            allocation_ids = self._set_up()
            self._faults.paused = False
            jobs = [self._job(number, allocation_ids) for number in range(self._options.processes)]
            running = {}
            for job in jobs:
                running[job.worker] = (job, self._start(context, job))
            begun = time.monotonic()
            self._watch(context, running)
            wall = time.monotonic() - begun
            simulated = wall * self._options.time_scale
            self._faults.paused = True
            wait_for_clusters_to_end(self._aws, plan.IDLE_SECONDS + self._options.durations.terminating)
        try_events = [event for job in jobs for event in try_log.read(job.try_log)]
        return Outcome(self._aws.events.read(), try_events, wall, simulated)

    def _set_up(self) -> tuple[str, ...]:
        session = boto3.Session("testing", "testing", region_name=self._aws.region)
        endpoint = {"endpoint_url": self._aws.endpoint_url}
        if self._options.store == "s3":
            region = {"LocationConstraint": self._aws.region}
            session.client("s3", **endpoint).create_bucket(Bucket="leases", CreateBucketConfiguration=region)
        ec2 = session.client("ec2", **endpoint)
        return tuple(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(self._options.addresses))

    def _job(self, number: int, allocation_ids: tuple[str, ...]) -> Job:
        return plan.Job(
            options=self._options,
            number=number,
            environment=client_environment(self._aws),
            allocation_ids=allocation_ids,
            directory=self._directory,
            zero=self._zero,
            real_zero=self._real_zero,
        )

    @staticmethod
    def _start(context: Any, job: Job) -> Any:
        process = context.Process(target=worker.main, args=(job,), daemon=True)
        process.start()
        return process

    def _watch(self, context: Any, running: dict[str, tuple[Job, Any]]) -> None:
        """
        Kill some workers, restart them, and return when all have exited with 0.

        :raises RuntimeError: when one has exited with an error.
        """
        total = self._options.total
        kills = sorted(self._dice.randrange(total // 10, total * 9 // 10) for _ in range(self._options.kills))
        reported = 0
        while running:
            multiprocessing.connection.wait([process.sentinel for _, process in running.values()], timeout=0.2)
            if kills and self._periods >= kills[0]:
                kills.pop(0)
                self._kill(*self._dice.choice([(name, process) for name, (_, process) in running.items()]))
            for name, (job, process) in tuple(running.items()):
                if process.exitcode == 0:
                    del running[name]
                elif process.exitcode == -signal.SIGKILL:
                    running[name] = (job, self._start(context, job))
                elif process.exitcode is not None:
                    raise RuntimeError(f"worker {name} failed; see {self._directory / name}.log")
            if self._periods * 10 // total > reported:
                reported = self._periods * 10 // total
                self._report_progress(f"{self._periods} of {total} lease periods")

    def _kill(self, name: str, process: Any) -> None:
        if process.is_alive():
            process.kill()
            process.join()
            self._aws.events.append("kill", worker=name)

    def _on_event(self, event: Event) -> None:
        """Count lease periods, log what the lock store has after a write, and schedule the removal of instances."""
        if event["kind"] == "address" and event["change"] == "disassociated":
            self._periods += 1
        if event["kind"] == "call" and event["operation"] in _WRITES and event["status"] == HTTPStatus.OK:
            record, allocation_id = _stored_text(event["request"]), address_of_call(event)
            self._aws.events.append("stored", worker=worker_of(event), record=record, allocation_id=allocation_id)
        if event["kind"] == "cluster" and event["to"] in {"TERMINATED", "TERMINATED_WITH_ERRORS"}:
            remove = partial(self._remove_instances, event["job_flow_id"])
            self._aws.clock.call_later(_TERMINATED_VISIBLE_SECONDS, remove, name="EC2 forgets instances")

    def _remove_instances(self, job_flow_id: str) -> None:
        """Remove a cluster's instances from moto, which never does; thousands of them make DescribeInstances slow."""
        with self._aws.lock:
            backend = self._aws.ec2(self._aws.region).backend
            instance_ids = {node.instance.id for node in self._aws.cluster(job_flow_id).nodes() if node.instance}
            for number, reservation in tuple(backend.reservations.items()):
                if any(instance.id in instance_ids for instance in reservation.instances):
                    del backend.reservations[number]
            for instance_id in instance_ids:
                backend.tags.pop(instance_id, None)


def cache_moto_lookups() -> None:
    """Cache two look-ups of constant data that moto makes for every call; they take half of the time of a call."""
    DomainDispatcherApplication.get_backend_for_host = cache(DomainDispatcherApplication.get_backend_for_host)
    moto.core.responses.method_names_from_class = cache(moto.core.responses.method_names_from_class)


def _stored_text(request: dict[str, Any]) -> str:
    if "Item" in request:
        return str(request["Item"]["record"]["S"])
    body = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(request["Bucket"], request["Key"]).value
    return str(body.decode())
