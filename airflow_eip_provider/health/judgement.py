"""
The verdict on a primary node, from the results of its checks.

This module decides, without I/O and without a clock. A round is a set of results from about the same moment. It need
not contain every check, because each round reads one thing from AWS. The rules:

- The node is unhealthy when a check failed in N of the last M rounds that contain it, the last two included. So neither
  a single failure nor a check that never fails twice in a row makes it unhealthy.
- The node is unhealthy when two results at least ten seconds apart are both final: the cluster is ending or has ended,
  or the instance is stopping, stopped, shutting down or terminated.
- While the cluster starts there is no verdict, and failures from that time do not count later.
- Refused credentials and untrusted certificates say nothing about the node's health. They are counted in the same way,
  but separately, and lead to the verdict "refused": the monitoring itself is set up wrongly.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.checks import EMR_STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_THRESHOLD = re.compile(r"\s*(\d{1,3})\s*/\s*(\d{1,3})\s*")
_MOST_ROUNDS = 100
# How long a result is current. Each thing is read from AWS every 40 seconds, and AWS may not answer every time.
CURRENT_SECONDS = 180.0

Status = Literal["healthy", "unhealthy", "starting", "undecided", "refused", "unknown"]


@dataclass(frozen=True)
class Threshold:
    """A number of failures or successes in the last rounds, written ``"3/5"``."""

    count: int
    rounds: int

    @classmethod
    def parse(cls, text: object, *, parameter: str) -> Threshold:
        """
        Read ``"N/M"``.

        :param parameter: the name of the parameter, for the error.
        :raises InvalidInputError: when the text has another form.
        """
        found = _THRESHOLD.fullmatch(text) if isinstance(text, str) else None
        count, rounds = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= count <= rounds <= _MOST_ROUNDS:
            raise InvalidInputError(
                f"checking {parameter} {text!r}",
                problem="this is not N/M, N of the last M rounds",
                remedy=f"give a text such as '3/5', with 1 <= N <= M <= {_MOST_ROUNDS}",
            )
        return cls(count, rounds)

    def __str__(self) -> str:
        return f"{self.count}/{self.rounds}"


@dataclass(frozen=True)
class Result:
    """
    The result of one check in one round.

    :param at: the time of the check, in seconds since the epoch.
    :param ok: ``None`` when the result is neither a success nor a failure.
    :param problem: what is wrong.
    :param kind: "final" for a cluster or instance that cannot recover; "refused" for refused credentials; "starting"
        for a cluster that is starting, and "unknown" for one that EMR does not know.
    """

    check: str
    at: float
    ok: bool | None
    problem: str = ""
    kind: Literal["", "final", "refused", "starting", "unknown"] = ""

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure."""
        return self.ok is False


@dataclass(frozen=True)
class Failure:
    """
    A check that failed often enough for the verdict.

    :param failures: the number of failures in its last ``rounds`` rounds.
    :param since: the time of the first of these failures, and ``at`` of the last one, in seconds since the epoch.
    """

    check: str
    problem: str
    failures: int
    rounds: int
    since: float
    at: float


@dataclass(frozen=True)
class Judgement:
    """
    The verdict from all rounds.

    :param ended: the cluster or its instance has ended.
    """

    status: Status
    message: str
    failures: tuple[Failure, ...] = ()
    ended: bool = False


@dataclass
class HealthHistory:
    """
    The last rounds, and the verdict from them.

    The rounds are kept in memory: monitoring that is restarted counts again from the start, and so decides later.

    :param required: the checks that must have passed for a healthy node; other checks must not have failed.
    :param since: when the monitoring began; EMR's reads may not show a new cluster until a minute later.
    """

    required: Sequence[str]
    unhealthy_after: Threshold
    healthy_after: Threshold
    since: float
    _windows: dict[str, deque[Result]] = field(default_factory=dict)
    _claims: dict[str, Result] = field(default_factory=dict)  # the first final result of a check, to be confirmed
    _starting: Result | None = None

    @property
    def is_suspicious(self) -> bool:
        """Whether one of the last rounds has a failure, or a final result has to be confirmed."""
        return bool(self._claims) or any(result.failed for window in self._windows.values() for result in window)

    @property
    def claimed(self) -> frozenset[str]:
        """The checks with a final result that has to be confirmed."""
        return frozenset(self._claims)

    def add(self, results: Iterable[Result]) -> Judgement:
        """Add a round, and return the verdict."""
        results = list(results)
        for result in results:
            if result.check == EMR_STATE:
                self._starting = result if result.kind == "starting" else None
        if self._starting is not None:  # EMR replaces an instance that is lost during the start
            self._windows.clear()
            self._claims.clear()
            return Judgement("starting", self._starting.problem)
        for result in results:
            if result.kind in {"final", "unknown"}:
                if (confirmed := self._claim(result)) is not None:
                    return confirmed
            elif result.ok is not None:
                self._claims.pop(result.check, None)
        for result in results:
            if result.ok is not None and result.kind != "final":
                self._window(result.check).append(result)
        return self._decide(max((result.at for result in results), default=self.since))

    def _window(self, check: str) -> deque[Result]:
        most = max(self.unhealthy_after.rounds, self.healthy_after.rounds)
        return self._windows.setdefault(check, deque(maxlen=most))

    def _claim(self, result: Result) -> Judgement | None:
        """Record a final result, which has to be confirmed; return the verdict if this one confirms an earlier one."""
        first = self._claims.get(result.check)
        if first is None or first.kind != result.kind:  # the problem may differ: shutting-down, then terminated
            self._claims[result.check] = result
            return None
        if result.at - first.at < SECOND_LOOK_SECONDS:
            return None
        if result.kind == "unknown":
            if result.at < self.since + READS_LAG_SECONDS:
                return None
            return Judgement("unknown", result.problem)
        failure = Failure(result.check, result.problem, 2, 2, first.at, result.at)
        return Judgement("unhealthy", f"{result.check}: {result.problem}", (failure,), ended=True)

    def _decide(self, now: float) -> Judgement:
        if failures := self._failures(refused=False):
            return Judgement("unhealthy", _sentence(failures), tuple(failures))
        if refused := self._failures(refused=True):
            return Judgement("refused", _sentence(refused), tuple(refused))
        if not self._claims and self._all_passed(now):
            return Judgement("healthy", "all checks passed")
        return Judgement("undecided", self._describe())

    def _failures(self, *, refused: bool) -> list[Failure]:
        """Return the checks that failed often enough; those that were refused, or those that failed otherwise."""
        found = []
        for window in self._windows.values():
            last = list(window)[-self.unhealthy_after.rounds :]
            counted = [result for result in last if result.failed and (result.kind == "refused") == refused]
            in_a_row = last[-min(2, self.unhealthy_after.count) :]
            if len(counted) < self.unhealthy_after.count or not all(result.failed for result in in_a_row):
                continue
            first, newest = counted[0], counted[-1]
            if newest is last[-1]:
                found.append(Failure(newest.check, newest.problem, len(counted), len(last), first.at, newest.at))
        return found

    def _all_passed(self, now: float) -> bool:
        """Return whether every required check has passed often enough and recently, and no check has failed last."""
        if any(window[-1].failed for window in self._windows.values() if window):
            return False
        for check in self.required:
            last = list(self._windows.get(check, ()))[-self.healthy_after.rounds :]
            if not last or last[-1].at < now - CURRENT_SECONDS:
                return False
            if sum(result.ok is True for result in last) < self.healthy_after.count:
                return False
        return True

    def _describe(self) -> str:
        """Return the failures and the missing checks, for a log line."""
        parts = [f"{check}: {result.problem} (to be confirmed)" for check, result in self._claims.items()]
        for check, window in self._windows.items():
            last = list(window)[-self.unhealthy_after.rounds :]
            failed = [result for result in last if result.failed]
            if failed and check not in self._claims:
                problem = failed[-1].problem
                parts.append(f"{check}: failed in {len(failed)} of {len(last)} rounds, last with: {problem}")
        if missing := [check for check in self.required if not self._windows.get(check)]:
            parts.append(f"no result yet: {', '.join(missing)}")
        return "; ".join(parts) or "no verdict yet"


def _sentence(failures: Sequence[Failure]) -> str:
    return "; ".join(f"{f.check} failed in {f.failures} of {f.rounds} rounds: {f.problem}" for f in failures)
