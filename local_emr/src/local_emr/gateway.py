"""The WSGI application in front of the local EMR's own services and of moto's."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.wrappers import Response

from local_emr.calls import Call, error_code_of, error_response, parse_call, read_body
from local_emr.ec2.wire import to_xml
from local_emr.errors import AwsError
from local_emr.faults import DENIAL_CODES, THROTTLE_CODES, Fault, Faults
from local_emr.moto_app import MotoApplication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from threading import RLock

    from _typeshed.wsgi import StartResponse

    from local_emr.calls import Environ
    from local_emr.clock import Clock
    from local_emr.ec2.api import Ec2
    from local_emr.elb.api import LoadBalancers
    from local_emr.emr.api import Emr
    from local_emr.events import EventLog
    from local_emr.iam.permissions import Grant, Permissions
    from local_emr.past import Past
    from local_emr.quotas import Quotas

_NOT_FOUND = 404
_POLL_SECONDS = 0.05
# Services whose reads can be stale; S3 and DynamoDB are consistent.
_EVENTUAL = frozenset({"ec2", "elasticloadbalancing", "elasticmapreduce"})
_LOGGED_IDS = {"JobFlowId", "StepIds", "associationId", "allocationId", "publicIp", "natGatewayId"}


class Services(Protocol):
    """What the gateway needs of the local EMR."""

    region: str
    clock: Clock
    past: Past
    emr: Emr
    load_balancers: LoadBalancers
    events: EventLog
    faults: Faults
    permissions: Permissions
    quotas: Quotas
    lock: RLock

    @property
    def has_state(self) -> bool:
        """Return whether moto's state belongs to these services."""

    def ec2(self, region: str) -> Ec2:
        """Return a region's EC2."""


class Door(Protocol):
    """Answers requests outside of AWS's API."""

    def handles(self, environ: Environ) -> bool:
        """Return whether it handles a request."""

    def answer(self, environ: Environ) -> Response:
        """Answer a request."""


class Gateway:
    """Passes each API call through faults, the services and the event log; calls are executed one at a time."""

    def __init__(self, services: Services, *others: Door) -> None:
        self._services = services
        self._others = others
        self._moto = MotoApplication()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        for other in self._others:
            if other.handles(environ):
                return other.answer(environ)(environ, start_response)
        call = parse_call(environ, read_body(environ))
        fault = self._take_fault(call)
        if fault is not None and fault.kind == "delay":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "reset":
            _cut(environ)
        if fault is not None and fault.kind == "hold":
            response = self._answer_later(call, environ, fault)
        else:
            with self._services.lock:
                response = self._answer(call, environ, fault)
        if fault is not None and fault.kind == "hold_answer":
            self._hold(fault, environ, lambda: None)
        if fault is not None and fault.kind == "lost_response":
            _cut(environ)
        if fault is not None and fault.kind == "silence":
            _outwait(environ)
        response.headers.pop("Date", None)
        return response(environ, start_response)

    def _take_fault(self, call: Call) -> Fault | None:
        fault = self._services.faults.take(call.operation)
        if fault is not None:
            self._services.events.append("fault", operation=call.operation, fault=fault.kind, code=fault.code)
        return fault

    def _answer_later(self, call: Call, environ: Environ, fault: Fault) -> Response:
        """Execute a held call when its time is over."""
        answers: list[Response] = []

        def answer() -> None:
            with self._services.lock:
                answers.append(self._answer(call, environ, fault))

        self._hold(fault, environ, answer)
        return answers[0]

    def _hold(self, fault: Fault, environ: Environ, then: Callable[[], None]) -> None:
        """Call a function at a fault's moment of simulated time, and return when it is done.

        :raises ConnectionAbortedError: When the local EMR is reset or stopped before.
        """
        done = threading.Event()
        failures: list[Exception] = []

        def act() -> None:
            try:
                then()
            except Exception as error:
                failures.append(error)
            done.set()

        timer = self._services.clock.call_later(fault.seconds, act, name=f"a held {fault.operation} goes on")
        if fault.during is not None:
            fault.during()
        if fault.seconds <= 0 and not done.is_set():
            timer.cancel()
            act()
        while not done.wait(_POLL_SECONDS):
            if timer.cancelled:
                _cut(environ)
        if failures:
            raise failures[0]

    def _answer(self, call: Call, environ: Environ, fault: Fault | None) -> Response:
        """Answer a call and log it; the caller holds the lock."""
        ids: dict[str, Any] = {}
        granted: list[Grant] | None = None
        try:
            granted = self._services.permissions.check(call)
            self._refuse(call, fault)
            response, fields = self._dispatch_at(call, environ)
            if response.status_code == _NOT_FOUND and granted:
                granted += self._services.permissions.check_missing(call)
            ids = {name: value for name, value in fields.items() if name in _LOGGED_IDS}
        except AwsError as error:
            response = error_response(call, error)
        self._services.events.append(
            "call",
            service=call.service,
            region=call.region,
            operation=call.operation,
            request=call.request_for_log(),
            status=response.status_code,
            error_code=error_code_of(response),
            response=ids,
            user_agent=environ.get("HTTP_USER_AGENT", ""),
            **({} if granted is None else {"granted": granted}),
        )
        return response

    def _refuse(self, call: Call, fault: Fault | None) -> None:
        """Raise the error of a missing permission or a fault.

        :raises AwsError: The service's error.
        """
        if not self._services.has_state:
            problem = "Another local EMR began later in this process and has moto's state; reset this one first."
            raise AwsError("NotSimulated", problem)
        if self._services.faults.is_denied(call.operation):
            code, status = DENIAL_CODES.get(call.protocol, ("AccessDeniedException", 400))
            raise AwsError(code, f"You are not authorized to perform this operation: {call.operation}.", status=status)
        throttled = self._services.faults.is_throttled(call.operation, self._services.clock.now())
        if throttled or (fault is not None and fault.kind == "throttle"):
            code, status = THROTTLE_CODES.get(call.service, ("ThrottlingException", 400))
            raise AwsError(code, "Rate exceeded", status=status)
        if fault is not None and fault.kind == "error":
            raise AwsError(fault.code, fault.message, status=fault.status)

    def _dispatch_at(self, call: Call, environ: Environ) -> tuple[Response, dict[str, Any]]:
        """Answer a call with the current state, or with a past one for a stale fault."""
        stale = self._services.faults.take_stale(call.operation) if call.service in _EVENTUAL else None
        if stale is None:
            return self._dispatch(call, environ)
        self._services.events.append("fault", operation=call.operation, fault="stale", seconds=stale.seconds)
        moment = self._services.clock.now() - timedelta(seconds=stale.seconds)
        if stale.field is not None:
            return self._answer_with_old_tags(call, moment)
        with self._services.past.as_of(moment):
            return self._dispatch(call, environ)

    def _answer_with_old_tags(self, call: Call, moment: datetime) -> tuple[Response, dict[str, Any]]:
        """Describe a cluster's current state with its tags of a past moment."""
        _, fields = self._answer_emr(call)
        tags: list[Any] = []
        with self._services.past.as_of(moment), contextlib.suppress(AwsError):
            tags = self._answer_emr(call)[1]["Cluster"]["Tags"]
        return _json_response({"Cluster": {**fields["Cluster"], "Tags": tags}})

    def _dispatch(self, call: Call, environ: Environ) -> tuple[Response, dict[str, Any]]:
        if call.service == "elasticmapreduce":
            return self._answer_emr(call)
        if call.service == "ec2":
            return self._answer_ec2(call, environ)
        if call.service == "elasticloadbalancing" and call.region == self._services.region:
            return self._answer_elb(call, environ), {}
        if call.service == "servicequotas":
            return _json_response(self._services.quotas.answer(call.operation, call.params))
        return self._ask_moto(environ), {}

    def _answer_emr(self, call: Call) -> tuple[Response, dict[str, Any]]:
        if call.region != self._services.region:
            raise AwsError("NotSimulated", f"EMR is simulated in {self._services.region} only, not in {call.region}.")
        return _json_response(self._services.emr.answer(call.operation, call.params))

    def _answer_ec2(self, call: Call, environ: Environ) -> tuple[Response, dict[str, Any]]:
        ec2 = self._services.ec2(call.region)
        fields = ec2.answer(call.operation, call.params)
        if fields is not None:
            return Response(to_xml(call.operation, fields), content_type="text/xml"), fields
        response = self._ask_moto(environ)
        if response.status_code == 200:  # noqa: PLR2004 - HTTP's OK
            ec2.follow_up(call.operation, call.params)
        return response, {}

    def _answer_elb(self, call: Call, environ: Environ) -> Response:
        balancers = self._services.load_balancers
        text = balancers.answer(call.operation, call.params)
        if text is not None:
            return Response(text, content_type="text/xml")
        response = self._ask_moto(environ)
        if response.status_code == 200:  # noqa: PLR2004 - HTTP's OK
            balancers.follow_up(call.operation, response)
        return response

    def _ask_moto(self, environ: Environ) -> Response:
        return Response.from_app(self._moto, environ, buffered=True)


def _json_response(fields: dict[str, Any]) -> tuple[Response, dict[str, Any]]:
    return Response(json.dumps(fields), content_type="application/x-amz-json-1.1"), fields


def _cut(environ: Environ) -> None:
    """Close the connection without an answer.

    :raises ConnectionAbortedError: Always; the server handles it like a client that disconnected.
    """
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("the connection is cut on demand")


def _outwait(environ: Environ) -> None:
    """Wait until the caller gives up.

    :raises ConnectionAbortedError: Always, after that.
    """
    connection: socket.socket = environ["werkzeug.socket"]
    connection.settimeout(None)
    connection.recv(1)
    _cut(environ)
