"""The result of a drill: for people, as JSON and as an HTML page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import __version__
from airflow_eip_provider.cli.drill.page import render_page
from airflow_eip_provider.cli.drill.recovery import MEANING
from airflow_eip_provider.cli.findings import facts_of
from airflow_eip_provider.cli.output import note, print_document, print_table
from airflow_eip_provider.cli.scenario import error_facts, iso, public_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.drill.recovery import Recovery
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.preflight import Outcome

_FORMAT = 1  # of the JSON


@dataclass
class Report:
    """
    The result of a drill; it is filled in while the drill runs.

    :ivar recovery: what was observed since the stop; ``None`` while nothing was stopped.
    :ivar left: what runs at the end, and how to terminate it.
    :ivar error: the error that ended the drill early.
    """

    session: Session
    plan: Plan
    outcomes: Sequence[Outcome]
    recovery: Recovery | None = None
    left: list[str] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def seconds(self) -> int | None:
        """How long the whole recovery took; ``None`` when its end was not observed."""
        at = self.recovery.recovered_at if self.recovery else None
        return None if at is None or self.recovery is None else round(at - self.recovery.began)

    @property
    def is_met(self) -> bool:
        """Whether the recovery took no longer than the RTO."""
        return self.seconds is not None and self.seconds <= self.plan.rto_seconds

    def facts(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        recovery = self.recovery
        return {
            "format": _FORMAT,
            "version": __version__,
            **self.session.facts,
            "plan": self.plan.facts(),
            "checks": [facts_of(outcome) for outcome in self.outcomes],
            "stopped_at": _iso(recovery.began) if recovery else None,
            "successor": recovery.successor if recovery else None,
            "seconds": recovery.facts() if recovery else {},
            "recovery_seconds": self.seconds,
            "rto_seconds": self.plan.rto_seconds,
            "met": self.is_met,
            "error": error_facts(self.error),
            "left": self.left,
            "timeline": self._timeline(),
        }

    def _timeline(self) -> list[dict[str, Any]]:
        if self.recovery is None:
            return []
        began = self.recovery.began
        moments = sorted(self.recovery.timeline, key=lambda moment: moment.at)
        return [{"at": _iso(m.at), "seconds": round(m.at - began), "what": m.what} for m in moments]

    def print(self) -> None:
        """Print the milestones, and what runs now."""
        if self.recovery is not None:
            times = {MEANING[name]: _shown(seconds) for name, seconds in self.recovery.facts().items()}
            verdict = f"RTO {self.plan.rto_seconds} s: {'met' if self.is_met else 'missed'}"
            times["whole recovery"] = f"{_shown(self.seconds)} ({verdict})"
            print_table(("SINCE THE PRIMARY WAS STOPPED", "AFTER"), list(times.items()))
        self.note_left()

    def note_left(self) -> None:
        """Log what runs now."""
        for line in self.left:
            note(f"now: {line}")

    def write(self, name: str) -> None:
        """
        Write the JSON and the page, without the account number and the public address.

        :param name: the name of both files, without ``.json`` and ``.html``.
        :raises UsageError: when a file cannot be written.
        """
        address = self.recovery.resources.address if self.recovery else None
        public_ip = address.public_ip if address else None
        text = public_json(self.facts(), account=self.session.account, public_ip=public_ip)
        print_document(text, Path(f"{name}.json"))
        print_document(render_page(json.loads(text)), Path(f"{name}.html"))


def _shown(seconds: int | None) -> str:
    return "not seen" if seconds is None else f"{seconds} s"


def _iso(at: float) -> str:
    return iso(datetime.fromtimestamp(at, UTC))
