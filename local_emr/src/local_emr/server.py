"""The local EMR as one object: services, clock, event log and HTTP server."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Self

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.http import http_date
from werkzeug.serving import BaseWSGIServer, make_server

from local_emr.azure_arm import AzureResourceManager
from local_emr.azure_sql.firewall import Rule
from local_emr.clock import GuardedClock, ManualClock
from local_emr.control import ControlApi
from local_emr.demand import OnDemand
from local_emr.durations import Durations
from local_emr.ec2.api import Ec2
from local_emr.ec2.metadata import InstanceMetadata
from local_emr.elb.api import LoadBalancers
from local_emr.emr.api import Emr
from local_emr.emr.cluster import ENDED, Cluster
from local_emr.emr.life import ClusterLife
from local_emr.emr.steps import NodeWork, StepRunner, StepSpec, TimedStepRunner
from local_emr.events import Event, EventLog
from local_emr.faults import Faults
from local_emr.gateway import Gateway
from local_emr.iam.permissions import Permissions
from local_emr.livy.batches import BatchSpec
from local_emr.outside import Caller, Outside
from local_emr.past import Past
from local_emr.quotas import Quotas
from local_emr.services.loopback import LoopbackNetwork
from local_emr.services.ports import Ports
from local_emr.services.primaries import PrimaryServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_emr.azure_sql import AzureSqlServer
    from local_emr.clock import Clock, RootClock
    from local_emr.saved import SavedState

_POLL_SECONDS = 0.05
_CHANGES = frozenset(
    {"call", "cluster", "step", "instance", "address", "nat_gateway", "route", "status", "target", "zone"}
)


class LocalAws(OnDemand):
    """The parts of AWS that an EMR job depends on, on one machine.

    moto keeps the state in memory, once per process, so only the newest local EMR of a process has it; an older one
    refuses every call until its :meth:`reset`. What ``saved`` keeps is restored at the next start.

    :param port: 0 for any free port; see ``endpoint_url``.
    :param clock: Default: a :class:`ManualClock`, which ``aws.clock.advance(seconds)`` advances.
    :param step_runner: Creates the runner of steps and bootstrap actions for this local EMR (it may use
        ``endpoint_url``). Default: they only take time.
    :param azure_sql: Creates the Azure SQL stand-in for this local EMR. Default: none.
    :param state_dir: Directory of the event log ``events.jsonl``. Default: none.
    :param saved: Read at the start and written at the end. Default: no state outlives the process.
    """

    _newest: ClassVar[LocalAws | None] = None

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = "eu-west-1",
        clock: RootClock | None = None,
        step_runner: StepRunner | Callable[[LocalAws], StepRunner] | None = None,
        durations: Durations | None = None,
        state_dir: Path | None = None,
        azure_sql: Callable[[LocalAws], AzureSqlServer] | None = None,
        saved: SavedState | None = None,
    ) -> None:
        self.region = region
        self._saved = saved
        self._saved_events = 0
        self.clock: Any = clock or ManualClock()
        self.durations = durations or Durations()
        self.lock = threading.RLock()
        if state_dir is not None:
            state_dir.mkdir(parents=True, exist_ok=True)
        self.state_dir = state_dir
        self.events = EventLog(self.clock, path=state_dir / "events.jsonl" if state_dir else None)
        self.faults = Faults()
        self.faults.on_stale.append(self.remember)
        self.permissions = Permissions(self)
        self.application = Gateway(self, ControlApi(self), AzureResourceManager(self), InstanceMetadata(self))
        """What is served, a WSGI application: a test may call it without a server."""
        self._server: BaseWSGIServer = make_server(
            host, port, self.application, threaded=True, request_handler=_handler(self.clock)
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="local-aws", daemon=True
        )
        runner = step_runner(self) if callable(step_runner) else step_runner
        self.step_runner: StepRunner = runner or TimedStepRunner(self.clock)
        self.outside = Outside(runner=lambda: self.step_runner, locate=self._locate)
        self.azure_sql = azure_sql(self) if azure_sql else None
        self.events.listeners += [self._break_connections, self._record, self._follow]
        self.loopback = LoopbackNetwork()
        self.ports = Ports()
        self._begin()

    @property
    def endpoint_url(self) -> str:
        """The endpoint URL for AWS clients."""
        return f"http://{self._server.host}:{self._server.server_port}"

    @property
    def has_state(self) -> bool:
        """Whether moto's state belongs to this local EMR and not to a newer one in this process."""
        return LocalAws._newest is self

    def start(self) -> None:
        """Start to serve, on its own thread; requests wait until the saved state is restored."""
        if self._saved is not None:
            self._saved.restore(region=self.region, put_own=self._put_own)
        self._thread.start()
        if self.azure_sql is not None:
            self.azure_sql.start()

    def stop(self) -> None:
        """End every step and bootstrap action, stop serving, and save the state."""
        self.step_runner.close()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._save()
        if self.azure_sql is not None:
            self.azure_sql.stop()
        self._server.server_close()
        self.clock.close()
        with self.lock:
            self._guarded.close()
            self._leave()
        self.ports.close_all()
        self.loopback.close()
        self.events.close()

    def save_when_idle(self) -> None:
        """Save the state now, if it has changed and no cluster is active."""
        with self.lock:
            alive = any(cluster.state not in ENDED for cluster in self.emr.life.clusters)
            if not alive and self.events.last > self._saved_events:
                self._save()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Reset to a default VPC without clusters, addresses, buckets, databases, faults or events."""
        if self.azure_sql is not None:
            self.azure_sql.reset()
        with self.lock:
            self.clock.clear()
            self._guarded.close()
            self.emr.life.close()
            self._leave()
            self.faults.clear()
            self.permissions.clear()
            self.events.clear()
            self._begin()

    def _leave(self) -> None:
        """Stop the services of the nodes."""
        self.services.close()
        self.load_balancers.close()
        self.ports.close_all()

    def ec2(self, region: str) -> Ec2:
        """Return a region's EC2."""
        if region not in self._ec2:
            self._ec2[region] = Ec2(
                region, clock=self._guarded, events=self.events, durations=self.durations, loopback=self.loopback
            )
        return self._ec2[region]

    def cluster(self, job_flow_id: str) -> Cluster:
        """Return a cluster.

        :raises KeyError: If it does not exist.
        """
        cluster = self.emr.life.find(job_flow_id)
        if cluster is None:
            raise KeyError(f"there is no cluster {job_flow_id!r}; it may be from before a reset")
        return cluster

    def locate(self, step_id: str, executor: int | None = None) -> Caller:
        """Return the caller that the internet sees now for a step, or for one of its Spark executors.

        Executors run on the core and task nodes in turn; all else, and executors without such nodes, on the primary.

        :param executor: The executor's number; ``None`` for the driver and for other programs.
        """
        with self.lock:
            cluster = self.emr.life.find_step(step_id)
            if cluster is None or cluster.primary is None:
                return Caller(None, step_id, cluster.id if cluster else None)
            instance = _node_of(cluster, cluster.primary, executor)
            return Caller(self.ec2(self.region).public_ip(instance.id), step_id, cluster.id, instance.id)

    def _locate(self, work: NodeWork, executor: int | None) -> Caller:
        """Return the caller that the internet sees now for a step, a bootstrap action or a Livy batch."""
        if isinstance(work, StepSpec):
            return self.locate(work.step_id, executor)
        instance_id = work.instance_id
        with self.lock:
            cluster = self.emr.life.find(work.job_flow_id)
            if isinstance(work, BatchSpec) and cluster is not None and executor is not None and cluster.workers:
                instance_id = _node_of(cluster, None, executor).id
            public_ip = self.ec2(self.region).public_ip(instance_id)
        return Caller(public_ip, None, work.job_flow_id, instance_id)

    def public_ip_of_step(self, step_id: str) -> str | None:
        """Return a step's public address, or None if its primary node cannot reach the internet."""
        return self.locate(step_id).ip

    def _break_connections(self, event: Event) -> None:
        """Reset open connections when a node's public address or route changes.

        (Docs: EC2, Elastic IP addresses; Amazon VPC, NAT gateways.)
        """
        if self.azure_sql is None:
            return
        if event["kind"] == "address" and event["instance_id"]:
            self.azure_sql.reset_connections(lambda caller: caller.instance_id == event["instance_id"])
        elif event["kind"] in {"nat_gateway", "route", "zone"}:
            self.azure_sql.reset_connections(self._has_moved)

    def _has_moved(self, caller: Caller) -> bool:
        """Return whether a node's public address has changed since it connected."""
        with self.lock:
            return caller.instance_id is not None and self.ec2(self.region).public_ip(caller.instance_id) != caller.ip

    def _record(self, event: Event) -> None:
        """Record a change for stale reads; needed here because steps end on their own threads, without a call."""
        if event["kind"] in _CHANGES:
            with self.lock:
                self.past.record()

    def _follow(self, event: Event) -> None:
        """Update the services of the nodes after an event."""
        self.services.heed(event)

    def _parts(self) -> Iterator[Any]:
        yield from self.emr.life.parts()
        for ec2 in self._ec2.values():
            yield from ec2.parts()
        yield from self.load_balancers.parts()

    def _save(self) -> None:
        """Save under the lock."""
        if self._saved is None:
            return
        self._saved_events = self.events.last
        rules = self.azure_sql.firewall.rules() if self.azure_sql is not None else []
        own = {
            "addresses": self.ec2(self.region).addresses.saved(),
            "firewall_rules": [asdict(rule) for rule in rules],
            "upstream": self.azure_sql.upstream if self.azure_sql is not None else None,
        }
        self._saved.save(region=self.region, time=self.clock.now(), own=own)

    def _put_own(self, own: dict[str, Any]) -> None:
        self.ec2(self.region).addresses.restore(own["addresses"])
        if self.azure_sql is not None:
            for rule in own["firewall_rules"]:
                self.azure_sql.firewall.put(Rule(**rule))
            if own["upstream"] is not None and self.azure_sql.upstream is None:
                self.azure_sql.upstream = tuple(own["upstream"])

    def _begin(self) -> None:
        LocalAws._newest = self
        moto_api_backend.reset()
        self.past = Past(self.clock, self._parts)
        self._guarded = GuardedClock(self.clock, self.lock, after=self.past.record)
        self._ec2: dict[str, Ec2] = {}
        with self._saved.same_ids() if self._saved is not None else contextlib.nullcontext():
            home = self.ec2(self.region)
        life = ClusterLife(
            region=self.region,
            clock=self._guarded,
            events=self.events,
            faults=self.faults,
            durations=self.durations,
            ec2=home,
            runner=self.step_runner,
            lock=self.lock,
        )
        self.emr = Emr(life, home.instances)
        self.services = PrimaryServices(self, clock=self._guarded, life=life, zones=home.zones, ports=self.ports)
        self.load_balancers = LoadBalancers(self, clock=self._guarded, ec2=home)
        self.quotas = Quotas()


def _node_of(cluster: Cluster, primary: Any, executor: int | None) -> Any:
    """Return the instance of a Spark executor: core and task nodes in turn; without them, the primary."""
    workers = cluster.workers
    return workers[executor % len(workers)] if workers and executor is not None else primary


def _handler(clock: Clock) -> type[MotoRequestHandler]:
    """Return a request handler that uses simulated time."""

    class Handler(MotoRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            """Return the ``Date`` header; clients may use it as their clock."""
            return http_date(clock.now() if timestamp is None else timestamp)

        def log_request(self, *_: object) -> None:
            """Log nothing; calls are in the event log."""

    return Handler
