"""The demo's local EMR, which runs as a child process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from demo.aws import AwsClient
from harness.airflow import clean_environment
from harness.processes import ProcessError, free_port
from harness.wait import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.processes import Child, Children

_READY_SECONDS = 60.0


class LocalAws(AwsClient):
    """
    A local EMR in a child process.

    :param time_scale: simulated seconds per real second.
    """

    def __init__(self, children: Children, *, state: Path, time_scale: float, port: int | None = None) -> None:
        self._children = children
        self._port = port or free_port()
        self._state = state
        self._time_scale = time_scale
        self._child: Child | None = None
        super().__init__(f"http://127.0.0.1:{self._port}")

    @property
    def pid(self) -> int:
        """ID of the process whose descendants run the steps."""
        if self._child is None:
            raise ProcessError("the local EMR was not started")
        return self._child.process.pid

    def start(self) -> None:
        """
        Start the process and wait until it answers.

        :raises ProcessError: when it does not answer in time.
        """
        self._state.mkdir(parents=True)
        module = [sys.executable, "-m", "local_emr", "--port", str(self._port)]
        options = ["--time-scale", str(self._time_scale), "--state", str(self._state)]
        self._child = self._children.start("local-aws", [*module, *options], env=clean_environment({}))
        problem = f"the local EMR does not answer after {_READY_SECONDS:.0f} s; its log: {self._child.log}"

        def is_ready() -> bool:
            self._children.check()
            return self.is_healthy()

        wait_for(is_ready, seconds=_READY_SECONDS, error=lambda: ProcessError(problem))
