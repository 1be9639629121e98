"""
Watching the health of a cluster's primary node.

A round asks AWS for one thing, and every HTTP check. AWS is asked through the poller of all waits; the HTTP checks are
made in the event loop. What both found is judged by :mod:`~airflow_eip_provider.health.judgement`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import READY_STATES, Cluster
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.aws.instance_status import GONE_STATES
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.checks import (
    EC2_INSTANCE_STATUS,
    EC2_STATE,
    EC2_SYSTEM_STATUS,
    EMR_STATE,
    checked_checks,
)
from airflow_eip_provider.health.http import HttpChecker
from airflow_eip_provider.health.judgement import HealthHistory, Judgement, Result, Threshold, facts_of
from airflow_eip_provider.triggers.connection import read_login
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.aws.addresses import Instance
    from airflow_eip_provider.aws.clusters import ClusterStatus
    from airflow_eip_provider.aws.instance_status import InstanceStatus
    from airflow_eip_provider.triggers.observed import Observed, Wants

log = logging.getLogger(__name__)

CALLS_PER_MINUTE = 3
_MINUTE = 60.0
# EMR says WAITING a little before every service answers; what fails until then is no failure.
SETTLE_SECONDS = 120.0
HOSTS = ("private_ip", "private_dns", "public_ip")
_PLACES = (*HOSTS, "instance_id", "job_flow_id")

Until = Literal["unhealthy", "healthy", "decided"]  # "decided": either of them
Turn = Literal["cluster", "instance", "primary"]


@dataclass
class Known:
    """
    What one watch knows of AWS, as plain JSON: a deferral carries it, so that the triggerer need not ask again.

    :param since: when the watch began.
    :param start_by: until when the cluster may be starting.
    :param settled_at: from when on a failed HTTP check counts.
    :param primary: the primary node's addresses, by the names in ``HOSTS``, and its ``instance_id``.
    :param is_tagged: EC2 shows EMR's tags on instances to these credentials.
    :param calls: when AWS was asked, within the last minute.
    """

    since: float
    start_by: float
    settled_at: float = 0.0
    primary: dict[str, str | None] | None = None
    is_tagged: bool = True
    calls: list[float] = field(default_factory=list)


def host_of(primary: dict[str, str | None], host: str, *, job_flow_id: str) -> str | None:
    """
    Return where the primary node is asked; ``None`` when EC2 does not show that address of it.

    :param host: one of ``HOSTS``, or a text with ``{private_ip}`` and its like in it.
    """
    if host in HOSTS:
        return primary.get(host)
    places = {name: primary.get(name) for name in _PLACES} | {"job_flow_id": job_flow_id}
    for name, value in places.items():
        if f"{{{name}}}" in host:
            if value is None:
                return None
            host = host.replace(f"{{{name}}}", value)
    return host


def check_host(host: object) -> None:
    """
    Check the parameter ``host``.

    :raises InvalidInputError: when it is none of the choices, and no name either.
    """
    left = str(host)
    for name in _PLACES:
        left = left.replace(f"{{{name}}}", "x")
    if not isinstance(host, str) or not left or any(sign in left for sign in "{}/ @?#\n\t"):
        raise InvalidInputError(
            f"checking host {host!r}",
            problem="this is neither a choice nor a host name",
            remedy=f"use one of {HOSTS}, or a name with {', '.join(f'{{{name}}}' for name in _PLACES)} in it",
        )


class PrimaryWatch:
    """
    One watch of a primary node: what it asks next, what it has found, and what that means.

    At most three calls of AWS a minute, however often it looks: it asks for the cluster's state and the instance's
    status checks in turn, and for what is to be confirmed first.

    :param checks: as mappings.
    :param known: is changed as more becomes known.
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
        self._found: list[Result] = []
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
        """Whether further rounds have something to confirm."""
        return self._history.is_suspicious

    @property
    def instance_id(self) -> str | None:
        """The primary node's instance, as far as it is known."""
        return (self.known.primary or {}).get("instance_id")

    def turn(self, now: float) -> Turn | None:
        """Return what AWS is to be asked for; ``None`` when it was asked often enough within the last minute."""
        self.known.calls = [at for at in self.known.calls if at > now - _MINUTE]
        if len(self.known.calls) >= CALLS_PER_MINUTE:
            return None
        if EMR_STATE in self._history.claimed:
            return "cluster"
        if EC2_STATE in self._history.claimed:
            return "primary" if self.known.is_tagged else "instance"
        if self.known.primary is None and self._turns[0] != "cluster":
            return "primary"
        return self._turns[0]

    def read(self, observed: Observed, turn: Turn | None, *, now: float) -> None:
        """
        Ask AWS for one thing, and an Airflow connection for credentials that are not known; called in a thread.

        A call that AWS does not answer is no reason to leave out the HTTP checks.
        """
        self._found = []
        if turn is not None:
            self._read(observed, turn, now=now)
            if turn == self._turns[0] or self._turns[0] == "instance":
                self._turns.rotate(-1)
        self._prepare()

    def read_all(self, observed: Observed, *, now: float) -> None:
        """Ask AWS for everything at once, as the first look does."""
        self._found = []
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
        ask: dict[Turn, Callable[[Observed, float], list[Result]]] = {
            "cluster": self._read_cluster,
            "primary": self._read_primary,
            "instance": self._read_instance,
        }
        try:
            self._found += ask[turn](observed, now)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("AWS gave no answer this time, asking again later: %s", error)

    def _read_cluster(self, observed: Observed, now: float) -> list[Result]:
        job_flow_id = self._job_flow_id
        first = self._status is None
        self._status = status = observed.cluster(job_flow_id) if first else observed.status(job_flow_id)
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
            return [
                Result(EMR_STATE, now, ok=None, problem=f"cluster {job_flow_id} is {status.state}", kind="starting")
            ]
        return [Result(EMR_STATE, now, ok=False, problem=f"still {status.state} when its start was to be over")]

    def _read_primary(self, observed: Observed, now: float) -> list[Result]:
        """Ask for the primary instance: at first, and when the one that was known is gone."""
        found = observed.tagged_primary(self._job_flow_id)
        if found is None and self.instance_id is None and self._is_ready:
            # EMR's tags on instances cannot be seen: EMR is asked, which takes some calls more, once.
            self.known.calls += [now] * 3
            found = (self._ask_emr(observed) or (None, None))[1]
            self.known.is_tagged = found is None
        if found is None:
            confirms = self.instance_id is not None and EC2_STATE in self._history.claimed
            return [_gone(str(self.instance_id), "terminated", now)] if confirms else self._absent(now)
        if found.instance_id != self.instance_id and found.state in GONE_STATES:
            return self._absent(now)
        if found.state in GONE_STATES:
            return [_gone(found.instance_id, found.state, now)]
        self._note_primary(found)
        return [Result(EC2_STATE, now, ok=True)] if found.state == "running" else []

    def _absent(self, now: float) -> list[Result]:
        """Judge a primary node that no look has shown: EMR may call its cluster WAITING long after it was lost."""
        if self.instance_id is not None or not self._is_ready or now < self.known.settled_at:
            return []
        return [Result(EC2_STATE, now, ok=False, problem="EC2 shows no instance that runs as its primary node")]

    def _ask_emr(self, observed: Observed) -> tuple[str, Instance | None] | None:
        return observed.primary(self._job_flow_id)

    @property
    def _is_ready(self) -> bool:
        return self._status is not None and self._status.state in READY_STATES

    def _note_primary(self, found: Instance) -> None:
        seen = {name: getattr(found, name) for name in HOSTS}
        self.known.primary = {"instance_id": found.instance_id, **seen}

    def _read_instance(self, observed: Observed, now: float) -> list[Result]:
        instance_id = self.instance_id
        status = observed.instance_status(instance_id) if instance_id else None
        return [] if status is None else _platform_results(status, now)

    async def ask(self) -> list[Result]:
        """Make the HTTP checks; none while it is not known where."""
        if self.known.primary is None or (self._status is not None and self._status.is_ending):
            return []
        host = host_of(self.known.primary, self._host, job_flow_id=self._job_flow_id)
        return [] if host is None else await self._checker.check_all(host, self._logins or {})

    def judge(self, answers: Sequence[Result], *, now: float) -> Verdict:
        """Judge the round: what AWS was asked for last, and these answers of the HTTP checks."""
        if any(answer.kind == "refused" for answer in answers):
            self._logins = None  # the connection may have a new password
        counted = [answer for answer in answers if not (answer.failed and now < self.known.settled_at)]
        judgement = self._history.add([*self._found, *counted])
        self._found = []
        return self._verdict(judgement, now=now)

    def _verdict(self, judgement: Judgement, *, now: float) -> Verdict:
        message = f"Primary node of cluster {self._job_flow_id} ({self._where()}): {judgement.status}"
        message += f"; {judgement.message}" if judgement.message else ""
        facts = self._facts(judgement, now=now)
        emr_says_so = any(failure.check == EMR_STATE for failure in judgement.failures)
        if judgement.status in {"unknown", "refused"}:
            return Verdict("failed", message, {**facts, "gone": judgement.status})
        wanted = ("healthy", "unhealthy") if self._until == "decided" else (self._until,)
        if judgement.status in wanted:
            return Verdict("done", message, facts)
        if self._until == "healthy" and judgement.ended and emr_says_so and self._status is not None:
            gone = {"gone": "cluster", "state": self._status.state, "reason": self._status.reason}
            return Verdict("failed", message, {**facts, **gone})
        return Verdict("pending", message, facts)

    def _where(self) -> str:
        if self.known.primary is None:
            return "not there yet"
        host = host_of(self.known.primary, self._host, job_flow_id=self._job_flow_id)
        return f"{self.instance_id}, {host}"

    def _facts(self, judgement: Judgement, *, now: float) -> dict[str, Any]:
        primary = self.known.primary
        first = judgement.failures[0] if judgement.failures else None
        return {
            "status": judgement.status,
            "job_flow_id": self._job_flow_id,
            "instance_id": self.instance_id,
            "host": host_of(primary, self._host, job_flow_id=self._job_flow_id) if primary else None,
            "check": first.check if first else None,
            "problem": first.problem if first else None,
            "at": _moment(first.at if first else now),
            "ended": judgement.ended,
            "failures": [facts_of(failure, moment=_moment) for failure in judgement.failures],
        }


def _gone(instance_id: str, state: str, now: float) -> Result:
    return Result(EC2_STATE, now, ok=False, problem=f"instance '{instance_id}' is {state}", kind="final")


def _platform_results(status: InstanceStatus, now: float) -> list[Result]:
    if status.state in GONE_STATES:
        return [_gone(status.instance_id, status.state, now)]
    checks = {EC2_INSTANCE_STATUS: status.instance_check, EC2_SYSTEM_STATUS: status.system_check}
    meaning = {"ok": True, "impaired": False}  # "initializing" and "insufficient-data" say nothing
    return [
        Result(EC2_STATE, now, ok=True if status.state == "running" else None),
        *(
            Result(check, now, ok=meaning.get(found), problem=f"instance '{status.instance_id}' is {found}")
            for check, found in checks.items()
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
    :param unhealthy_after: "N/M": N failures of the last M rounds; ``healthy_after`` likewise successes.
    :param host: where the primary node is asked.
    :param known: what the first look has found; see :class:`Known`.
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
        self._watch: PrimaryWatch | None = None
        self._turn: Turn | None = None

    @property
    def _health(self) -> PrimaryWatch:
        if self._watch is None:
            self._watch = PrimaryWatch(
                job_flow_id=self.job_flow_id,
                checks=self.checks,
                until=self.until,
                unhealthy_after=self.unhealthy_after,
                healthy_after=self.healthy_after,
                host=self.host,
                known=Known(**self.known),
            )
        return self._watch

    def announce(self, wants: Wants) -> None:
        """Say which one thing will be asked for."""
        self._turn = self._health.turn(clock.time())
        if self._turn == "cluster":
            wants.clusters.add(self.job_flow_id)
        elif self._turn == "primary":
            wants.primaries.add(self.job_flow_id)
        elif self._turn == "instance" and (instance_id := self._health.instance_id) is not None:
            wants.instance_statuses.add(instance_id)

    def judge(self, observed: Observed) -> Verdict:
        """Ask AWS; the verdict comes with the HTTP checks, in ``complete``."""
        self._health.read(observed, self._turn, now=clock.time())
        return Verdict("pending", "AWS was asked")

    async def complete(self, found: Verdict) -> Verdict:
        """Make the HTTP checks, and judge the round."""
        answers = await self._health.ask()
        return self._health.judge(answers, now=clock.time())


def look_once(watch: PrimaryWatch, observed: Observed, *, first: bool) -> Verdict:
    """
    Make a round from a worker.

    :param first: ask AWS for everything, not for one thing.
    """
    now = clock.time()
    if first:
        watch.read_all(observed, now=now)
    else:
        watch.read(observed, watch.turn(now), now=now)
    return watch.judge(asyncio.run(watch.ask()), now=clock.time())


def as_known(watch: PrimaryWatch) -> dict[str, Any]:
    """Return what a watch knows, for a deferral."""
    return asdict(watch.known)
