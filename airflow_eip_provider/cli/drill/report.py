"""What a drill has measured, for people, as JSON and as a page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import __version__
from airflow_eip_provider.cli.drill.page import page
from airflow_eip_provider.cli.drill.recovery import MEANING
from airflow_eip_provider.cli.findings import facts_of
from airflow_eip_provider.cli.output import note, print_table
from airflow_eip_provider.exceptions import UsageError

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
    A drill's result, which grows while it runs.

    :ivar recovery: what was seen since the stop; ``None`` while nothing was stopped.
    :ivar left: what runs at the end, and how to end it.
    :ivar error: with which it ended, if it did not come to its end.
    """

    session: Session
    plan: Plan
    outcomes: Sequence[Outcome]
    recovery: Recovery | None = None
    left: list[str] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def seconds(self) -> int | None:
        """The whole recovery time; ``None`` when it was not seen to its end."""
        at = self.recovery.recovered_at if self.recovery else None
        return None if at is None or self.recovery is None else round(at - self.recovery.began)

    @property
    def is_met(self) -> bool:
        """Whether the recovery was within the time that it may take."""
        return self.seconds is not None and self.seconds <= self.plan.rto.total_seconds()

    def facts(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        recovery = self.recovery
        return {
            "format": _FORMAT,
            "version": __version__,
            "account": self.session.account,
            "region": self.session.region,
            "plan": self.plan.facts(),
            "checks": [facts_of(outcome) for outcome in self.outcomes],
            "stopped_at": iso(recovery.began) if recovery else None,
            "successor": recovery.successor if recovery else None,
            "seconds": recovery.facts() if recovery else {},
            "recovery_seconds": self.seconds,
            "rto_seconds": int(self.plan.rto.total_seconds()),
            "met": self.is_met,
            "error": self.error and {"type": type(self.error).__name__, "message": str(self.error)},
            "left": self.left,
            "timeline": self.timeline(),
        }

    def timeline(self) -> list[dict[str, Any]]:
        """Return everything that was seen, by time."""
        if self.recovery is None:
            return []
        began = self.recovery.began
        moments = sorted(self.recovery.timeline, key=lambda moment: moment.at)
        return [{"at": iso(m.at), "seconds": round(m.at - began), "what": m.what} for m in moments]

    def rows(self) -> list[tuple[str, str]]:
        """Return the milestones and the verdict, for a table."""
        if self.recovery is None:
            return []
        reached = [
            (MEANING[name], "not seen" if seconds is None else f"{seconds} s")
            for name, seconds in self.recovery.facts().items()
        ]
        whole = "not seen" if self.seconds is None else f"{self.seconds} s"
        verdict = "met" if self.is_met else "missed"
        return [*reached, ("whole recovery", f"{whole} (RTO {self.plan.rto.total_seconds():.0f} s: {verdict})")]

    def print(self) -> None:
        """Print the table, and what runs."""
        if rows := self.rows():
            print_table(("SINCE THE PRIMARY WAS STOPPED", "AFTER"), rows)
        for line in self.left:
            note(f"now: {line}")

    def write(self, name: str) -> None:
        """
        Write the JSON and the page, without what should not be public: the account's number and the address.

        :param name: of both files, without ``.json`` and ``.html``.
        :raises UsageError: when a file cannot be written.
        """
        address = self.recovery.scene.address if self.recovery else None
        facts = json.dumps(self.facts(), indent=2)
        for secret, stands_for in ((self.session.account, "ACCOUNT"), (address and address.public_ip, "PUBLIC_IP")):
            facts = facts.replace(secret, stands_for) if secret else facts
        for ending, text in ((".json", facts + "\n"), (".html", page(json.loads(facts)))):
            path = Path(f"{name}{ending}")
            try:
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                remedy = "name a file in a folder that exists"
                raise UsageError(f"writing '{path}'", problem=error.strerror or str(error), remedy=remedy) from error
            note(f"written to {path}")


def iso(at: float) -> str:
    """Return a time as JSON has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
