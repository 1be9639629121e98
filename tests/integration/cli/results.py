"""The result of a command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Said:
    """The output and the exit status of a command."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def decisions(self) -> dict[str, str]:
        return {found["job_flow_id"]: found["decision"] for found in self.result["clusters"]}

    @property
    def reasons(self) -> dict[str, str]:
        return {found["job_flow_id"]: found["reason"] for found in self.result["clusters"]}


class Examined(Said):
    """The result of the doctor as JSON."""

    def found(self, check: str) -> dict[str, Any]:
        """Return the only finding of a check; no other check has an error."""
        (findings,) = [c["findings"] for c in self.result["checks"] if c["check"] == check]
        (finding,) = findings
        assert self.status == (3 if finding["severity"] == "error" else 0), self.out
        assert all(finding[part] for part in ("subject", "what", "why", "mend"))
        return finding

    @property
    def skipped(self) -> dict[str, str]:
        return {c["check"]: c["skipped"] for c in self.result["checks"] if c["skipped"]}

    @property
    def all_found(self) -> dict[str, list[str]]:
        return {c["check"]: [f["what"] for f in c["findings"]] for c in self.result["checks"] if c["findings"]}
