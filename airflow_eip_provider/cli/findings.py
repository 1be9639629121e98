"""The results of checks, as a table and as JSON."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.output import print_table, wrapping_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.preflight import Outcome

_WIDTH = 92


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print a table of checks and their findings."""
    names = max(len(outcome.check.name) for outcome in outcomes)
    width = wrapping_width(_WIDTH, reserved=len("skipped") + names + 4)
    print_table(("RESULT", "CHECK", "FINDING"), [row for outcome in outcomes for row in _rows(outcome, width)])


def facts_of(outcome: Outcome) -> dict[str, Any]:
    """Return the result of a check as plain JSON."""
    return {
        "check": outcome.check.name,
        "title": outcome.check.title,
        "skipped": outcome.skipped,
        "findings": [finding.facts() for finding in outcome.findings],
    }


def _rows(outcome: Outcome, width: int) -> Iterator[tuple[str, str, str]]:
    """Yield one row for a check without findings, or several for each finding."""
    name = outcome.check.name
    if outcome.skipped:
        yield "skipped", name, outcome.skipped
    elif not outcome.findings:
        yield "ok", name, outcome.check.title
    for finding in outcome.findings:
        lines = [
            *textwrap.wrap(f"{finding.about}: {finding.what}", width, break_on_hyphens=False),
            *_indented("why", finding.why, width),
            *_indented("fix", finding.remedy, width),
        ]
        for number, line in enumerate(lines):
            yield (finding.severity, name, line) if number == 0 else ("", "", line)


def _indented(word: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=f"  {word + ':':<6}", subsequent_indent=" " * 8, break_on_hyphens=False
    )
