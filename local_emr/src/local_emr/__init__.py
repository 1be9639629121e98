"""Amazon EMR, the parts of EC2 that its clusters need, and Azure SQL on one machine, for development and tests."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_emr.clock import ManualClock, ScaledClock
    from local_emr.complete import complete_aws
    from local_emr.durations import Durations
    from local_emr.emr.steps import TimedStepRunner
    from local_emr.server import LocalAws

__version__ = "0.1.0"
__all__ = ["Durations", "LocalAws", "ManualClock", "ScaledClock", "TimedStepRunner", "complete_aws"]

_MODULES = {
    "Durations": "durations",
    "LocalAws": "server",
    "ManualClock": "clock",
    "ScaledClock": "clock",
    "TimedStepRunner": "emr.steps",
    "complete_aws": "complete",
}


def __getattr__(name: str) -> Any:
    """Import a class on first use: every pytest run imports this package for its plugin, and importing moto is slow."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
