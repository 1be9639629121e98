"""Finds and ends all processes of a step or bootstrap action, including other sessions and orphans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK_VARIABLE = "LOCAL_AWS_MARK"
"""Environment variable that marks every process of a step or a bootstrap action.

It survives ``setsid`` and the death of a parent. It names the runner too: step ids may be the same in two local EMRs on
one machine.
"""

DEPLOY_MODE_VARIABLE = "LOCAL_AWS_DEPLOY_MODE"
"""Environment variable that says where YARN would run a Spark application's driver: ``client`` or ``cluster``."""

_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
_EXECUTOR_ID = "--executor-id"


def mark_of(process: psutil.Process) -> str | None:
    """Return the process's mark, or None."""
    try:
        return process.environ().get(MARK_VARIABLE)
    except (psutil.Error, OSError):
        return None


def executor_of(process: psutil.Process) -> int | None:
    """Return the number of a Spark executor process, or None."""
    try:
        command = process.cmdline()
    except (psutil.Error, OSError):
        return None
    if _EXECUTOR not in command or _EXECUTOR_ID not in command[:-1]:
        return None
    number = command[command.index(_EXECUTOR_ID) + 1]
    return int(number) if number.isdigit() else None


def is_in_cluster_mode(process: psutil.Process) -> bool:
    """Return whether a process belongs to a Spark application in cluster mode."""
    try:
        return process.environ().get(DEPLOY_MODE_VARIABLE) == "cluster"
    except (psutil.Error, OSError):
        return False


def processes_of(mark: str, *, root: psutil.Process | None = None) -> set[psutil.Process]:
    """Return the live processes of a step or bootstrap action: those with the mark, and descendants of the root.

    :param root: Its first process, to find descendants without the environment.
    """
    found = {process for process in psutil.process_iter() if mark_of(process) == mark}
    if root is not None:
        found.update(_family(root))
    return {process for process in found if _is_alive(process)}


def end_processes(
    mark: str, *, root: psutil.Process, grace_seconds: float, give_up_after_seconds: float = 30.0
) -> bool:
    """Terminate all processes with a mark, kill the rest after the grace; return whether all have ended.

    Repeats after each round, for newly forked processes.
    """
    asked = processes_of(mark, root=root)
    for process in asked:
        _signal(process, kill=False)
    psutil.wait_procs(asked, timeout=grace_seconds)
    deadline = time.monotonic() + give_up_after_seconds
    # Keep descendants without the mark: they are no longer the root's children once it is dead.
    while left := {*filter(_is_alive, asked), *processes_of(mark, root=root)}:
        if time.monotonic() > deadline:
            return False
        for process in left:
            _signal(process, kill=True)
        psutil.wait_procs(left, timeout=1.0)
    return True


def _family(root: psutil.Process) -> Iterator[psutil.Process]:
    try:
        yield root
        yield from root.children(recursive=True)
    except psutil.Error:
        return


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        return
