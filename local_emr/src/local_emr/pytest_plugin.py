"""
The pytest plugin with the fixture ``local_emr``, found through its entry point.

Every run of pytest imports this module, so slow imports are in the fixtures.
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
    A server for the session: its clock runs at 60 times real time, and steps and bootstrap actions really run.

    Override this fixture in ``conftest.py`` for another server, such as ``LocalAws(clock=ManualClock())``, whose time
    only advances when a test calls ``local_emr.clock.advance(seconds)``.
    """
    from local_emr.complete import complete_aws  # noqa: PLC0415 - see above

    with complete_aws(tmp_path_factory.mktemp("local-emr")) as aws:
        yield aws


@pytest.fixture
def local_emr(local_emr_server: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """
    An empty AWS that boto3, the AWS CLI and Airflow find through the environment; reset after the test.

    It offers what the control API offers, e.g. ``local_emr.faults.add(…)`` and ``local_emr.events.read()``.
    """
    from local_emr.testing import client_environment  # noqa: PLC0415 - see above

    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in client_environment(local_emr_server).items():
        monkeypatch.setenv(name, value)
    if not local_emr_server.has_state:  # an earlier test had its own local EMR
        local_emr_server.reset()
    yield local_emr_server
    local_emr_server.reset()
