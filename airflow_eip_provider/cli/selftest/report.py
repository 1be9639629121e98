"""What a self-test has found, for people and as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow_eip_provider import __version__
from airflow_eip_provider.cli.output import note, print_table
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_eip_provider.cli.selftest.plan import Plan
    from airflow_eip_provider.cli.selftest.recorder import Recorder
    from airflow_eip_provider.cli.session import Session

Result: TypeAlias = Literal["ok", "broken", "skipped"]

_FORMAT = 1  # of the JSON


@dataclass(frozen=True, slots=True)
class Claim:
    """
    One thing that this package promises, and whether it was so.

    :param promise: what is true when the result is "ok".
    :param evidence: what was seen; for "skipped" why nothing could be.
    """

    name: str
    result: Result
    promise: str
    evidence: str

    def facts(self) -> dict[str, str]:
        """Return the same as plain JSON."""
        return {"claim": self.name, "result": self.result, "promise": self.promise, "evidence": self.evidence}


@dataclass
class Report:
    """
    A self-test's result, which grows while it runs.

    :ivar preflight: what each check found.
    :ivar measurements: what AWS does not document, with the times at which it was seen.
    :ivar cost: how long instances ran.
    :ivar left: what could not be ended, and how to end it.
    :ivar error: with which it ended, if it did not come to its end.
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
        """Whether it came to its end, and everything is as promised."""
        return self.error is None and not self.left and all(claim.result != "broken" for claim in self.claims)

    def add(self, name: str, promise: str, *, kept: bool | None, evidence: str) -> None:
        """Note what came of a promise; ``None`` when it could not be checked."""
        result: Result = "skipped" if kept is None else "ok" if kept else "broken"
        self.claims.append(Claim(name, result, promise, evidence))
        note(f"{result}: {promise}: {evidence}")

    def facts(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        return {
            "format": _FORMAT,
            "account": self.session.account,
            "region": self.session.region,
            "passed": self.is_passed,
            "error": self.error and {"type": type(self.error).__name__, "message": str(self.error)},
            "versions": _versions(),
            "plan": self.plan.facts(),
            "preflight": self.preflight,
            "job_flow_id": self.recorder.job_flow_id,
            "instance_id": self.recorder.instance_id,
            "public_ip": self.public_ip,
            "claims": [claim.facts() for claim in self.claims],
            "measurements": self.measurements,
            "cost": self.cost,
            "left": self.left,
            "timeline": self.timeline(),
        }

    def timeline(self) -> list[dict[str, str | None]]:
        """Return every change that was seen, in the order in which AWS's answers showed them."""
        seen: list[tuple[datetime, str, str | None]] = [
            (call.at, call.operation, call.error or "accepted") for call in self.recorder.calls
        ]
        for name in ("cluster", "primary", "instance", "address"):
            before: str | None = None
            for shown in getattr(self.recorder, name):
                if shown.value != before:
                    seen.append((shown.at, name, shown.value))
                before = shown.value
        return [{"at": iso(at), "what": what, "value": value} for at, what, value in sorted(seen, key=lambda s: s[0])]

    def print(self) -> None:
        """Print the tables."""
        rows = [(claim.result, claim.promise, claim.evidence) for claim in self.claims]
        if rows:
            print_table(("RESULT", "PROMISE", "SEEN"), rows)
        measured = [(name.replace("_", " "), str(found["summary"])) for name, found in self.measurements.items()]
        if measured:
            print()
            print_table(("MEASURED", "RESULT"), measured)
        if self.cost:
            print()
            print(f"cost: {self.cost['summary']}")
        for line in self.left:
            note(f"left behind: {line}")

    def write(self, path: str) -> None:
        """
        Write the JSON without what should not be public: the account's number and the address.

        :raises UsageError: when the file cannot be written.
        """
        text = json.dumps(self.facts(), indent=2)
        for secret, stands_for in ((self.session.account, "ACCOUNT"), (self.public_ip, "PUBLIC_IP")):
            text = text.replace(secret, stands_for) if secret else text
        try:
            Path(path).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            problem = error.strerror or str(error)
            raise UsageError(
                f"writing '{path}'", problem=problem, remedy="name a file in a folder that exists"
            ) from error
        note(f"written to {path}")


def iso(at: datetime) -> str:
    """Return a time as JSON has it."""
    return at.isoformat(timespec="seconds")


def seconds_between(first: datetime, second: datetime) -> int:
    """Return whole seconds from one time to another."""
    return round((second - first).total_seconds())


def _versions() -> dict[str, str]:
    names: Sequence[str] = ("apache-airflow", "apache-airflow-providers-amazon", "boto3", "botocore")
    return {
        "airflow-eip-provider": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
