"""Reads record versions, store calls of workers, and clusters from the event log, without the code under test."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from harness.judge import TOKEN_TAG, calls, launches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.judge import Event

READS = frozenset({"GetItem", "GetObject"})
_REFUSALS = frozenset({"ConditionalCheckFailedException", "PreconditionFailed"})
_ADDRESS = re.compile(r"eipalloc-\w+")
_WORKER = re.compile(r"\bapp/(\w+)")


@dataclass(frozen=True, slots=True)
class RecordVersion:
    """
    The record after one write, as plain JSON.

    :param worker: the worker that wrote it.
    :param allocation_id: of the record's address; None in logs with one address only.
    """

    seq: int
    time: float
    worker: str | None
    record: dict[str, Any]
    allocation_id: str | None = None

    @property
    def lease(self) -> dict[str, Any] | None:
        """The lease, if there is one."""
        return self.record["lease"]

    @property
    def token(self) -> int | None:
        """The lease's token."""
        return self.lease["token"] if self.lease else None

    def place(self, token: int) -> int | None:
        """Return a token's place in the queue, from 0."""
        return next((k for k, entry in enumerate(self.record["queue"]) if entry["token"] == token), None)


@dataclass(frozen=True, slots=True)
class WorkerCall:
    """A call of a worker to the lock store: an answered read, or a refused write."""

    seq: int
    time: float
    worker: str


def seconds(event: Event) -> float:
    """Return an event's time in seconds since the epoch."""
    return datetime.fromisoformat(event["time"]).timestamp()


def worker_of(event: Event) -> str | None:
    """Return the worker process that made a call."""
    match = _WORKER.search(event["user_agent"])
    return match[1] if match else None


def address_of_call(event: Event) -> str | None:
    """Return the address whose record a call of the lock store reads or writes."""
    request = event.get("request") or {}
    match = _ADDRESS.search(str(request.get("Key") or request.get("Item", {}).get("address", "")))
    return match[0] if match else None


def worker_of_owner(name: str) -> str:
    """Return the worker process that runs an owner's DAG run: its name is the first part of the run id."""
    return name.split("/")[2].split("-", maxsplit=1)[0]


def record_versions(events: Iterable[Event]) -> list[RecordVersion]:
    """Return every version of the record, in the order of the writes."""
    return [
        RecordVersion(
            event["seq"], seconds(event), event["worker"], unpack(event["record"]), event.get("allocation_id")
        )
        for event in events
        if event["kind"] == "stored"
    ]


def unpack(text: str) -> dict[str, Any]:
    """Return a stored record as plain JSON; a long one is compressed."""
    record: dict[str, Any] = json.loads(text)
    if "packed" in record:
        record = json.loads(zlib.decompress(b64decode(record["packed"])))
    return record


def record_reads(events: Iterable[Event], allocation_id: str | None = None) -> list[WorkerCall]:
    """Return every answered read of the record, or of one of several records."""
    return [
        WorkerCall(event["seq"], seconds(event), worker)
        for event in events
        if event["kind"] == "call" and event["operation"] in READS and event["status"] == HTTPStatus.OK
        if allocation_id in {None, address_of_call(event)} and (worker := worker_of(event)) is not None
    ]


def calls_of_workers(events: Iterable[Event]) -> dict[str, list[float]]:
    """Return the times of the calls to AWS by worker process."""
    times: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["kind"] == "call" and (worker := worker_of(event)) is not None:
            times[worker].append(seconds(event))
    return times


def refused_writes(events: Iterable[Event], allocation_id: str | None = None) -> list[WorkerCall]:
    """Return every write that was refused because the record had changed since it was read."""
    return [
        WorkerCall(event["seq"], seconds(event), str(worker_of(event)))
        for event in events
        if event["kind"] == "call"
        and event["error_code"] in _REFUSALS
        and allocation_id in {None, address_of_call(event)}
    ]


def tokens_of_clusters(events: Iterable[Event]) -> dict[str, int]:
    """Return the fencing token of each cluster, from its newest tags: those of its launch may be replaced later."""
    log = list(events)
    tokens = {launch.job_flow_id: int(launch.tags[TOKEN_TAG]) for launch in launches(log) if TOKEN_TAG in launch.tags}
    for call in calls(log, "AddTags"):
        for tag in () if call.get("error_code") else call["request"]["Tags"]:
            if tag["Key"] == TOKEN_TAG:
                tokens[call["request"]["ResourceId"]] = int(tag["Value"])
    return tokens


def termination_reasons(events: Iterable[Event]) -> dict[str, tuple[str, str]]:
    """Return EMR's code and message of the reason for the end of each cluster."""
    return {
        event["job_flow_id"]: (event["reason"]["Code"], event["reason"]["Message"])
        for event in events
        if event["kind"] == "cluster" and event["to"] == "TERMINATING"
    }
