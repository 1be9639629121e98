"""The services of primary nodes: YARN, HDFS and Livy, each at its own port of the node's private address.

They run while the cluster is RUNNING or WAITING and its primary instance is running; Livy on clusters that have it
in ``Applications``, as on EMR.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, get_args

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from local_emr.emr.cluster import READY
from local_emr.livy.server import PORT as LIVY
from local_emr.livy.server import LivyServer
from local_emr.services import hdfs, yarn

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from threading import RLock

    from _typeshed.wsgi import StartResponse

    from local_emr.calls import Environ
    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.ec2.zones import Zones
    from local_emr.emr.cluster import Cluster
    from local_emr.emr.life import ClusterLife
    from local_emr.emr.steps import StepRunner
    from local_emr.events import Event, EventLog
    from local_emr.services.ports import Mode, Port, Ports

PORTS = {"yarn": yarn.PORT, "hdfs": hdfs.PORT, "livy": LIVY}
_SERVICES = {port: service for service, port in PORTS.items()}
Trouble = Literal["hangs", "errors", "refuses", "safe-mode", "ids-only"]
_OF_ONE = {"safe-mode": "hdfs", "ids-only": "livy"}
_LOST_SECONDS = 600  # how long the ports of a lost instance stay open without answering


class World(Protocol):
    """What the services need of the local EMR."""

    clock: Clock
    durations: Durations
    events: EventLog
    lock: RLock
    step_runner: StepRunner
    region: str


@dataclass(kw_only=True)
class Primary:
    """
    A primary node whose services run, or are unreachable.

    :param lost: its instance was lost, as when the host fails.
    """

    cluster: Cluster
    instance: Any
    ports: dict[str, Port] = field(default_factory=dict)
    livy: LivyServer | None = None
    troubles: dict[str, Trouble] = field(default_factory=dict)
    lost: bool = False

    @property
    def address(self) -> str:
        """The node's private address."""
        return str(self.instance.private_ip_address)

    @property
    def services(self) -> list[str]:
        """The running services."""
        return ["yarn", "hdfs", *(["livy"] if self.livy else [])]


class PrimaryServices:
    """
    Opens and closes ports as clusters and instances start and end.

    :param clock: its timers are cancelled when the local EMR is reset.
    """

    def __init__(self, world: World, *, clock: Clock, life: ClusterLife, zones: Zones, ports: Ports) -> None:
        self._world = world
        self._clock = clock
        self._life = life
        self._zones = zones
        self._ports = ports
        self._primaries: dict[str, Primary] = {}
        self._http: ThreadedWSGIServer | None = None

    def heed(self, event: Event) -> None:
        """Process an event."""
        if event["kind"] == "zone":
            for primary in list(self._primaries.values()):
                self._apply(primary)
        elif event["kind"] in {"cluster", "instance"} and (job_flow_id := event.get("job_flow_id")):
            with self._world.lock:
                cluster = self._life.find(job_flow_id)
                if cluster is not None:
                    self._follow(cluster)

    def find(self, job_flow_id: str) -> Primary:
        """
        Return the primary node of a cluster, if its services run.

        :raises ValueError: if there is none.
        """
        found = (p for p in self._primaries.values() if p.cluster.id == job_flow_id and not p.lost)
        primary = next(found, None)
        if primary is None:
            raise ValueError(f"the services of cluster {job_flow_id!r} do not run: is it RUNNING or WAITING?")
        return primary

    def shown(self) -> list[dict[str, str]]:
        """Return every service with a port: its address, its cluster and its mode."""
        return [
            {
                "job_flow_id": primary.cluster.id,
                "instance_id": primary.instance.id,
                "service": service,
                "address": f"{primary.address}:{PORTS[service]}",
                "state": primary.troubles.get(service, port.mode) if port.mode == "open" else port.mode,
            }
            for primary in self._primaries.values()
            for service, port in primary.ports.items()
        ]

    def at(self, address: str) -> Primary | None:
        """Return the primary node at a private address."""
        return next((primary for primary in self._primaries.values() if primary.address == address), None)

    def trouble(self, job_flow_id: str, service: str, trouble: Trouble | None) -> None:
        """
        Change the mode of a service, or restore it.

        :raises ValueError: for a cluster without that service, or an unknown trouble.
        """
        primary = self.find(job_flow_id)
        if service not in primary.services:
            raise ValueError(f"cluster {job_flow_id!r} has no {service!r}; it has {', '.join(primary.services)}")
        if trouble is None:
            primary.troubles.pop(service, None)
        elif trouble not in get_args(Trouble) or _OF_ONE.get(trouble, service) != service:
            raise ValueError(
                f"{service!r} cannot be in the trouble {trouble!r}; there are {', '.join(get_args(Trouble))}"
            )
        else:
            primary.troubles[service] = trouble
        self._apply(primary)

    def close(self) -> None:
        """Stop all services; the owner of the ports closes them."""
        for primary in self._primaries.values():
            if primary.livy is not None:
                primary.livy.close()
        self._primaries.clear()

    def _follow(self, cluster: Cluster) -> None:
        """Start or stop the services of a cluster according to its state and its instance's."""
        instance = cluster.primary
        serves = cluster.state in READY and instance is not None and instance.state == "running"
        for primary in [p for p in self._primaries.values() if p.cluster is cluster and not p.lost]:
            if serves and primary.instance is instance:
                continue
            if primary.instance.state == "terminated":
                self._lose(primary)
            else:
                self._end(primary)
        if serves and instance is not None and instance.id not in self._primaries:
            self._begin(cluster, instance)

    def _begin(self, cluster: Cluster, instance: Any) -> None:
        primary = self._primaries[instance.id] = Primary(cluster=cluster, instance=instance)
        if any(
            application.get("Name", "").lower() == "livy" for application in cluster.request.get("Applications", ())
        ):
            primary.livy = LivyServer(self._world, clock=self._clock, cluster=cluster, instance=instance)
        self._apply(primary)

    def _lose(self, primary: Primary) -> None:
        """Drop packets to a node whose instance was lost."""
        primary.lost = True
        if primary.livy is not None:
            primary.livy.close()
        self._apply(primary)
        self._clock.call_later(_LOST_SECONDS, lambda: self._end(primary), name=f"{primary.address} is free again")

    def _end(self, primary: Primary) -> None:
        self._primaries.pop(primary.instance.id, None)
        if primary.livy is not None:
            primary.livy.close()
        for service, port in primary.ports.items():
            self._ports.close(port)
            self._record(primary, service, "closed")
        primary.ports.clear()

    def _apply(self, primary: Primary) -> None:
        for service in primary.services:
            state = self._state(primary, service)
            port = primary.ports.get(service)
            if state == "refuses":
                if port is not None:
                    self._ports.close(primary.ports.pop(service))
                    self._record(primary, service, "closed")
                continue
            try:
                port = port or self._open(primary, service)
            except OSError as error:
                self._record(primary, service, "unavailable", error=str(error))
                continue
            if port.mode != state:
                self._ports.set_mode(port, state)
                self._record(primary, service, state)

    def _state(self, primary: Primary, service: str) -> Mode | Literal["refuses"]:
        if primary.lost or self._zones.is_cut(primary.instance.availability_zone):
            return "lost"
        trouble = primary.troubles.get(service)
        return trouble if trouble in {"hangs", "refuses"} else "open"

    def _open(self, primary: Primary, service: str) -> Port:
        port = self._ports.open(primary.address, PORTS[service], self._serve)
        primary.ports[service] = port
        self._record(primary, service, "open")
        return port

    def _record(self, primary: Primary, service: str, state: str, **details: Any) -> None:
        self._world.events.append(
            "service",
            service=service,
            state=state,
            address=f"{primary.address}:{PORTS[service]}",
            instance_id=primary.instance.id,
            job_flow_id=primary.cluster.id,
            **details,
        )

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        if self._http is None:
            # It does not listen itself; it handles the connections that it is given.
            self._http = ThreadedWSGIServer("127.0.0.1", 0, self, handler=_Handler)
            self._http.socket.close()
        self._http.process_request(connection, peer)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        connection: socket.socket = environ["werkzeug.socket"]
        address, port = connection.getsockname()[:2]
        request = Request(environ)
        request.get_data()  # before the lock is taken, so that a slow client does not block others
        response = self.answer(address, port, request)
        if response is None:
            _outwait(connection)
        return response(environ, start_response)

    def answer(self, address: str, port: int, request: Request) -> Response | None:
        """
        Answer a request to a port; ``None`` if it must not be answered.

        :raises ConnectionAbortedError: when the service has stopped.
        :raises KeyError: when no service has this port.
        """
        service = _SERVICES[port]
        with self._world.lock:
            primary = self.at(address)
            if primary is None or service not in primary.ports:
                raise ConnectionAbortedError("the service is no more")
            if self._state(primary, service) != "open":
                return None
            response = self._answer(primary, service, request)
            if request.headers.get("User-Agent", "").startswith("ELB-HealthChecker"):
                return response  # its result is logged as the target's state
            self._world.events.append(
                "http",
                service=service,
                method=request.method,
                path=request.full_path.rstrip("?"),
                status=response.status_code,
                address=f"{address}:{port}",
                instance_id=primary.instance.id,
                job_flow_id=primary.cluster.id,
            )
        return response

    def _answer(self, primary: Primary, service: str, request: Request) -> Response:
        trouble = primary.troubles.get(service)
        if trouble == "errors":
            return _json({"message": "Internal Server Error", "msg": "Internal Server Error"}, status=500)
        if service == "livy" and primary.livy is not None:
            return primary.livy.answer(request, knows_names=trouble != "ids-only")
        if service == "yarn":
            body = yarn.answer(request.path.rstrip("/"), primary.cluster)
        else:
            query = request.args.get("qry")
            body = hdfs.answer(request.path, query, primary.cluster, safe_mode=trouble == "safe-mode")
        return _json({"message": "Not Found"}, status=404) if body is None else _json(body)


class _Handler(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Log nothing; calls are in the event log."""


def _json(body: dict[str, Any], *, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json;charset=utf-8")


def _outwait(connection: socket.socket) -> NoReturn:
    """
    Wait until the client gives up.

    :raises ConnectionAbortedError: always, after that.
    """
    connection.settimeout(None)
    with contextlib.suppress(OSError):
        connection.recv(1)
    raise ConnectionAbortedError("the service answers nothing")
