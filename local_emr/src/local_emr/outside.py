"""The outside world's view of a connection: which node is behind it, and from which public address it comes."""

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

LAPTOP_IP = "198.51.100.7"  # what is not of a node is the laptop itself, in a range for documentation (RFC 5737)
DROPPED_SECONDS = 127.0  # Linux gives a connection up after about as long without an answer
_LOOKS = 5
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who is behind a connection.

    :param ip: the public address it comes from now; ``None`` when its node has no way to the internet.
    :param instance_id: the EC2 instance of that node.
    """

    ip: str | None
    step_id: str | None = None
    job_flow_id: str | None = None
    instance_id: str | None = None


class Outside:
    """
    Finds out who connected.

    The processes of steps and bootstrap actions are found by the mark in their environment, or as descendants of one.

    :param runner: knows which step or bootstrap action of this local EMR a process is of.
    :param locate: a step or bootstrap action and the number of the Spark executor, ``None`` for all else of it → what
        the internet sees of that node at this moment.
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
        Return who is at the other end of an accepted connection.

        :param peer: the connection's remote address and port.
        :param local_port: the port that it was accepted on.
        """
        process = _process_at(peer[1], remote_port=local_port)
        line = list(_line_of(process)) if process else []
        runner = self._runner()
        work = next((work for ancestor in line if (work := runner.work_of(ancestor)) is not None), None)
        return Caller(LAPTOP_IP) if work is None else self._locate(work, _executor_of(line))


def drop_packets(connection: socket.socket, *, seconds: float = DROPPED_SECONDS) -> None:
    """Answer nothing until the client gives up, as when its packets never arrive."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError):  # a TimeoutError too
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(4096):
                return


def _executor_of(line: list[psutil.Process]) -> int | None:
    """
    Return the number of the executor that a process belongs to, from itself and its ancestors; ``None`` for a driver.

    In cluster mode YARN puts the driver into a container of its own, and so beside the executors: it counts as the
    first of them.
    """
    found = next((number for process in line if (number := executor_of(process)) is not None), None)
    return 0 if found is None and any(map(is_in_cluster_mode, line)) else found


def _process_at(port: int, *, remote_port: int) -> psutil.Process | None:
    """Find the process that owns a local port; a JVM's socket may be an IPv6 one, so only the ports are compared."""
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
