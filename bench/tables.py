"""Tables of the figures of the lock clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.console import table

if TYPE_CHECKING:
    from bench.clients.figures import Figures, Overlap

_READS = ("Get", "Head", "List", "Query", "Scan")
_HOUR_SECONDS = 3600
_WIDTH = 120
_COSTS = ("client", "lease", "renewed", "polls", "reads", "writes", "holders", "calls of the hour")
_SAFETY = ("client", "lease", "after a crash", "beside", "1 h fast", "1 h slow", "paused", "late release")

HEADER = ("client, its lease", "one lease period", "contended hour", "next holder", "beside", "1 h off", "paused")
NOTES = (
    "One lease period: store reads / writes of 8 minutes without waiters. Contended hour: the same while one process",
    "holds the lock and four others wait; and how many acted as the holder, if several.",
    "Next holder: when the next one got the lock, after the holder's process was killed 1 s into its lease period.",
    "Beside: whether the killed one's cluster had the address then. 1 h off, paused: for how long two acted as the",
    "holder when the first one's clock was wrong (which way), or when it was stopped for two leases and continued",
    "(noticed: its client reported the loss).",
    "* chosen here: the client's own 60 s (s3-locks: its README's) end before the work does. These two clients have no",
    "poll interval either; they poll every 15 s. Time is simulated; a call of the store takes none of it.",
)


def row(figures: Figures) -> tuple[str, ...]:
    """Return a client's figures as one row under :data:`HEADER`."""
    config = figures.config
    name = f"{config.name}, {_period(config.lease, chosen='lease' in config.chosen)}"
    if figures.reason is not None:
        return (name, "-", "-", figures.reason[:28], "-", "-", "-")
    several = f", {figures.holders} hold" if figures.holders > 1 else ""
    wrong = [
        f"{way} {_overlap(held)}" for way, held in (("fast", figures.fast), ("slow", figures.slow)) if held.seconds > 0
    ]
    return (
        name,
        " / ".join(_reads_and_writes(figures.cycle)),
        " / ".join(_reads_and_writes(figures.hour)) + several,
        _after(figures),
        _yes(figures.beside_cluster),
        ", ".join(wrong) or "no",
        _overlap(figures.paused),
    )


def details(rows: list[Figures]) -> list[str]:
    """Return the tables of all figures: store calls of the clients, and when two act as the holder."""
    ran = [figures for figures in rows if figures.reason is None]
    return [
        "Store calls of one lease period of 8 minutes without waiters, and of an hour in which one holds the lock and",
        "four wait (holders: how many acted as the holder at once).",
        "",
        *table([_cost(figures) for figures in ran], header=_COSTS, right=frozenset({4, 5, 6})),
        "",
        "* chosen here: the client has no default, or one that is shorter than the work",
        "",
        "Time until the next one got the lock after the holder's process was killed 1 s into its lease, and whether",
        "its cluster had the address then; for how long two acted as the holder when the first one's clock was an hour",
        "wrong, or when it was stopped for two leases and continued (noticed: its client reported the loss);",
        "whether the release by a holder that had lost the lock freed the lock of the next one.",
        "",
        *table([_safety(figures) for figures in ran], header=_SAFETY, right=frozenset({2})),
        *_not_run(rows),
    ]


def _cost(figures: Figures) -> tuple[str, ...]:
    config = figures.config
    most_first = sorted(figures.hour.items(), key=lambda item: -item[1])
    return (
        f"{config.name} {config.version}",
        _period(config.lease, chosen="lease" in config.chosen),
        _period(config.heartbeat),
        _period(config.poll, chosen="poll" in config.chosen),
        *_reads_and_writes(figures.cycle),
        str(figures.holders),
        ", ".join(f"{name} {count}" for name, count in most_first),
    )


def _safety(figures: Figures) -> tuple[str, ...]:
    config = figures.config
    return (
        f"{config.name} {config.version}",
        _period(config.lease, chosen="lease" in config.chosen),
        _after(figures),
        _yes(figures.beside_cluster),
        _overlap(figures.fast),
        _overlap(figures.slow),
        _overlap(figures.paused),
        "frees it" if figures.late_release_frees else "no",
    )


def _not_run(rows: list[Figures]) -> list[str]:
    failed = [(figures.config.name, figures.reason) for figures in rows if figures.reason is not None]
    lines = [f"{name} did not run: {reason}"[:_WIDTH] for name, reason in failed]
    return ["", *lines] if lines else []


def _after(figures: Figures) -> str:
    return "never" if figures.after_crash is None else f"{figures.after_crash:.0f} s"


def _period(seconds: float | None, *, chosen: bool = False) -> str:
    if seconds is None:
        return "never"
    in_hours = seconds >= _HOUR_SECONDS
    text = f"{seconds / _HOUR_SECONDS:g} h" if in_hours else f"{seconds:.0f} s"
    return f"{text}*" if chosen else text


def _reads_and_writes(calls: dict[str, int]) -> tuple[str, str]:
    reads = sum(count for name, count in calls.items() if name.startswith(_READS))
    return str(reads), str(sum(calls.values()) - reads)


def _overlap(overlap: Overlap) -> str:
    if not overlap.seconds:
        return "no"
    return f"{overlap.seconds:.0f} s, noticed" if overlap.noticed else f"{overlap.seconds:.0f} s"


def _yes(value: bool) -> str:  # noqa: FBT001 - a cell, not a switch
    return "yes" if value else "no"
