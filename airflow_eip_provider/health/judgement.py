"""
When single checks make a verdict.

Everything that decides is here, and nothing else: no I/O, no clock. A round is what was checked at about one moment;
it need not hold every check, because AWS is asked for one thing at a time. The rules:

- A check that failed in N of the last M rounds in which it was made, the last two of them included, makes the primary
  unhealthy. So one miss never does, nor does a check that never misses twice in a row, however often it misses.
- What is final (the cluster is ending or has ended, the instance is going or gone) makes it unhealthy when two looks at
  least ten seconds apart say the same.
- While the cluster starts there is no verdict, and what failed meanwhile does not count later.
- An answer that refuses the credentials, or a certificate that is not trusted, says nothing of the primary's health. It
  counts in the same way, and ends in a verdict of its own: the watch itself is set up wrongly.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.checks import EMR_STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_THRESHOLD = re.compile(r"\s*(\d{1,3})\s*/\s*(\d{1,3})\s*")
_MOST_ROUNDS = 100
# A result counts as the present for so long: AWS is asked for each thing every 40 seconds, and may not answer once.
PRESENT_SECONDS = 180.0

Status = Literal["healthy", "unhealthy", "starting", "undecided", "refused", "unknown"]


@dataclass(frozen=True)
class Threshold:
    """So many of the last so many rounds, written ``"3/5"``."""

    count: int
    rounds: int

    @classmethod
    def parse(cls, text: object, *, parameter: str) -> Threshold:
        """
        Read ``"N/M"``.

        :param parameter: its name, for the error.
        :raises InvalidInputError: when it is something else.
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
    What one check found in one round.

    :param at: when, in seconds since the epoch.
    :param ok: ``None`` when it says nothing, neither good nor bad.
    :param problem: what is wrong, in words.
    :param kind: "final" for what never gets better by itself; "refused" for a request that was not let in; "starting"
        and "unknown" for a cluster that starts and one that EMR does not know.
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
    A check that made the verdict.

    :param failures: of its last ``rounds`` rounds.
    :param since: when the first of these failures was seen; ``at`` the last one, in seconds since the epoch.
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
    What all rounds together say.

    :param ended: the primary is gone for good.
    """

    status: Status
    message: str
    failures: tuple[Failure, ...] = ()
    ended: bool = False


@dataclass
class _Claim:
    """Something final that was seen once, and is to be confirmed."""

    result: Result
    first_at: float


@dataclass
class HealthHistory:
    """
    The last rounds, and what they say.

    Kept in memory: a watch that is restarted begins to count again, and so decides later, never wrongly.

    :param required: the checks that must have passed for a primary to be healthy; others must not have failed.
    :param since: when the watch began; EMR may not know a new cluster everywhere until a minute later.
    """

    required: Sequence[str]
    unhealthy_after: Threshold
    healthy_after: Threshold
    since: float
    _windows: dict[str, deque[Result]] = field(default_factory=dict)
    _claims: dict[str, _Claim] = field(default_factory=dict)
    _starting: Result | None = None

    @property
    def is_suspicious(self) -> bool:
        """Whether one of the last rounds holds a failure, or something that is to be confirmed."""
        return bool(self._claims) or any(result.failed for window in self._windows.values() for result in window)

    @property
    def claimed(self) -> frozenset[str]:
        """The checks whose next look has something to confirm."""
        return frozenset(self._claims)

    def add(self, results: Iterable[Result]) -> Judgement:
        """Add a round, and judge."""
        results = list(results)
        for result in results:
            if result.check == EMR_STATE:
                self._starting = result if result.kind == "starting" else None
        if self._starting is not None:  # EMR replaces an instance that is lost now
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
        """Note what must be seen twice; return the judgement when this is the second time."""
        known = self._claims.get(result.check)
        if known is None or known.result.kind != result.kind:  # the words may go on: shutting-down, then terminated
            self._claims[result.check] = _Claim(result, result.at)
            return None
        if result.at - known.first_at < SECOND_LOOK_SECONDS:
            return None
        if result.kind == "unknown":
            if result.at < self.since + READS_LAG_SECONDS:
                return None
            return Judgement("unknown", result.problem)
        failure = Failure(result.check, result.problem, 2, 2, known.first_at, result.at)
        return Judgement("unhealthy", f"{result.check}: {result.problem}", (failure,), ended=True)

    def _decide(self, now: float) -> Judgement:
        failures = [found for window in self._windows.values() if (found := self._failure(window))]
        if sick := [failure for failure, kind in failures if kind != "refused"]:
            return Judgement("unhealthy", _sentence(sick), tuple(sick))
        if refused := [failure for failure, _ in failures]:
            return Judgement("refused", _sentence(refused), tuple(refused))
        if not self._claims and self._all_well(now):
            return Judgement("healthy", "all checks passed")
        return Judgement("undecided", self._describe())

    def _failure(self, window: deque[Result]) -> tuple[Failure, str] | None:
        last = list(window)[-self.unhealthy_after.rounds :]
        failed = [result for result in last if result.failed]
        in_a_row = last[-min(2, self.unhealthy_after.count) :]
        if len(failed) < self.unhealthy_after.count or not all(result.failed for result in in_a_row):
            return None
        end = failed[-1]
        return Failure(end.check, end.problem, len(failed), len(last), failed[0].at, end.at), end.kind

    def _all_well(self, now: float) -> bool:
        """Whether every required check has passed often enough and lately, and no other one failed last."""
        if any(window[-1].failed for window in self._windows.values() if window):
            return False
        for check in self.required:
            last = list(self._windows.get(check, ()))[-self.healthy_after.rounds :]
            if not last or last[-1].at < now - PRESENT_SECONDS:
                return False
            if sum(result.ok is True for result in last) < self.healthy_after.count:
                return False
        return True

    def _describe(self) -> str:
        """Say what is known, for a log line."""
        parts = [f"{check}: {claim.result.problem} (to be confirmed)" for check, claim in self._claims.items()]
        for check, window in self._windows.items():
            last = list(window)[-self.unhealthy_after.rounds :]
            failed = sum(result.failed for result in last)
            if failed and check not in self._claims:
                problem = next(result.problem for result in reversed(last) if result.failed)
                parts.append(f"{check}: failed in {failed} of {len(last)} rounds, last with: {problem}")
        unseen = [check for check in self.required if not self._windows.get(check)]
        if unseen:
            parts.append(f"not seen yet: {', '.join(unseen)}")
        return "; ".join(parts) or "no verdict yet"


def _sentence(failures: Sequence[Failure]) -> str:
    return "; ".join(f"{f.check} failed in {f.failures} of {f.rounds} rounds: {f.problem}" for f in failures)


def facts_of(failure: Failure, *, moment: Any) -> dict[str, Any]:
    """
    Return a failure as plain JSON.

    :param moment: writes seconds since the epoch as text.
    """
    return {
        "check": failure.check,
        "problem": failure.problem,
        "failures": failure.failures,
        "rounds": failure.rounds,
        "since": moment(failure.since),
        "at": moment(failure.at),
    }
