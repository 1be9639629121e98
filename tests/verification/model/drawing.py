"""The diagram and the table of docs/lock.md, drawn from the table of transitions."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_eip_provider.lease.transitions import FREE, SAME, TABLE

PAGE = Path(__file__).resolve().parents[3] / "docs" / "lock.md"
_BEGIN, _END = (
    "<!-- drawn from lease/transitions.py: python -m tests.verification.model --draw -->",
    "<!-- end of the drawing -->",
)
_STATES = (FREE, "acquired", "active", "releasing")


def diagram() -> str:
    """Return the states of a lease and the events between them, for Mermaid."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {FREE}"]
    for row in TABLE:
        for source in row.sources:
            target = source if row.target == SAME else row.target
            if target != source or row.target != SAME:
                lines.append(f"    {source} --> {target}: {row.event.__name__}")
    return "\n".join([*lines, "```"])


def table() -> str:
    """Return the table of transitions in Markdown."""
    lines = ["| event | in state | leads to | by | if |", "| --- | --- | --- | --- | --- |"]
    for row in TABLE:
        sources = "any" if set(row.sources) == set(_STATES) else ", ".join(row.sources)
        target = "the same" if row.target == SAME else row.target
        lines.append(f"| `{row.event.__name__}` | {sources} | {target} | {row.who} | {row.guard} |")
    return "\n".join(lines)


def drawn(page: str) -> str:
    """Return the page with the marked section updated."""
    section = f"{_BEGIN}\n\n{diagram()}\n\n{table()}\n\n{_END}"
    return re.sub(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", lambda _: section, page, flags=re.DOTALL)


def draw() -> int:
    """Update the page."""
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0
