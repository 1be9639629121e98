"""How many of this package's frames are between an operator's ``execute`` and a call of boto3: few, to be read."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from botocore.client import BaseClient

from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

# With a lock store, and the address on the primary node.
MOST = {"AssociateAddress": 5, "PutItem": 7, "RunJobFlow": 6}


def frames_up_to_execute() -> list[str]:
    """The functions of this package that are on the stack, without ``execute`` itself."""
    frame: FrameType | None = sys._getframe(2)
    names: list[str] = []
    while frame is not None and frame.f_code.co_name not in {"execute", "resume"}:
        if "airflow_eip_provider" in frame.f_code.co_filename:
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return [] if frame is None else names[::-1]


@pytest.fixture
def deepest(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, list[str]]:
    """By operation, the longest way to it."""
    seen: dict[str, list[str]] = {}
    call = BaseClient._make_api_call

    def noted(client: Any, operation: str, parameters: Any) -> Any:
        names = frames_up_to_execute()
        if len(names) > len(seen.get(operation, [])) and not parameters.get("DryRun"):
            seen[operation] = names
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return seen


@pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
def test_a_create_with_a_lock_store_calls_aws_by_a_short_way(clocked, leased, lock_store, deepest):
    leased("daily").run()
    for operation, names in deepest.items():
        print(f"{len(names):>3} {operation:<24}{' > '.join(names)}")  # noqa: T201 - the figures
    lengths = Counter({operation: len(deepest[operation]) for operation in MOST})
    assert {operation: most for operation, most in MOST.items() if lengths[operation] > most} == {}


def test_without_one_too(clocked, create_operator, deepest):
    Task(create_operator(deferrable=True)).run()
    assert len(deepest["AssociateAddress"]) <= MOST["AssociateAddress"]
    assert len(deepest["RunJobFlow"]) <= MOST["RunJobFlow"]
