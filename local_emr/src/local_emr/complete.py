"""A server with everything: time that passes, steps that really run, and the Azure SQL stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_emr.azure_sql import AzureSqlServer
from local_emr.clock import ScaledClock
from local_emr.server import LocalAws
from local_emr.steps import ProcessStepRunner

if TYPE_CHECKING:
    from pathlib import Path

    from local_emr.saved import SavedState


def complete_aws(
    state_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    region: str = "eu-west-1",
    time_scale: float = 60.0,
    saved: SavedState | None = None,
    azure_sql_port: int = 0,
    azure_sql_directory: Path | None = None,
    azure_sql_upstream: tuple[str, int] | None = None,
) -> LocalAws:
    """
    Make what ``python -m local_emr`` serves.

    :param state_dir: where the files of steps and nodes go, and ``events.jsonl``.
    :param port: 0 takes any free one, as ``azure_sql_port`` does.
    :param time_scale: simulated seconds a real one.
    :param saved: read at the start and written at the end; nothing outlives the process unless given.
    :param azure_sql_directory: where the databases are kept; in memory unless given.
    :param azure_sql_upstream: host and port of a real SQL Server behind the firewall.
    """
    return LocalAws(
        host=host,
        port=port,
        region=region,
        clock=ScaledClock(time_scale, start=saved.start if saved else None),
        state_dir=state_dir,
        saved=saved,
        step_runner=lambda aws: ProcessStepRunner(endpoint_url=lambda: aws.endpoint_url, state_dir=state_dir),
        azure_sql=lambda aws: AzureSqlServer(
            host=host,
            port=azure_sql_port,
            who=lambda peer, port: aws.outside.caller(peer, local_port=port),
            record=aws.events.append,
            directory=azure_sql_directory,
            upstream=azure_sql_upstream,
        ),
    )
