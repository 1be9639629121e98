"""Proofs that take minutes run only if their path is given, and not with the other tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).resolve().parent
# They install environments, or start a real Airflow for each of several scenarios.
BY_PATH_ONLY = ("mwaa", "page", "recovery", "soak/test_soak.py", "telemetry", "tutorial")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip a proof unless an argument names it, or a file in it."""
    proof = next((HERE / name for name in BY_PATH_ONLY if collection_path == HERE / name), None)
    if proof is None:
        return None
    named = [Path(config.invocation_params.dir, argument.split("::")[0]) for argument in config.args]
    return True if not any(path == proof or proof in path.parents for path in named) else None
