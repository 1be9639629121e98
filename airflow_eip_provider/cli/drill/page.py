"""The report of a drill as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_eip_provider.cli.drill.recovery import MEANING, TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WIDTH, _ROW, _LABEL, _RIGHT = 920, 34, 250, 70
_LABELS = {**MEANING, TARGETS: "healthy in every target group"}  # the whole text is too long for the chart


def render_page(facts: Mapping[str, Any]) -> str:
    """
    Return the page.

    :param facts: of ``Report.facts``.
    """
    environment = Environment(
        loader=PackageLoader("airflow_eip_provider.cli.drill"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    chart = _chart(facts["seconds"], facts["rto_seconds"]) if facts["seconds"] else None
    return environment.get_template("report.html").render(facts=facts, plan=facts["plan"], chart=chart)


def _chart(seconds_of: Mapping[str, int | None], rto: int) -> dict[str, Any]:
    """Lay out a row for each milestone, with a bar from the previous milestone to this one."""
    longest = max(rto, *(seconds or 0 for seconds in seconds_of.values())) * 1.05 or 1

    def x(seconds: float) -> float:
        return round(_LABEL + (_WIDTH - _LABEL - _RIGHT) * seconds / longest, 1)

    def rows() -> Iterator[dict[str, Any]]:
        previous = 0
        for number, (name, seconds) in enumerate(seconds_of.items()):
            start = min(previous, seconds or 0)
            width = round(max(x(seconds or 0) - x(start), 3), 1)
            yield {"y": number * _ROW + 8, "label": _LABELS[name], "seconds": seconds, "x": x(start), "width": width}
            previous = max(previous, seconds or 0)

    bottom = _ROW * (len(seconds_of) + 1)
    return {"width": _WIDTH, "bottom": bottom, "zero": x(0), "rto": x(rto), "rows": list(rows())}
