"""The Livy server of a primary node: the five routes under ``/batches``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.wrappers import Response

from local_emr.emr import views
from local_emr.livy.batches import FINISHED, Batch, BatchSpec, command_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock

    from werkzeug.wrappers import Request

    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.emr.cluster import Cluster
    from local_emr.emr.steps import StepResult, StepRunner
    from local_emr.events import EventLog

PORT = 8998
_PAGE = 100
_SHOWN_LINES = 10
_DIGITS = frozenset("0123456789")


class World(Protocol):
    """What a server needs of the local EMR."""

    durations: Durations
    events: EventLog
    lock: RLock
    step_runner: StepRunner
    region: str


class LivyError(Exception):
    """A request that Livy refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class LivyServer:
    """
    The batches of one primary node; its replacement starts with none.

    :param clock: its timers are cancelled when the local EMR is reset.
    """

    def __init__(self, world: World, *, clock: Clock, cluster: Cluster, instance: Any) -> None:
        self._world = world
        self._clock = clock
        self._cluster = cluster
        self._instance = instance
        self._batches: dict[int, Batch] = {}
        self._next = 0
        self._closed = False
        self._routes: dict[tuple[str, str], Callable[[Batch, Request], dict[str, Any]]] = {
            ("GET", ""): lambda batch, _: self._view(batch),
            ("GET", "state"): lambda batch, _: {"id": batch.number, "state": batch.state},
            ("GET", "log"): self._log,
            ("DELETE", ""): self._delete,
        }

    def answer(self, request: Request, *, knows_names: bool = True) -> Response:
        """
        Answer a request; the caller holds the lock.

        :param knows_names: whether a batch can also be found by name, which older servers do not support.
        """
        try:
            return self._route(request, knows_names=knows_names)
        except LivyError as error:
            return _json({"msg": str(error)}, status=error.status)

    def end(self, key: str, state: str) -> None:
        """
        End a batch, as when something other than Livy ends its application.

        :param key: its id or its name.
        :param state: ``killed``, ``dead`` or ``error``.
        :raises ValueError: for another state, or a batch that does not exist or has ended.
        """
        if state not in FINISHED - {"success"}:
            raise ValueError(f"a batch can be made to end killed, dead or error, not {state!r}")
        try:
            batch = self._find(key)
        except LivyError as error:
            raise ValueError(str(error)) from error
        if batch.state in FINISHED:
            raise ValueError(f"batch {key!r} has ended already: {batch.state}")
        self._finish(batch, state)
        self._world.step_runner.cancel(batch.spec.id)

    def close(self) -> None:
        """End every batch, and ignore further results."""
        self._closed = True
        for batch in self._batches.values():
            if batch.state not in FINISHED:
                self._world.step_runner.cancel(batch.spec.id)

    def _route(self, request: Request, *, knows_names: bool) -> Response:
        root, _, path = request.path.strip("/").partition("/")
        if root != "batches":
            raise LivyError(404, "Not Found")
        if not path and request.method == "POST":
            batch = self._create(request)
            return _json(self._view(batch), status=201, headers={"Location": f"/batches/{batch.number}"})
        if not path and request.method == "GET":
            return _json(self._list(request))
        key, _, what = path.partition("/")
        route = self._routes.get((request.method, what))
        if route is None or not key:
            raise LivyError(404, "Not Found")
        if not knows_names and not set(key) <= _DIGITS:
            raise LivyError(400, f'For input string: "{key}"')
        return _json(route(self._find(key), request))

    def _create(self, request: Request) -> Batch:
        try:
            body = json.loads(request.get_data() or b"{}")
        except ValueError as error:
            raise LivyError(400, f"Malformed JSON: {error}") from error
        if not isinstance(body, dict):
            raise LivyError(400, "Malformed JSON: an object is expected")
        number, self._next = self._next, self._next + 1
        name = body.get("name")
        try:
            args = command_line(body)
        except ValueError as error:
            raise LivyError(400, f"Rejected, Reason: {error}") from error
        if name is not None and any(batch.name == name for batch in self._batches.values()):
            raise LivyError(400, f"Rejected, Reason: Duplicate session name: Some({name})")
        spec = BatchSpec(
            job_flow_id=self._cluster.id,
            name=name or str(body["file"]),
            jar="command-runner.jar",
            args=args,
            instance_id=self._instance.id,
            region=self._world.region,
            log_uri=self._cluster.request.get("LogUri"),
            node_info=views.node_info(self._cluster, self._cluster.primary_pool),
            application_id=self._application_id(number),
        )
        batch = self._batches[number] = Batch(number=number, name=name, proxy_user=body.get("proxyUser"), spec=spec)
        self._record(batch)
        batch.timer = self._clock.call_later(
            self._world.durations.livy_starting, lambda: self._runs(batch), name=f"batch {number} runs"
        )
        self._world.step_runner.start(spec, lambda result: self._ended(batch, result))
        return batch

    def _application_id(self, number: int) -> str:
        """Return a YARN application id: the start time of YARN, digits unique to this node, and a number."""
        started = self._cluster.ready or self._cluster.created
        node = int(str(self._instance.id).removeprefix("i-"), 16) % 1000
        return f"application_{int(started.timestamp() * 1000)}{node:03d}_{number + 1:04d}"

    def _runs(self, batch: Batch) -> None:
        if batch.state == "starting" and not self._closed:
            self._enter(batch, "running")

    def _ended(self, batch: Batch, result: StepResult) -> None:
        with self._world.lock:
            if self._closed or batch.state in FINISHED:
                return
            if not result.succeeded:
                batch.diagnostics = [result.message or f"Application {batch.spec.application_id} failed"]
            self._finish(batch, "success" if result.succeeded else "dead")

    def _finish(self, batch: Batch, state: str) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
        self._enter(batch, state)
        self._clock.call_later(
            self._world.durations.livy_retention, lambda: self._forget(batch), name=f"batch {batch.number} is forgotten"
        )

    def _forget(self, batch: Batch) -> None:
        if self._batches.pop(batch.number, None) is not None:
            self._record(batch, state="forgotten")

    def _delete(self, batch: Batch, _: Request) -> dict[str, Any]:
        if batch.state not in FINISHED:
            self._finish(batch, "killed")
            self._world.step_runner.cancel(batch.spec.id)
        self._forget(batch)
        return {"msg": "deleted"}

    def _enter(self, batch: Batch, state: str) -> None:
        batch.state = state
        self._record(batch)

    def _record(self, batch: Batch, *, state: str | None = None) -> None:
        self._world.events.append(
            "batch",
            job_flow_id=self._cluster.id,
            instance_id=self._instance.id,
            batch_id=batch.number,
            name=batch.name,
            app_id=batch.app_id,
            state=state or batch.state,
        )

    def _find(self, key: str) -> Batch:
        if set(key) <= _DIGITS:
            found = self._batches.get(int(key)) if key else None
        else:
            found = next((batch for batch in self._batches.values() if batch.name == key), None)
        if found is None:
            raise LivyError(404, f"Session '{key}' not found.")
        return found

    def _list(self, request: Request) -> dict[str, Any]:
        begin, size = _number(request, "from", 0), _number(request, "size", _PAGE)
        batches = list(self._batches.values())
        shown = [self._view(batch) for batch in batches[begin : begin + size]]
        return {"from": begin, "total": len(batches), "sessions": shown}

    def _log(self, batch: Batch, request: Request) -> dict[str, Any]:
        lines = self._lines(batch)
        size, begin = _number(request, "size", _PAGE), _number(request, "from", -1)
        if size < 0:
            size = len(lines)
        if begin < 0:
            begin = max(0, len(lines) - size)
        return {"id": batch.number, "from": begin, "total": len(lines), "log": lines[begin : begin + size]}

    def _view(self, batch: Batch) -> dict[str, Any]:
        started = batch.app_id is not None
        host = self._instance.private_ip_address
        place = f"http://{host}:8188/applicationhistory/logs/{batch.app_id}"
        info = {
            "driverLogUrl": place if started else None,
            "sparkUiUrl": f"http://{host}:20888/proxy/{batch.app_id}/" if started else None,
        }
        return {
            "id": batch.number,
            "name": batch.name,
            "owner": None,
            "proxyUser": batch.proxy_user,
            "state": batch.state,
            "appId": batch.app_id,
            "appInfo": info,
            "log": self._lines(batch)[-_SHOWN_LINES:],
        }

    def _lines(self, batch: Batch) -> list[str]:
        read = self._world.step_runner.read_log
        stdout, stderr = (read(batch.spec, name).splitlines() for name in ("stdout", "stderr"))
        return ["stdout: ", *stdout, "\nstderr: ", *stderr, "\nYARN Diagnostics: ", *batch.diagnostics]


def _number(request: Request, name: str, default: int) -> int:
    text = request.args.get(name)
    try:
        return default if text is None else int(text)
    except ValueError as error:
        raise LivyError(400, f'For input string: "{text}"') from error


def _json(body: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status=status, headers=headers, content_type="application/json;charset=utf-8")
