"""
For pytest, which finds this by itself: the fixture ``local_emr``.

Every run of pytest imports this module, so what is heavy is imported when a fixture is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr.server import LocalAws


@pytest.fixture(scope="session")
def local_emr_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """
    One server for the session: its clock runs 60 times as fast, and steps and bootstrap actions really run.

    Define a fixture of this name in ``conftest.py`` for another one, such as ``LocalAws(clock=ManualClock())``, on
    which time stands still until a test calls ``local_emr.clock.advance(seconds)``.
    """
    from local_emr.complete import complete_aws  # noqa: PLC0415 - see above

    with complete_aws(tmp_path_factory.mktemp("local-emr")) as aws:
        yield aws


@pytest.fixture
def local_emr(local_emr_server: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """
    An empty AWS, which boto3, the AWS CLI and Airflow find through the environment; made empty again after the test.

    Its methods and attributes do what the control API does: ``local_emr.faults.add(…)``, ``local_emr.events.read()``.
    """
    from local_emr.testing import client_environment  # noqa: PLC0415 - see above

    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in client_environment(local_emr_server).items():
        monkeypatch.setenv(name, value)
    if not local_emr_server.has_state:  # a test before this one had a local EMR of its own
        local_emr_server.reset()
    yield local_emr_server
    local_emr_server.reset()
