"""Fixtures for Azure: the Azure SQL stand-in of the local EMR, its ARM endpoint, and an Airflow connection to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_emr.azure_arm import server_id
from local_emr.azure_sql import AzureSqlServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVER_ID = server_id("sales")


@pytest.fixture
def azure(clocked: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureSqlServer]:
    """The stand-in ``sales``; azure-core's waits advance the local EMR's clock."""
    pytest.importorskip("airflow.providers.microsoft.azure", reason="the extra azure is not installed")
    from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415 - slow

    server = AzureSqlServer(
        name="sales",
        who=lambda peer, port: clocked.outside.caller(peer, local_port=port),
        record=clocked.events.append,
    )
    server.start()
    monkeypatch.setattr(clocked, "azure_sql", server)
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _, seconds: clocked.clock.advance(seconds))
    monkeypatch.setenv("AIRFLOW_CONN_AZURE_DEFAULT", connection(arm_endpoint=clocked.endpoint_url, enforce_https=False))
    yield server
    server.stop()


def connection(**extra: Any) -> str:
    """Return an Airflow connection of the type Azure as JSON, with a secret that must not be shown anywhere."""
    return json.dumps({"conn_type": "azure", "login": "client", "password": "s3cr3t-of-azure", "extra": extra})


@pytest.fixture
def arm_calls(azure: AzureSqlServer, clocked: Any) -> Callable[..., list[str]]:
    """Return a function that returns the ARM calls in order: ``read``, ``write`` or ``delete``."""

    def calls() -> list[str]:
        found = [event["operation"] for event in clocked.events.calls() if event["service"] == "azure"]
        return [operation.rsplit("/", 1)[-1] for operation in found]

    return calls
