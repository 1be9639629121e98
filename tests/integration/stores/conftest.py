from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.register_assert_rewrite("tests.integration.stores.contract")


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses between botocore's retries."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
