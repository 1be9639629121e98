from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.register_assert_rewrite("tests.integration.stores.contract")


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore's retries follow each other at once."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
