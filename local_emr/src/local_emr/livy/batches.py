"""A batch of Livy: its request, its command and its state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from local_emr.emr.steps import NodeWork

if TYPE_CHECKING:
    from local_emr.clock import Timer

FINISHED = frozenset({"success", "dead", "killed", "error"})
_OPTIONS = {
    "name": "--name",
    "className": "--class",
    "driverMemory": "--driver-memory",
    "driverCores": "--driver-cores",
    "executorMemory": "--executor-memory",
    "executorCores": "--executor-cores",
    "numExecutors": "--num-executors",
    "queue": "--queue",
}
_LISTS = {"jars": "--jars", "pyFiles": "--py-files", "files": "--files", "archives": "--archives"}
_OTHERS = {"file", "args", "conf", "proxyUser"}


@dataclass(frozen=True, kw_only=True)
class BatchSpec(NodeWork):
    """
    The part of a batch that a runner runs.

    The driver runs on the primary node, unless ``spark.submit.deployMode`` is ``cluster`` in the batch's ``conf``.
    """

    log_names: ClassVar[tuple[str, ...]] = ("stdout", "stderr")

    application_id: str

    @property
    def place(self) -> str:
        """``containers/APPLICATION``, where EMR keeps the logs of YARN's applications."""
        return f"containers/{self.application_id}"


@dataclass(kw_only=True)
class Batch:
    """
    A batch of a server.

    :param number: Livy's id.
    """

    number: int
    name: str | None
    proxy_user: str | None
    spec: BatchSpec
    state: str = "starting"
    timer: Timer | None = None
    diagnostics: list[str] = field(default_factory=list)

    @property
    def app_id(self) -> str | None:
        """YARN's application id, if any."""
        return None if self.state == "starting" else self.spec.application_id


def command_line(request: dict[str, Any]) -> tuple[str, ...]:
    """
    Return the ``spark-submit`` command of a batch.

    :raises ValueError: for a request that Livy refuses.
    """
    if unknown := sorted(request.keys() - _OPTIONS.keys() - _LISTS.keys() - _OTHERS):
        raise ValueError(f'Unrecognized field "{unknown[0]}"')
    if not request.get("file"):
        raise ValueError("requirement failed: File is required.")
    arguments = ["spark-submit"]
    for key, option in _OPTIONS.items():
        if request.get(key) is not None:
            arguments += [option, str(request[key])]
    for key, option in _LISTS.items():
        if request.get(key):
            arguments += [option, ",".join(request[key])]
    for key, value in (request.get("conf") or {}).items():
        arguments += ["--conf", f"{key}={value}"]
    return (*arguments, str(request["file"]), *map(str, request.get("args") or ()))
