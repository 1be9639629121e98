"""What was measured of the lock clients, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.console import table

if TYPE_CHECKING:
    from bench.clients.figures import Figures, HeldTwice

_READS = ("Get", "Head", "List", "Query", "Scan")
_HOUR_SECONDS = 3600
_WIDTH = 120
_COSTS = ("client", "lease", "renewed", "polls", "reads", "writes", "holders", "calls of the hour")
_DOUBTS = ("client", "lease", "after a crash", "beside", "1 h fast", "1 h slow", "paused", "late release")

HEADER = ("client, its lease", "one lease period", "contended hour", "next is let in", "beside", "1 h off", "paused")
NOTES = (
    "One lease period: store reads / writes of 8 minutes nobody else wants. Contended hour: the same while one holds",
    "the lock and four wait, each in a process of its own; and how many took themselves for the holder, if several.",
    "Next is let in: after the holder's process was killed 1 s into its lease period. Beside: the killed one's cluster",
    "carried the address then. 1 h off, paused: for how long two took themselves for the holder when the first one's",
    "clock was wrong (which way), or it was stopped for two leases and went on (told: it learned of its loss).",
    "* chosen here: the client's own 60 s (s3-locks: its README's) end before the work does. Those two have no poll of",
    "their own either, and look every 15 s. Time is simulated; a call of the store takes none of it.",
)


def row(figures: Figures) -> tuple[str, ...]:
    """Return a client's figures as one row under :data:`HEADER`."""
    subject = figures.subject
    name = f"{subject.name}, {_period(subject.lease, chosen='lease' in subject.chosen)}"
    if figures.reason is not None:
        return (name, "-", "-", figures.reason[:28], "-", "-", "-")
    several = f", {figures.holders} hold" if figures.holders > 1 else ""
    wrong = [
        f"{way} {_twice(held)}" for way, held in (("fast", figures.fast), ("slow", figures.slow)) if held.seconds > 0
    ]
    return (
        name,
        " / ".join(_reads_and_writes(figures.cycle)),
        " / ".join(_reads_and_writes(figures.hour)) + several,
        _after(figures),
        _yes(figures.beside_cluster),
        ", ".join(wrong) or "no",
        _twice(figures.paused),
    )


def details(rows: list[Figures]) -> list[str]:
    """Lay out everything that was measured: what the clients cost, and when they let two in."""
    ran = [figures for figures in rows if figures.reason is None]
    return [
        "Store calls of one lease period of 8 minutes nobody else wants, and of an hour in which one holds the lock",
        "and four wait (holders: how many took themselves for the holder at once).",
        "",
        *table([_cost(figures) for figures in ran], header=_COSTS, right=frozenset({4, 5, 6})),
        "",
        "* chosen here: the client has no default, or one that is shorter than the work",
        "",
        "Until who waits is let in after the holder's process was killed 1 s into its lease, and whether its cluster",
        "carried the address then; for how long two took themselves for the holder when the first one's clock was an",
        "hour wrong, or it was stopped for two leases and went on (told: by its client, that it had lost the lock);",
        "whether the release of a holder that had lost the lock freed the next one's.",
        "",
        *table([_doubt(figures) for figures in ran], header=_DOUBTS, right=frozenset({2})),
        *_not_run(rows),
    ]


def _cost(figures: Figures) -> tuple[str, ...]:
    subject = figures.subject
    most_first = sorted(figures.hour.items(), key=lambda item: -item[1])
    return (
        f"{subject.name} {subject.version}",
        _period(subject.lease, chosen="lease" in subject.chosen),
        _period(subject.heartbeat),
        _period(subject.poll, chosen="poll" in subject.chosen),
        *_reads_and_writes(figures.cycle),
        str(figures.holders),
        ", ".join(f"{name} {count}" for name, count in most_first),
    )


def _doubt(figures: Figures) -> tuple[str, ...]:
    subject = figures.subject
    return (
        f"{subject.name} {subject.version}",
        _period(subject.lease, chosen="lease" in subject.chosen),
        _after(figures),
        _yes(figures.beside_cluster),
        _twice(figures.fast),
        _twice(figures.slow),
        _twice(figures.paused),
        "frees it" if figures.late_release_frees else "no",
    )


def _not_run(rows: list[Figures]) -> list[str]:
    failed = [(figures.subject.name, figures.reason) for figures in rows if figures.reason is not None]
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


def _twice(held: HeldTwice) -> str:
    if not held.seconds:
        return "no"
    return f"{held.seconds:.0f} s, told" if held.told else f"{held.seconds:.0f} s"


def _yes(value: bool) -> str:  # noqa: FBT001 - a cell, not a switch
    return "yes" if value else "no"
