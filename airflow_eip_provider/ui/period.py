"""Durations as text, and the periods that the page and the command show."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
# The periods that the page offers, in seconds.
PERIODS = {"6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
DEFAULT_PERIOD = "7d"


def duration(seconds: float) -> str:
    """Format a duration in its two largest units: ``45 s``, ``7 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // 60} min" + (f" {whole % 60:02d} s" if whole % 60 and whole < 10 * MINUTE else "")
    if whole < DAY:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return a percentile by the nearest-rank method; ``None`` when there are no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = -(-len(ordered) * round(share * 100) // 100)  # rounded up
    return ordered[max(rank, 1) - 1]
