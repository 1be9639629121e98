"""All commands, and how one is run."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

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
from airflow_eip_provider.cli.command import FAILED, INTERRUPTED, UNREAD, WRONG, Command
from airflow_eip_provider.cli.output import WithoutErrors, drop, note
from airflow_eip_provider.exceptions import ElasticIpError, UsageError, without_passwords

if TYPE_CHECKING:
    import argparse

# The order in which `airflow-eip --help` lists them.
GROUPS: dict[str, tuple[Command, ...]] = {
    "Prepare and check": (doctor.COMMAND, iam_policy.COMMAND, selftest.COMMAND),
    "Keep a cluster available": (drill.COMMAND,),
    "Inspect and wait": (status.COMMAND, history.COMMAND, wait.COMMAND),
    "Clusters that no task launched": (
        associate.COMMAND,
        release.COMMAND,
        bootstrap_script.COMMAND,
        import_cluster.COMMAND,
    ),
    "Clean up and audit": (reap.COMMAND, audit.COMMAND),
}
COMMANDS: list[Command] = sorted(
    (command for commands in GROUPS.values() for command in commands), key=lambda command: command.name
)

_OUTPUT_ERRORS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def execute(command: Command, options: argparse.Namespace) -> int:
    """
    Run a command and return its exit status; print an expected error without a traceback.

    A program that reads only the beginning of the output, such as ``head``, ends it without a message.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until the end
    with contextlib.redirect_stderr(cast("TextIO", WithoutErrors(sys.stderr))):
        return _status_of(command, options)


def _status_of(command: Command, options: argparse.Namespace) -> int:
    status = UNREAD
    try:
        status = _run(command, options)
        sys.stdout.flush()
    except OSError as error:
        if not _is_of_output(error):
            raise
        drop(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            note(f"error: the output cannot be written: {error.strerror}")
            return FAILED
    return status


def _run(command: Command, options: argparse.Namespace) -> int:
    try:
        return command.run(options)
    except KeyboardInterrupt:
        note("stopped")
        return INTERRUPTED
    except Exception as error:
        if _is_of_output(error) or not _is_expected(error):
            raise
        note(f"error: {without_passwords(str(error))}")
        return WRONG if isinstance(error, UsageError) else FAILED


def _is_of_output(error: Exception) -> bool:
    """Return whether the error came from writing to standard output; those of files and of the network say more."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _OUTPUT_ERRORS


def _is_expected(error: Exception) -> bool:
    """Return whether it is an error of this package, of AWS, or of the network."""
    if isinstance(error, ElasticIpError):
        return True
    from botocore.exceptions import BotoCoreError, ClientError

    from airflow_eip_provider.aws.errors import is_transient

    return isinstance(error, (BotoCoreError, ClientError)) or is_transient(error)
