"""What a check finds: what is wrong, why it matters, and how to fix it."""

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
    One thing that is wrong, or that may be.

    :param severity: "error": the launch fails, or the address cannot serve. "warning": it may bite.
    :param subject: what it is about, e.g. "subnet 'subnet-…'".
    :param what: is wrong with it.
    :param why: that matters.
    :param mend: how to fix it; JSON keeps this name.
    :param candidate: of which ways to launch the cluster this is said, such as "fallbacks[0]"; ``None`` without
        fallbacks, or when it is true of all together.
    """

    severity: Severity
    subject: str
    what: str
    why: str
    mend: str
    candidate: str | None = None

    def __str__(self) -> str:
        return f"{self.about}: {self.what}; {self.why}; {self.mend}"

    @property
    def about(self) -> str:
        """The subject, and the candidate that it belongs to."""
        return f"{self.candidate}, {self.subject}" if self.candidate else self.subject

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return asdict(self)


def error(subject: str, *, what: str, why: str, mend: str) -> Finding:
    """Make a finding that stops a launch."""
    return Finding("error", subject, what, why, mend)


def warning(subject: str, *, what: str, why: str, mend: str) -> Finding:
    """Make a finding that does not."""
    return Finding("warning", subject, what, why, mend)


def not_permitted(refused: NotPermittedError) -> Finding:
    """Make the finding of an action that a DryRun said is not allowed."""
    return error(
        f"permission '{refused.action}' on '{refused.resource}'",
        what=f"{refused.problem} (EC2 was asked with DryRun)",
        why="the cluster would run, and never get its address",
        mend=f"{refused.remedy}; airflow-eip iam-policy prints the whole of it",
    )


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing to look at.

    :param title: what is true when nothing is found.
    :param find: looks, and yields what is wrong. It changes nothing, and lets AWS's errors through.
    :param essential: without an answer there is no launch; of another check it is said that it could not be made.
    :param at_launch: an operator makes it, too; else only ``airflow-eip doctor`` does.
    :param with_fallbacks: an operator makes it only for a job that has fallbacks, as it costs a call that says nothing
        which RunJobFlow would not.
    :param once: it says the same of every candidate, so it is made for the first one alone.
    :param needs: checks before it that it depends on: when one of them found an error, or was skipped, finding nothing
        is no success.
    :param reads: the places of RunJobFlow's parameters on which it depends; while a template stands in one of them,
        there is nothing to look at.
    :param missing: says what there must be to look at, and is not; ``None`` when all is there. It does not call AWS.
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
    What came of a check.

    :param skipped: why it was not made, not to its end, or in vain; ``None`` when it was.
    """

    check: Check
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None
