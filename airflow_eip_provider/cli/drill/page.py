"""The report of a drill as one page of HTML that needs nothing else, light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.drill.recovery import MEANING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WIDTH, _ROW, _LABEL, _RIGHT = 920, 34, 250, 70
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d7dde5; --paper: #ffffff; --bar: #2f6fb3;
  --good: #1d7a4c; --bad: #b3261e; --panel: #f5f7fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #38424f; --paper: #12171d;
  --bar: #6ea8e6; --good: #57c08a; --bad: #ff8a80; --panel: #1a2129; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 60rem; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.about { color: var(--soft); margin: 0 0 1rem; overflow-wrap: anywhere; }
.verdict { background: var(--panel); border-left: .4rem solid var(--bad); font-size: 1.1rem; padding: .75rem 1rem; }
.verdict.met { border-color: var(--good); }
table { border-collapse: collapse; width: 100%; } th, td { border-bottom: 1px solid var(--line); padding: .35rem .5rem;
  text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
div.chart { margin-bottom: 1rem; overflow-x: auto; }
svg { display: block; font: 14px system-ui, sans-serif; min-width: 620px; width: 100%; }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .bar { fill: var(--bar); }
svg .grid { stroke: var(--line); } svg .rto { stroke: var(--bad); stroke-dasharray: 5 4; stroke-width: 2; }
svg text.rto { fill: var(--bad); stroke: none; }
"""


def page(facts: Mapping[str, Any]) -> str:
    """
    Return the page.

    :param facts: of ``Report.facts``.
    """
    plan = facts["plan"]
    title = f"Drill of {plan['job_flow_id']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="about">{escape(_about(facts))}</p>',
        _verdict(facts),
        "<h2>Timeline</h2>",
        f'<div class="chart">{_chart(facts)}</div>' if facts["seconds"] else "<p>Nothing was stopped.</p>",
        _table(("After", "What was seen"), _seen(facts), numbers=1),
        "<h2>What runs now</h2>",
        _items(facts["left"]) or "<p>Nothing that the drill knows of.</p>",
        "<h2>Checks before</h2>",
        _table(("Result", "Check", "Finding"), _checks(facts)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _about(facts: Mapping[str, Any]) -> str:
    plan = facts["plan"]
    standby = plan["standby_job_flow_id"] or "launched for it"
    address = f", Elastic IP {plan['allocation_id']}" if plan["allocation_id"] else ""
    return (
        f"Region {facts['region']}{address}. Standby: {plan['standby']}, {standby}. "
        f"Stopped at {facts['stopped_at'] or 'no time'} by: {plan['stop']}. Failover by {plan['failover_by']}."
    )


def _verdict(facts: Mapping[str, Any]) -> str:
    seconds, rto = facts["recovery_seconds"], facts["rto_seconds"]
    if seconds is None:
        text = f"Not recovered while it was watched. The RTO is {rto} s."
    else:
        text = f"Recovered after {seconds} s, {'within' if facts['met'] else 'later than'} the RTO of {rto} s."
    if facts["error"]:
        text += f" The drill ended with {facts['error']['type']}: {facts['error']['message']}"
    return f'<p class="verdict{" met" if facts["met"] else ""}">{escape(text)}</p>'


def _chart(facts: Mapping[str, Any]) -> str:
    """Draw one row for each milestone, from the one before it to when it was reached, and a line for the RTO."""
    reached = [(name, seconds) for name, seconds in facts["seconds"].items() if seconds is not None]
    rto = facts["rto_seconds"]
    longest = max([seconds for _, seconds in reached] + [rto]) * 1.05 or 1
    height = _ROW * (len(facts["seconds"]) + 1) + 24

    def x(seconds: float) -> float:
        return round(_LABEL + (_WIDTH - _LABEL - _RIGHT) * seconds / longest, 1)

    lines = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="When each part of the recovery was reached">',
        f'<line class="grid" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{height - 24}"/>',
    ]
    before = 0.0
    for row, (name, seconds) in enumerate(facts["seconds"].items()):
        y = row * _ROW + 8
        lines.append(f'<text x="0" y="{y + 15}">{escape(_short(MEANING[name]))}</text>')
        if seconds is None:
            lines.append(f'<text class="soft" x="{x(0) + 6}" y="{y + 15}">not seen</text>')
        else:
            start = min(before, seconds)
            width = max(x(seconds) - x(start), 3)
            lines.append(f'<rect class="bar" x="{x(start)}" y="{y}" width="{width:.1f}" height="20" rx="3"/>')
            lines.append(f'<text x="{x(start) + width + 6:.1f}" y="{y + 15}">{seconds} s</text>')
            before = max(before, seconds)
    bottom = height - 24
    lines.append(f'<line class="rto" x1="{x(rto)}" x2="{x(rto)}" y1="0" y2="{bottom}"/>')
    lines.append(f'<text class="rto" x="{x(rto) - 6}" y="{bottom - 6}" text-anchor="end">RTO {rto} s</text>')
    lines.append(f'<text class="soft" x="{x(0)}" y="{height - 6}">0 s: the primary was stopped</text>')
    return "\n".join([*lines, "</svg>"])


def _short(text: str) -> str:
    return text.replace("the standby was healthy in every target group", "healthy in every target group")


def _seen(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"{moment['seconds']} s", moment["what"]) for moment in facts["timeline"]]


def _checks(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for check in facts["checks"]:
        if check["skipped"]:
            yield "skipped", check["check"], check["skipped"]
        elif not check["findings"]:
            yield "ok", check["check"], check["title"]
        for finding in check["findings"]:
            text = f"{finding['subject']}: {finding['what']}; {finding['mend']}"
            yield finding["severity"], check["check"], text


def _table(header: tuple[str, ...], rows: Any, *, numbers: int = 0) -> str:
    """
    Return a table.

    :param numbers: so many columns at the left hold numbers.
    """

    def row(cells: tuple[str, ...], kind: str) -> str:
        shown = [_cell(cell, kind, is_number=column < numbers) for column, cell in enumerate(cells)]
        return f"<tr>{''.join(shown)}</tr>"

    return f"<table>{row(header, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def _cell(text: str, kind: str, *, is_number: bool) -> str:
    opening = f'<{kind} class="n">' if is_number else f"<{kind}>"
    return f"{opening}{escape(text)}</{kind}>"


def _items(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
