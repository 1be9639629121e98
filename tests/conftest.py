"""For the provider's tests: the local EMR under the name that they use, and Airflow made quicker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from tests.life import clocked, deferrable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr import LocalAws


__all__ = ["clocked", "deferrable"]


@pytest.fixture(scope="session", autouse=True)
def callers_not_searched() -> Iterator[None]:
    """Leave the operator's name out of the user agent: finding it reads the source of every frame of pytest's stack."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsBaseHook, "_get_caller", lambda *_: "Unknown")
        yield


@pytest.fixture(scope="session")
def served_aws(local_emr_server: LocalAws) -> LocalAws:
    """One server for all tests; ask for ``local_aws``, which is as good as new each time."""
    return local_emr_server


@pytest.fixture
def local_aws(local_emr: LocalAws) -> LocalAws:
    """An empty AWS whose clock the test turns; AWS clients find it through the environment."""
    return local_emr
