"""The result of one poll of a wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one poll."""

    status: Literal["pending", "done", "failed"]
    message: str
    data: dict[str, Any] = field(default_factory=dict)
