"""Runs each owner in a separate process, in simulated time that advances only while all of them sleep."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.clients.figures import ClientConfig
    from local_emr import LocalAws

_SCRIPTS = Path(__file__).parent / "scripts"
_REAL_SECONDS = 120  # a scenario that takes longer is ended


class OwnerFailedError(RuntimeError):
    """The process of an owner ended with an error."""


@dataclass(slots=True, eq=False)
class Owner:
    """
    One process that wants the lock.

    :param due: when the first of its sleeping threads wakes up; None while one works.
    :param facts: the simulated time of each fact that it sent.
    """

    name: str
    process: subprocess.Popen[str]
    due: float | None = None
    paused: bool = False
    gone: bool = False
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def acquired(self) -> bool:
        """Whether it has had the lock."""
        return "acquired" in self.facts

    @property
    def lease_period(self) -> tuple[float, float]:
        """Start and end of the time in which it acted as the holder."""
        ends = [at for name, at in self.facts.items() if name in {"released", "loss noticed"}]
        return self.facts.get("acquired", math.inf), min(ends, default=math.inf)


class Simulation:
    """
    One scenario of one client: its own table or bucket with one lock, and the owners that want the lock.

    :param location: the name of the table or bucket.
    """

    def __init__(self, aws: LocalAws, python: Path, config: ClientConfig, location: str) -> None:
        self.now = 0.0
        self.owners: list[Owner] = []
        self._aws = aws
        self._python = python
        self._config = config
        self._location = location
        self._epoch = aws.clock.now().timestamp()
        self._limit = threading.Timer(_REAL_SECONDS, self._end)
        self._create_location()
        self._first_event = len(aws.events.read())

    def __enter__(self) -> Self:
        self._limit.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        self._end()
        for owner in self.owners:
            owner.process.communicate()

    def enter(self, name: str, *, work: float, skew: float = 0.0) -> Owner:
        """Start one more owner, which works for this number of seconds once it has the lock."""
        config = self._config
        plan = {
            "epoch": self._epoch,
            "now": self.now,
            "skew": skew,
            "work": work,
            "lease": config.lease,
            "poll": config.poll,
            "location": self._location,
            "region": self._aws.region,
        }
        process = subprocess.Popen(  # noqa: S603 - a script of this project, by the Python that was made for it
            [self._python, _SCRIPTS / f"{config.script}.py", json.dumps(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.owners.append(Owner(name, process))
        return self.owners[-1]

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Advance the time by this number of seconds, or until a condition holds; return whether it does."""
        end = self.now + seconds
        while True:
            self._settle()
            if until():
                return True
            if self.now >= end:
                return False
            moments = [owner.due for owner in self._awake() if owner.due is not None]
            moment = max(self.now, min([end, *moments]))  # an owner that was paused may be overdue
            self._aws.clock.advance(moment - self.now)
            self.now = moment
            for owner in self._awake():
                if owner.due is not None and owner.due <= moment:
                    self._wake(owner)
                    self._read_until_idle(owner)  # one after the other, so that each run has the same result

    def kill(self, owner: Owner) -> None:
        """Kill an owner's process."""
        owner.process.kill()
        owner.gone = True

    def pause(self, owner: Owner) -> None:
        """Pause an owner's process."""
        os.kill(owner.process.pid, signal.SIGSTOP)
        owner.paused = True

    def resume(self, owner: Owner) -> None:
        """Continue a paused process; its sleep may be long overdue."""
        os.kill(owner.process.pid, signal.SIGCONT)
        owner.paused = False

    def calls(self) -> dict[str, int]:
        """Return the number of store calls by operation."""
        calls = self._aws.events.read(after=self._first_event, kind="call")
        return dict(Counter(call["operation"] for call in calls if call["service"] in {"dynamodb", "s3"}))

    def _awake(self) -> list[Owner]:
        return [owner for owner in self.owners if not (owner.paused or owner.gone)]

    def _settle(self) -> None:
        """Read the messages of every owner until all its threads sleep."""
        for owner in self._awake():
            self._read_until_idle(owner)

    def _read_until_idle(self, owner: Owner) -> None:
        while owner.due is None and not owner.gone:
            self._read_message(owner)

    def _read_message(self, owner: Owner) -> None:
        line = owner.process.stdout.readline() if owner.process.stdout else ""
        if not line:
            self._on_exit(owner)
            return
        message = json.loads(line)
        if "fact" in message:
            owner.facts[message["fact"]] = self.now
        else:
            owner.due = message["idle_until"]

    def _on_exit(self, owner: Owner) -> None:
        owner.gone = True
        if "released" not in owner.facts:
            _, errors = owner.process.communicate()
            last = errors.strip().splitlines()[-1:] or [f"it ended with {owner.process.returncode}"]
            raise OwnerFailedError(f"{owner.name}: {last[0]}")

    def _wake(self, owner: Owner) -> None:
        owner.due = None
        if owner.process.stdin:
            owner.process.stdin.write(json.dumps({"now": self.now}) + "\n")
            owner.process.stdin.flush()

    def _end(self) -> None:
        for owner in self.owners:
            owner.process.kill()

    def _create_location(self) -> None:
        if self._config.service == "s3":
            where = {"LocationConstraint": self._aws.region}
            boto3.client("s3").create_bucket(Bucket=self._location, CreateBucketConfiguration=where)
            return
        key = self._config.key
        boto3.client("dynamodb").create_table(
            TableName=self._location,
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
            BillingMode="PAY_PER_REQUEST",
        )
