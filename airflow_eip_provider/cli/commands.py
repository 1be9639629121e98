"""Every command there is, and how one is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.cli import (
    associate,
    audit,
    bootstrap_script,
    doctor,
    drill,
    history,
    iam_policy,
    import_cluster,
    reap,
    release,
    selftest,
    status,
    wait,
)
from airflow_eip_provider.cli.command import FAILED, INTERRUPTED, WRONG
from airflow_eip_provider.cli.output import note
from airflow_eip_provider.exceptions import ElasticIpError, UsageError

if TYPE_CHECKING:
    import argparse

    from airflow_eip_provider.cli.command import Command

COMMANDS: tuple[Command, ...] = (
    associate.COMMAND,
    audit.COMMAND,
    bootstrap_script.COMMAND,
    doctor.COMMAND,
    drill.COMMAND,
    history.COMMAND,
    iam_policy.COMMAND,
    import_cluster.COMMAND,
    reap.COMMAND,
    release.COMMAND,
    selftest.COMMAND,
    status.COMMAND,
    wait.COMMAND,
)

# What `airflow-eip --help` lists, by task.
GROUPS: dict[str, tuple[str, ...]] = {
    "Prepare and check": ("doctor", "iam-policy", "selftest"),
    "Keep a cluster available": ("drill",),
    "See and wait": ("status", "history", "wait"),
    "Clusters that no task launched": ("associate", "release", "bootstrap-script", "import-cluster"),
    "Clean up and audit": ("reap", "audit"),
}


def execute(command: Command, options: argparse.Namespace) -> int:
    """Carry a command out and return its exit status; an error that can be expected is said without a traceback."""
    try:
        return command.run(options)
    except KeyboardInterrupt:
        note("stopped")
        return INTERRUPTED
    except Exception as error:
        if not _is_expected(error):
            raise
        note(f"error: {error}")
        return WRONG if isinstance(error, UsageError) else FAILED


def _is_expected(error: Exception) -> bool:
    """Whether the error is ours, AWS's, or that of what stands between."""
    if isinstance(error, ElasticIpError):
        return True
    from botocore.exceptions import BotoCoreError, ClientError

    from airflow_eip_provider.aws.errors import is_transient

    return isinstance(error, (BotoCoreError, ClientError)) or is_transient(error)
