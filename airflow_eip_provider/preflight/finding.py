"""Checks and their findings: what is wrong, why it matters, and how to fix it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eip_provider.exceptions import NotPermittedError
    from airflow_eip_provider.preflight.setup import Setup

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A problem, or a possible problem.

    :param severity: "error": the launch fails, or the address cannot be used. "warning": there may be a problem.
    :param subject: the thing that has the problem, e.g. "subnet 'subnet-…'".
    :param what: the problem.
    :param why: why it matters.
    :param remedy: how to fix it. In JSON its name is "mend".
    :param candidate: the candidates of the launch that have the problem, such as "fallbacks[0]"; ``None`` without
        fallbacks, or if it concerns all of them together.
    """

    severity: Severity
    subject: str
    what: str
    why: str
    remedy: str
    candidate: str | None = None

    def __str__(self) -> str:
        return f"{self.about}: {self.what}; {self.why}; {self.remedy}"

    @property
    def about(self) -> str:
        """The candidate, if any, and the subject."""
        return f"{self.candidate}, {self.subject}" if self.candidate else self.subject

    def facts(self) -> dict[str, Any]:
        """Return the finding as plain JSON."""
        return {"mend" if name == "remedy" else name: value for name, value in asdict(self).items()}


def error(subject: str, *, what: str, why: str, remedy: str) -> Finding:
    """Return a finding that prevents the launch."""
    return Finding("error", subject, what, why, remedy)


def warning(subject: str, *, what: str, why: str, remedy: str) -> Finding:
    """Return a finding that does not prevent the launch."""
    return Finding("warning", subject, what, why, remedy)


def not_permitted(refused: NotPermittedError) -> Finding:
    """Return the finding for an action that is not allowed, according to a DryRun."""
    return error(
        f"permission '{refused.action}' on '{refused.resource}'",
        what=f"{refused.problem} (according to a DryRun)",
        why="the cluster would run, but never get its address",
        remedy=f"{refused.remedy}; airflow-eip iam-policy prints the complete policy",
    )


@dataclass(frozen=True, slots=True)
class Check:
    """
    A check of a launch. ``@partial(Check, name, title)`` turns the function below it into one.

    :param title: what is true if the check finds nothing.
    :param find: yields the findings. It changes nothing, and does not catch AWS errors.
    :param essential: a launch needs its result. If a check that is not essential cannot run, that is only a warning.
    :param at_launch: operators run it, too; else only ``airflow-eip doctor`` does.
    :param with_fallbacks: operators run it only for a launch with fallbacks, because RunJobFlow itself reports the same
        problem; without fallbacks the extra call is not worth it.
    :param once: the result is the same for every candidate, so it runs for the first one only.
    :param needs: earlier checks that it depends on. If one of them found an error or was skipped, and this check finds
        nothing, it counts as skipped.
    :param reads: the parameters of RunJobFlow that it reads; it is skipped while one of them is a template.
    :param missing: returns which input is missing, so that the check is skipped. It does not call AWS.
    """

    name: str
    title: str
    find: Callable[[Setup], Iterator[Finding]]
    essential: bool = True
    at_launch: bool = True
    with_fallbacks: bool = False
    once: bool = False
    needs: tuple[Check, ...] = ()
    reads: tuple[str, ...] = ()
    missing: Callable[[Setup], str | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The result of a check.

    :param skipped: why the check did not run, or why its result says nothing; ``None`` if it ran.
    """

    check: Check
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None
