"""Identifies the node and the public source address of a connection, as the internet would see it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from local_emr.steps.processes import executor_of, is_in_cluster_mode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from local_emr.emr.steps import NodeWork, StepRunner

LAPTOP_IP = "198.51.100.7"  # any process that is not on a node, in a range for documentation (RFC 5737)
DROPPED_SECONDS = 127.0  # Linux gives up a connection after about this time without an answer
_LOOKS = 5
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Caller:
    """
    The caller of a connection.

    :param ip: its current public address; ``None`` when its node cannot reach the internet.
    :param instance_id: the EC2 instance of that node.
    """

    ip: str | None
    step_id: str | None = None
    job_flow_id: str | None = None
    instance_id: str | None = None


class Outside:
    """
    Finds the caller of a connection.

    Processes of steps and bootstrap actions are found by the mark in their environment, or as descendants of one.

    :param runner: finds the step or bootstrap action that a process belongs to.
    :param locate: a step or bootstrap action and the number of the Spark executor (``None`` for other processes) → the
        caller that the internet sees now.
    """

    def __init__(
        self,
        *,
        runner: Callable[[], StepRunner],
        locate: Callable[[NodeWork, int | None], Caller],
    ) -> None:
        self._runner = runner
        self._locate = locate

    def caller(self, peer: tuple[str, int], *, local_port: int) -> Caller:
        """
        Return the caller of an accepted connection.

        :param peer: the connection's remote address and port.
        :param local_port: the local port.
        """
        process = _process_at(peer[1], remote_port=local_port)
        line = list(_line_of(process)) if process else []
        runner = self._runner()
        work = next((work for ancestor in line if (work := runner.work_of(ancestor)) is not None), None)
        return Caller(LAPTOP_IP) if work is None else self._locate(work, _executor_of(line))


def drop_packets(connection: socket.socket, *, seconds: float = DROPPED_SECONDS) -> None:
    """Do not answer until the client gives up, as when packets are dropped."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError):  # includes TimeoutError
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(4096):
                return


def _executor_of(line: list[psutil.Process]) -> int | None:
    """
    Return the number of the executor that a process belongs to, from itself and its ancestors; ``None`` for a driver.

    In cluster mode YARN runs the driver in a container like an executor's; it counts as the first of them.
    """
    found = next((number for process in line if (number := executor_of(process)) is not None), None)
    return 0 if found is None and any(map(is_in_cluster_mode, line)) else found


def _process_at(port: int, *, remote_port: int) -> psutil.Process | None:
    """Find the process that owns a local port. Only ports are compared, because a JVM's socket may be IPv6."""
    for _ in range(_LOOKS):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.pid is None or not connection.laddr or not connection.raddr:
                continue
            if (connection.laddr.port, connection.raddr.port) == (port, remote_port):
                try:
                    return psutil.Process(connection.pid)
                except psutil.NoSuchProcess:
                    return None
        time.sleep(_LOOK_SECONDS)
    return None


def _line_of(process: psutil.Process) -> Iterator[psutil.Process]:
    try:
        yield process
        yield from process.parents()
    except psutil.Error:
        return
