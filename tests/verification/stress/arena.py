"""Where a run takes place: the local EMR with its weather, and the worker processes, some of which are killed."""

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

from local_emr import LocalAws, ScaledClock
from tests.verification.stress import journal, plan, worker
from tests.verification.stress.traces import worker_of
from tests.verification.stress.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_emr.events import Event
    from tests.verification.stress.journal import Note
    from tests.verification.stress.plan import Job, Options

_WRITES = frozenset({"PutItem", "PutObject"})
_SHOWN_SECONDS = 3600.0  # EC2 shows a terminated instance for about an hour
_MARGIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What is left of a run for the judge.

    :param events: the local EMR's log; kills of worker processes ("kill") and what the lock store holds after each
        write ("stored") are in it, too.
    :param notes: the journals of the workers.
    """

    events: list[Event]
    notes: list[Note]
    wall_seconds: float
    simulated_seconds: float


class Arena:
    """
    One run.

    :param directory: for journals and logs.
    :param say: tells a person how it goes.
    """

    def __init__(self, options: Options, directory: Path, *, say: Callable[[str], None]) -> None:
        self._options = options
        self._directory = directory
        self._say = say
        self._dice = random.Random(options.seed)
        self._weather = Weather(options.seed, time_scale=options.time_scale)
        start, self._real_zero = datetime.now(UTC), time.monotonic()
        self._zero = start.timestamp()
        self._aws = LocalAws(clock=ScaledClock(options.time_scale, start=start), durations=options.durations)
        self._aws.faults = self._weather
        self._aws.reset()  # the clusters' lives begin anew, in this weather
        self._aws.events.listeners.append(self._note)
        self._periods = 0

    def run(self) -> Outcome:
        """Run all lease periods."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.verification.stress.warm"])
        let_moto_remember()
        gc.set_threshold(50_000, 20, 100)  # the log grows large; to look through all of it often would stop the server
        with self._aws:
            allocation_id = self._set_up()
            self._weather.calm = False
            jobs = [self._job(number, allocation_id) for number in range(self._options.processes)]
            running = {}
            for job in jobs:
                running[job.worker] = (job, self._start(context, job))
            begun = time.monotonic()
            self._watch(context, running)
            wall = time.monotonic() - begun
            simulated = wall * self._options.time_scale
            self._weather.calm = True
            self._wait_for_the_end()
        notes = [note for job in jobs for note in journal.read(job.journal)]
        return Outcome(self._aws.events.read(), notes, wall, simulated)

    def _set_up(self) -> str:
        known = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": self._aws.region}
        session = boto3.Session(**known)
        if self._options.store == "s3":
            where = {"LocationConstraint": self._aws.region}
            self._client(session, "s3").create_bucket(Bucket="leases", CreateBucketConfiguration=where)
        return str(self._client(session, "ec2").allocate_address(Domain="vpc")["AllocationId"])

    def _client(self, session: Any, service: str) -> Any:
        return session.client(service, endpoint_url=self._aws.endpoint_url)

    def _job(self, number: int, allocation_id: str) -> Job:
        return plan.Job(
            options=self._options,
            number=number,
            endpoint_url=self._aws.endpoint_url,
            region=self._aws.region,
            allocation_id=allocation_id,
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
        Kill some workers, start them again, and return when all have ended by themselves.

        :raises RuntimeError: when one has ended by an error of its own.
        """
        total = self._options.total
        kills = sorted(self._dice.randrange(total // 10, total * 9 // 10) for _ in range(self._options.kills))
        told = 0
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
            if self._periods * 10 // total > told:
                told = self._periods * 10 // total
                self._say(f"{self._periods} of {total} lease periods")

    def _kill(self, name: str, process: Any) -> None:
        if process.is_alive():
            process.kill()
            process.join()
            self._aws.events.append("kill", worker=name)

    def _wait_for_the_end(self) -> None:
        """Let EMR end what is ending; what nobody ends does so when it has been idle for long enough."""
        takes = plan.IDLE_SECONDS + self._options.durations.terminating + _MARGIN_SECONDS
        deadline = self._aws.clock.now().timestamp() + takes
        while self._aws.clock.now().timestamp() < deadline and any(
            cluster.ended is None for cluster in self._aws.emr.life.clusters
        ):
            time.sleep(0.05)

    def _note(self, event: Event) -> None:
        """Follow the log: count lease periods, note what the lock store holds, and forget instances as EC2 does."""
        if event["kind"] == "address" and event["change"] == "disassociated":
            self._periods += 1
        if event["kind"] == "call" and event["operation"] in _WRITES and event["status"] == HTTPStatus.OK:
            self._aws.events.append("stored", worker=worker_of(event), record=_stored(event["request"]))
        if event["kind"] == "cluster" and event["to"] in {"TERMINATED", "TERMINATED_WITH_ERRORS"}:
            forget = partial(self._forget, event["job_flow_id"])
            self._aws.clock.call_later(_SHOWN_SECONDS, forget, name="EC2 forgets instances")

    def _forget(self, job_flow_id: str) -> None:
        """Drop a cluster's instances from moto, which never does; with thousands, every look would take long."""
        with self._aws.lock:
            backend = self._aws.ec2(self._aws.region).backend
            gone = {node.instance.id for node in self._aws.cluster(job_flow_id).nodes() if node.instance}
            for number, reservation in tuple(backend.reservations.items()):
                if any(instance.id in gone for instance in reservation.instances):
                    del backend.reservations[number]
            for instance_id in gone:
                backend.tags.pop(instance_id, None)


def let_moto_remember() -> None:
    """Keep what moto looks up anew for every call: its own folders and its own methods, half of the time of a call."""
    DomainDispatcherApplication.get_backend_for_host = cache(DomainDispatcherApplication.get_backend_for_host)
    moto.core.responses.method_names_from_class = cache(moto.core.responses.method_names_from_class)


def _stored(request: dict[str, Any]) -> str:
    if "Item" in request:
        return str(request["Item"]["record"]["S"])
    body = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(request["Bucket"], request["Key"]).value
    return str(body.decode())
