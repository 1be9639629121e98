"""A complete server: running time, steps that really run, and the Azure SQL stand-in."""

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
    Return the server that ``python -m local_emr`` starts.

    :param state_dir: directory of the files of steps and nodes, and of ``events.jsonl``.
    :param port: 0 for any free port; also for ``azure_sql_port``.
    :param time_scale: simulated seconds per real second.
    :param saved: read at the start and written at the end; if not given, no state outlives the process.
    :param azure_sql_directory: directory of the databases; in memory if not given.
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
