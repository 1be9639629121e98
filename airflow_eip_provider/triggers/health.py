"""
Monitoring the health of a cluster's primary node.

Each round reads one thing from AWS, through the poller of all waits, and makes every HTTP check, in the event loop.
:mod:`~airflow_eip_provider.health.judgement` judges the results.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import READY_STATES, Cluster
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.aws.instance_status import GONE_STATES
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.checks import (
    EC2_INSTANCE_STATUS,
    EC2_STATE,
    EC2_SYSTEM_STATUS,
    EMR_STATE,
    checked_checks,
)
from airflow_eip_provider.health.http import HttpChecker
from airflow_eip_provider.health.judgement import HealthHistory, Judgement, Result, Threshold
from airflow_eip_provider.rendered import is_nothing
from airflow_eip_provider.triggers.connection import read_login
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.aws.clusters import ClusterStatus
    from airflow_eip_provider.aws.instance_status import InstanceStatus
    from airflow_eip_provider.triggers.observed import Observed, Wants

log = logging.getLogger(__name__)

CALLS_PER_MINUTE = 3
_MINUTE = 60.0
# A cluster is WAITING shortly before all of its services answer. HTTP checks that fail in this time do not count.
SETTLE_SECONDS = 120.0
HOSTS = ("private_ip", "private_dns", "public_ip")
_PLACEHOLDERS = (*HOSTS, "instance_id", "job_flow_id")

Until = Literal["unhealthy", "healthy", "decided"]  # "decided": healthy or unhealthy
Turn = Literal["cluster", "instance", "primary"]


@dataclass
class Known:
    """
    What is known of AWS, as plain JSON. A deferral carries it, so that the triggerer need not read it again.

    :param since: when the monitoring began.
    :param start_by: until when the cluster may be starting.
    :param settled_at: from when on a failed HTTP check counts.
    :param primary: the primary node's addresses, by the names in ``HOSTS``, and its ``instance_id``.
    :param is_tagged: EC2 shows EMR's tags on instances to these credentials.
    :param calls: the times of the calls to AWS within the last minute.
    """

    since: float
    start_by: float
    settled_at: float = 0.0
    primary: dict[str, str | None] | None = None
    is_tagged: bool = True
    calls: list[float] = field(default_factory=list)


def host_of(primary: dict[str, str | None], host: str, *, job_flow_id: str) -> str | None:
    """
    Return the host name of the HTTP checks; ``None`` while EC2 does not show an address that it needs.

    :param host: one of ``HOSTS``, or a text with placeholders such as ``{private_ip}``.
    """
    if host in HOSTS:
        return primary.get(host)
    for name, value in {**primary, "job_flow_id": job_flow_id}.items():
        if f"{{{name}}}" in host:
            if value is None:
                return None
            host = host.replace(f"{{{name}}}", value)
    return host


def check_host(host: object) -> None:
    """
    Check the parameter ``host``.

    :raises InvalidInputError: when it is neither one of ``HOSTS`` nor a host name.
    """
    name = str(host)
    for placeholder in _PLACEHOLDERS:
        name = name.replace(f"{{{placeholder}}}", "x")
    if not isinstance(host, str) or is_nothing(host) or any(character in name for character in "{}/ @?#\n\t"):
        placeholders = ", ".join(f"{{{placeholder}}}" for placeholder in _PLACEHOLDERS)
        raise InvalidInputError(
            f"checking host {host!r}",
            problem="this is neither one of the choices nor a host name",
            remedy=f"use one of {HOSTS}, or a name that may contain {placeholders}",
        )


class PrimaryWatch:
    """
    The monitoring of one primary node: what it reads next, and the verdict.

    It makes at most three calls to AWS a minute, whatever the polling interval. It reads the cluster's state and the
    instance's status checks in turn; what has to be confirmed comes first.

    :param checks: as mappings.
    :param known: is updated with each round.
    """

    def __init__(
        self,
        *,
        job_flow_id: str,
        checks: Sequence[dict[str, Any]],
        until: Until,
        unhealthy_after: str,
        healthy_after: str,
        host: str,
        known: Known,
        start_seconds: float | None = None,
    ) -> None:
        self.known = known
        self._job_flow_id = job_flow_id
        self._checks = checked_checks(checks)
        self._until = until
        self._host = host
        self._start_seconds = start_seconds
        self._checker = HttpChecker(self._checks)
        self._logins: dict[str, tuple[str, str]] | None = None
        self._status: ClusterStatus | None = None
        self._results: list[Result] = []
        self._is_first_round = True
        self._no_host_since, self._primary_read_at = math.inf, -math.inf
        turns: tuple[Turn, ...] = ("cluster", "instance", "primary") if "public_ip" in host else ("cluster", "instance")
        self._turns = deque(turns)
        self._history = HealthHistory(
            [EMR_STATE, *(check.name for check in self._checks)],
            Threshold.parse(unhealthy_after, parameter="unhealthy_after"),
            Threshold.parse(healthy_after, parameter="healthy_after"),
            known.since,
        )

    @property
    def is_suspicious(self) -> bool:
        """Whether a failure has to be confirmed by further rounds."""
        return self._history.is_suspicious

    @property
    def instance_id(self) -> str | None:
        """The primary node's instance, if it is known."""
        return (self.known.primary or {}).get("instance_id")

    def turn(self, now: float) -> Turn | None:
        """Return what to read from AWS; ``None`` when the calls of the last minute have reached the limit."""
        self.known.calls = [at for at in self.known.calls if at > now - _MINUTE]
        if len(self.known.calls) >= CALLS_PER_MINUTE:
            return None
        if EMR_STATE in self._history.claimed:
            return "cluster"
        if EC2_STATE in self._history.claimed:
            return "primary" if self.known.is_tagged else "instance"
        is_host_missing = self._no_host_since < math.inf
        if is_host_missing or (self.known.primary is None and self._turns[0] != "cluster"):
            return "primary"
        return self._turns[0]

    def poll(self, observed: Observed) -> Verdict:
        """Make a round in a worker; the first one reads everything from AWS, later ones one thing each."""
        now = clock.time()
        if self._is_first_round:
            self.read_all(observed, now=now)
        else:
            self.read(observed, self.turn(now), now=now)
        return self.judge(asyncio.run(self.ask()), now=clock.time())

    def read(self, observed: Observed, turn: Turn | None, *, now: float) -> None:
        """
        Read one thing from AWS, and credentials from Airflow connections if they are not known; called in a thread.

        If AWS does not answer, the HTTP checks are made nevertheless.
        """
        self._results = []
        if turn is not None:
            self._read(observed, turn, now=now)
            if turn == self._turns[0] or self._turns[0] == "instance":
                self._turns.rotate(-1)
        self._prepare()

    def read_all(self, observed: Observed, *, now: float) -> None:
        """Read everything from AWS, in the first round."""
        self._results, self._is_first_round = [], False
        self._read(observed, "cluster", now=now)
        if self._status is not None and not self._status.is_ending:
            self._read(observed, "primary", now=now)
            if self.instance_id is not None:
                self._read(observed, "instance", now=now)
        self._prepare()

    def _prepare(self) -> None:
        self._checker.prepare()
        if self._logins is None:
            names = {check.auth_conn_id for check in self._checks if check.auth_conn_id}
            self._logins = {name: read_login(name) for name in sorted(names)}

    def _read(self, observed: Observed, turn: Turn, *, now: float) -> None:
        self.known.calls.append(now)
        reads: dict[Turn, Callable[[Observed, float], list[Result]]] = {
            "cluster": self._read_cluster,
            "primary": self._read_primary,
            "instance": self._read_instance,
        }
        try:
            self._results += reads[turn](observed, now)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("AWS did not answer, reading again later: %s", error)

    def _read_cluster(self, observed: Observed, now: float) -> list[Result]:
        job_flow_id = self._job_flow_id
        read = observed.cluster if self._status is None else observed.status
        self._status = status = read(job_flow_id)
        if status is None:
            problem = f"EMR does not know cluster '{job_flow_id}'"
            return [Result(EMR_STATE, now, ok=None, problem=problem, kind="unknown")]
        if isinstance(status, Cluster) and status.age is not None and status.created_at is not None:
            created = now - status.age.total_seconds()
            if self._start_seconds is not None:
                self.known.start_by = created + self._start_seconds
            if status.ready_at is not None:
                ready = created + (status.ready_at - status.created_at).total_seconds()
                self.known.settled_at = max(self.known.settled_at, ready + SETTLE_SECONDS)
        if status.is_ending:
            return [Result(EMR_STATE, now, ok=False, problem=f"{status.state}: {status.reason}", kind="final")]
        if status.state in READY_STATES:
            return [Result(EMR_STATE, now, ok=True)]
        self.known.settled_at = max(self.known.settled_at, now + SETTLE_SECONDS)
        if now < self.known.start_by:
            problem = f"cluster {job_flow_id} is {status.state}"
            return [Result(EMR_STATE, now, ok=None, problem=problem, kind="starting")]
        return [Result(EMR_STATE, now, ok=False, problem=f"still {status.state} after its start timeout")]

    def _read_primary(self, observed: Observed, now: float) -> list[Result]:
        """Read the primary instance: at first, when the known one is gone, and while it has no address for the host."""
        self._primary_read_at = now
        primary = observed.tagged_primary(self._job_flow_id)
        if primary is None and self.instance_id is None and self._is_ready:
            # EC2 does not show EMR's tags on instances. EMR does, once, with some more calls.
            self.known.calls += [now] * 3
            _, primary = observed.primary(self._job_flow_id) or (None, None)
            self.known.is_tagged = primary is None
        if primary is None:
            is_confirmed = self.instance_id is not None and EC2_STATE in self._history.claimed
            return [_gone(str(self.instance_id), "terminated", now)] if is_confirmed else self._absent(now)
        if primary.state in GONE_STATES:
            is_known = primary.instance_id == self.instance_id
            return [_gone(primary.instance_id, primary.state, now)] if is_known else self._absent(now)
        addresses = {name: getattr(primary, name) for name in HOSTS}
        self.known.primary = {"instance_id": primary.instance_id, **addresses}
        return [Result(EC2_STATE, now, ok=True)] if primary.state == "running" else []

    def _absent(self, now: float) -> list[Result]:
        """Return a failure if no instance was ever found: EMR shows WAITING long after the primary node was lost."""
        if self.instance_id is not None or not self._is_ready or now < self.known.settled_at:
            return []
        return [Result(EC2_STATE, now, ok=False, problem="EC2 shows no instance that runs as its primary node")]

    @property
    def _is_ready(self) -> bool:
        return self._status is not None and self._status.state in READY_STATES

    def _read_instance(self, observed: Observed, now: float) -> list[Result]:
        instance_id = self.instance_id
        status = observed.instance_status(instance_id) if instance_id else None
        return [] if status is None else _platform_results(status, now)

    async def ask(self) -> list[Result]:
        """Make the HTTP checks; none while the host is not known, or an error if it stays unknown."""
        if self.known.primary is None or (self._status is not None and self._status.is_ending):
            return []
        host = host_of(self.known.primary, self._host, job_flow_id=self._job_flow_id)
        if host is not None:
            self._no_host_since = math.inf
            return await self._checker.check_all(host, self._logins or {})
        now = clock.time()
        self._no_host_since = min(self._no_host_since, now)
        if self._primary_read_at < self._no_host_since + READS_LAG_SECONDS:
            return []  # EC2 may not show the address yet
        problem = f"instance '{self.instance_id}' has no address for host '{self._host}'"
        return [Result(check.name, now, ok=False, problem=problem, kind="refused") for check in self._checks]

    def judge(self, answers: Sequence[Result], *, now: float) -> Verdict:
        """Judge the round: the results of the last read from AWS, and these of the HTTP checks."""
        if any(answer.kind == "refused" for answer in answers):
            self._logins = None  # the connection may have a new password
        counted = [answer for answer in answers if not (answer.failed and now < self.known.settled_at)]
        judgement = self._history.add([*self._results, *counted])
        self._results = []
        return self._verdict(judgement, now=now)

    def _verdict(self, judgement: Judgement, *, now: float) -> Verdict:
        facts = self._facts(judgement, now=now)
        node = f"{self.instance_id}, {facts['host']}" if self.known.primary else "not found yet"
        message = f"Primary node of cluster {self._job_flow_id} ({node}): {judgement.status}"
        message += f"; {judgement.message}" if judgement.message else ""
        if judgement.status in {"unknown", "refused"}:
            return Verdict("failed", message, {**facts, "gone": judgement.status})
        wanted = ("healthy", "unhealthy") if self._until == "decided" else (self._until,)
        if judgement.status in wanted:
            return Verdict("done", message, facts)
        cluster_ended = judgement.ended and any(failure.check == EMR_STATE for failure in judgement.failures)
        if self._until == "healthy" and cluster_ended and self._status is not None:
            gone = {"gone": "cluster", "state": self._status.state, "reason": self._status.reason}
            return Verdict("failed", message, {**facts, **gone})
        return Verdict("pending", message, facts)

    def _facts(self, judgement: Judgement, *, now: float) -> dict[str, Any]:
        primary = self.known.primary
        failures = [
            {**asdict(failure), "since": _moment(failure.since), "at": _moment(failure.at)}
            for failure in judgement.failures
        ]
        first = failures[0] if failures else {}
        return {
            "status": judgement.status,
            "job_flow_id": self._job_flow_id,
            "instance_id": self.instance_id,
            "host": host_of(primary, self._host, job_flow_id=self._job_flow_id) if primary else None,
            "check": first.get("check"),
            "problem": first.get("problem"),
            "at": first.get("at", _moment(now)),
            "ended": judgement.ended,
            "failures": failures,
        }


def _gone(instance_id: str, state: str, now: float) -> Result:
    return Result(EC2_STATE, now, ok=False, problem=f"instance '{instance_id}' is {state}", kind="final")


def _platform_results(status: InstanceStatus, now: float) -> list[Result]:
    if status.state in GONE_STATES:
        return [_gone(status.instance_id, status.state, now)]
    checks = {EC2_INSTANCE_STATUS: status.instance_check, EC2_SYSTEM_STATUS: status.system_check}
    meaning = {"ok": True, "impaired": False}  # other values are neither
    return [
        Result(EC2_STATE, now, ok=True if status.state == "running" else None),
        *(
            Result(check, now, ok=meaning.get(value), problem=f"instance '{status.instance_id}' is {value}")
            for check, value in checks.items()
        ),
    ]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@dataclass(kw_only=True, eq=False, repr=False)
class EmrPrimaryHealthTrigger(WatchTrigger):
    """
    Wait until a cluster's primary node is unhealthy, or until it is healthy.

    :param checks: the HTTP checks, as mappings; see :class:`~airflow_eip_provider.health.checks.HttpCheck`.
    :param until: "unhealthy" or "healthy"; "decided" for either.
    :param unhealthy_after: "N/M": N failures in the last M rounds; ``healthy_after`` is the same for successes.
    :param host: the host of the HTTP checks; see :func:`host_of`.
    :param known: what the first round in the worker has found; see :class:`Known`.
    """

    job_flow_id: str
    checks: list[dict[str, Any]]
    until: Until
    unhealthy_after: str
    healthy_after: str
    host: str
    known: dict[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._turn: Turn | None = None

    @functools.cached_property  # not in the constructor: the triggerer would end at a check that it does not know
    def _watch(self) -> PrimaryWatch:
        return PrimaryWatch(
            job_flow_id=self.job_flow_id,
            checks=self.checks,
            until=self.until,
            unhealthy_after=self.unhealthy_after,
            healthy_after=self.healthy_after,
            host=self.host,
            known=Known(**self.known),
        )

    def announce(self, wants: Wants) -> None:
        """Add the one thing that this round reads."""
        self._turn = self._watch.turn(clock.time())
        if self._turn == "cluster":
            wants.clusters.add(self.job_flow_id)
        elif self._turn == "primary":
            wants.primaries.add(self.job_flow_id)
        elif self._turn == "instance" and (instance_id := self._watch.instance_id) is not None:
            wants.instance_statuses.add(instance_id)

    def judge(self, observed: Observed) -> Verdict:
        """Read from AWS; ``complete`` makes the HTTP checks and returns the verdict."""
        self._watch.read(observed, self._turn, now=clock.time())
        return Verdict("pending", "read from AWS")

    async def complete(self, verdict: Verdict) -> Verdict:
        """Make the HTTP checks, and judge the round."""
        answers = await self._watch.ask()
        return self._watch.judge(answers, now=clock.time())
