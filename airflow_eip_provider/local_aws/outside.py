"""The outside world's view of a connection: which step is behind it, and from which public address it comes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from airflow_eip_provider.local_aws.steps.processes import step_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_eip_provider.local_aws.emr.steps import StepSpec

LAPTOP_IP = "198.51.100.7"  # what is not a step is the laptop itself, in a range for documentation (RFC 5737)
_LOOKS = 5
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who is behind a connection.

    :param ip: the public address it comes from now; ``None`` when its node has no way to the internet.
    """

    ip: str | None
    step_id: str | None = None
    job_flow_id: str | None = None


class Outside:
    """
    Finds out who connected.

    A step's processes are found by the mark in their environment, or as descendants of the step's first process.

    :param roots: each running step's first process id → the step.
    :param public_ip_of_step: the address that a step's node has at this moment.
    """

    def __init__(
        self,
        *,
        roots: Callable[[], Mapping[int, StepSpec]],
        public_ip_of_step: Callable[[str], str | None],
        job_flow_of_step: Callable[[str], str | None],
    ) -> None:
        self._roots = roots
        self._public_ip_of_step = public_ip_of_step
        self._job_flow_of_step = job_flow_of_step

    def caller(self, peer: tuple[str, int], *, local_port: int) -> Caller:
        """
        Return who is at the other end of an accepted connection.

        :param peer: the connection's remote address and port.
        :param local_port: the port that it was accepted on.
        """
        process = _process_at(peer[1], remote_port=local_port)
        step_id = self._step_of(process) if process else None
        if step_id is None:
            return Caller(LAPTOP_IP)
        return Caller(self._public_ip_of_step(step_id), step_id, self._job_flow_of_step(step_id))

    def _step_of(self, process: psutil.Process) -> str | None:
        roots = self._roots()
        for ancestor in _line_of(process):
            if ancestor.pid in roots:
                return roots[ancestor.pid].step_id
            if (step_id := step_id_of(ancestor)) is not None:
                return step_id
        return None


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
