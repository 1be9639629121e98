"""The result of a self-test: for people and as JSON."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow_eip_provider import __version__
from airflow_eip_provider.cli.output import note, print_document, print_table
from airflow_eip_provider.cli.scenario import error_facts, iso, public_json

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_eip_provider.cli.selftest.plan import Plan
    from airflow_eip_provider.cli.selftest.recorder import Recorder
    from airflow_eip_provider.cli.session import Session

Result: TypeAlias = Literal["ok", "broken", "skipped"]

_FORMAT = 1  # of the JSON
_PACKAGES = ("apache-airflow", "apache-airflow-providers-amazon", "boto3", "botocore")


@dataclass(frozen=True, slots=True)
class Claim:
    """
    A promise of this package, and whether it was kept.

    :param promise: what is true when the result is "ok".
    :param evidence: what was observed; for "skipped", why the promise could not be checked.
    """

    name: str
    result: Result
    promise: str
    evidence: str

    def facts(self) -> dict[str, str]:
        """Return the claim as plain JSON."""
        return {"claim": self.name, "result": self.result, "promise": self.promise, "evidence": self.evidence}


@dataclass
class Report:
    """
    The result of a self-test; it is filled in while the test runs.

    :ivar preflight: the findings of each check.
    :ivar measurements: what AWS does not document, with the times at which it was observed.
    :ivar cost: how long instances ran.
    :ivar left: what could not be cleaned up, and how to do it.
    :ivar error: the error that ended the test early.
    """

    session: Session
    plan: Plan
    recorder: Recorder
    preflight: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    measurements: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    error: BaseException | None = None
    public_ip: str | None = None

    @property
    def is_passed(self) -> bool:
        """Whether the test finished, left nothing behind, and found no broken promise."""
        return self.error is None and not self.left and all(claim.result != "broken" for claim in self.claims)

    def add(self, name: str, promise: str, *, kept: bool | None, evidence: str) -> None:
        """Record the result for a promise; ``None`` when it could not be checked."""
        result: Result = "skipped" if kept is None else "ok" if kept else "broken"
        self.claims.append(Claim(name, result, promise, evidence))
        note(f"{result}: {promise}: {evidence}")

    def facts(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {
            "format": _FORMAT,
            **self.session.facts,
            "passed": self.is_passed,
            "error": error_facts(self.error),
            "versions": {
                "airflow-eip-provider": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in _PACKAGES},
            },
            "plan": self.plan.facts(),
            "preflight": self.preflight,
            "job_flow_id": self.recorder.job_flow_id,
            "instance_id": self.recorder.instance_id,
            "public_ip": self.public_ip,
            "claims": [claim.facts() for claim in self.claims],
            "measurements": self.measurements,
            "cost": self.cost,
            "left": self.left,
            "timeline": self._timeline(),
        }

    def _timeline(self) -> list[dict[str, str | None]]:
        """Return every change, in the order of the times in AWS's answers."""
        events: list[tuple[datetime, str, str | None]] = [
            (call.at, call.operation, call.error or "accepted") for call in self.recorder.calls
        ]
        for name in ("cluster", "primary", "instance", "address"):
            previous: str | None = None
            for shown in getattr(self.recorder, name):
                if shown.value != previous:
                    events.append((shown.at, name, shown.value))
                previous = shown.value
        events.sort(key=lambda event: event[0])
        return [{"at": iso(at), "what": what, "value": value} for at, what, value in events]

    def print(self) -> None:
        """Print the tables."""
        if self.claims:
            rows = [(claim.result, claim.promise, claim.evidence) for claim in self.claims]
            print_table(("RESULT", "PROMISE", "EVIDENCE"), rows)
        if self.measurements:
            print()
            measured = [(name.replace("_", " "), str(facts["summary"])) for name, facts in self.measurements.items()]
            print_table(("MEASURED", "RESULT"), measured)
        if self.cost:
            print()
            print(f"cost: {self.cost['summary']}")
        for line in self.left:
            note(f"left behind: {line}")

    def write(self, path: str) -> None:
        """
        Write the JSON, without the account number and the public address.

        :raises UsageError: when the file cannot be written.
        """
        text = public_json(self.facts(), account=self.session.account, public_ip=self.public_ip)
        print_document(text, Path(path))


def seconds_between(first: datetime, second: datetime) -> int:
    """Return the whole seconds from one time to another."""
    return round((second - first).total_seconds())
