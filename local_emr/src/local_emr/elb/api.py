"""The actions of Elastic Load Balancing that moto omits, and listeners that really listen."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Protocol

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.elbv2.models import elbv2_backends

from local_emr.elb.checks import Checker
from local_emr.elb.flows import Flows
from local_emr.elb.routing import Router
from local_emr.elb.targets import DESCRIPTIONS, DRAINING, HEALTHY, INITIAL, Target, TargetGroup
from local_emr.elb.wire import structures, to_xml
from local_emr.errors import AwsError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from threading import RLock

    from werkzeug.wrappers import Response

    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.ec2.api import Ec2
    from local_emr.elb.flows import Key
    from local_emr.events import EventLog
    from local_emr.services.loopback import LoopbackNetwork
    from local_emr.services.ports import Port, Ports
    from local_emr.services.primaries import PrimaryServices

Params = dict[str, Any]
_PUBLIC = [ip_network("203.0.113.0/24"), ip_network("198.51.100.0/24")]
_FORWARDED = frozenset({"TCP", "TCP_UDP"})


class World(Protocol):
    """What the load balancers need of the local EMR."""

    region: str
    durations: Durations
    events: EventLog
    lock: RLock
    loopback: LoopbackNetwork
    ports: Ports
    services: PrimaryServices


class Registry:
    """The targets of the target groups: the state that a stale read can show."""

    def __init__(self) -> None:
        self.groups: dict[str, TargetGroup] = {}


class LoadBalancers:
    """
    The load balancers of the local EMR's region.

    :param clock: its timers are cancelled when the local EMR is reset.
    """

    def __init__(self, world: World, *, clock: Clock, ec2: Ec2) -> None:
        self._world = world
        self._clock = clock
        self._ec2 = ec2
        self._backend: Any = elbv2_backends[DEFAULT_ACCOUNT_ID][world.region]
        self._registry = Registry()
        self._router = Router(self._backend, ec2)
        self._checker = Checker(loopback=world.loopback, ports=world.ports, services=world.services)
        self._flows = Flows()
        self._listening: dict[str, Port] = {}
        self._own = {
            "RegisterTargets": self._register,
            "DeregisterTargets": self._deregister,
            "DescribeTargetHealth": self._describe_health,
        }

    def parts(self) -> Iterator[Any]:
        """Yield every object whose attributes are the state of targets."""
        yield self._registry
        for group in self._registry.groups.values():
            yield group
            yield from group.targets.values()

    def answer(self, operation: str, params: Params) -> str | None:
        """
        Answer a call, or return None for moto to answer it.

        :raises AwsError: with the error code of Elastic Load Balancing.
        """
        action = self._own.get(operation)
        return None if action is None else to_xml(operation, action(params))

    def follow_up(self, operation: str, response: Response) -> None:
        """Update moto's answer, its state and the listening ports after a call."""
        for balancer in list(self._backend.load_balancers.values()):
            if balancer.type == "network" and not self._world.loopback.has(balancer.dns_name):
                changed = self._adopt(balancer)
                if operation == "CreateLoadBalancer":
                    body = response.get_data()
                    for old, new in changed.items():
                        body = body.replace(old.encode(), new.encode())
                    response.set_data(body)
        self._listen()

    def _adopt(self, balancer: Any) -> dict[str, str]:
        """Give a load balancer of moto's its address and an ARN of its type; return the replaced values."""
        old_name, old_arn = balancer.dns_name, balancer.arn
        balancer.dns_name = self._world.loopback.take()
        balancer.arn = old_arn.replace(":loadbalancer/app/", ":loadbalancer/net/")
        self._backend.load_balancers[balancer.arn] = self._backend.load_balancers.pop(old_arn)
        self._backend.tagging_service.copy_tags(old_arn, balancer.arn)
        self._backend.tagging_service.delete_all_tags_for_resource(old_arn)
        return {old_name: balancer.dns_name, old_arn: balancer.arn}

    def shown(self) -> list[dict[str, str]]:
        """Return every listening port, with its load balancer and address."""
        return [
            {"load_balancer": balancer.name, "listener_arn": arn, "address": f"{balancer.dns_name}:{listener.port}"}
            for balancer in self._backend.load_balancers.values()
            for arn, listener in balancer.listeners.items()
            if arn in self._listening
        ]

    def close(self) -> None:
        """Reset every connection; the owner of the ports closes them."""
        self._flows.close()

    def _register(self, params: Params) -> Params:
        group = self._group(params["TargetGroupArn"])
        wanted = [self._target(group, fields) for fields in structures(params, "Targets")]
        for target in wanted:
            known = group.targets.get(target.key)
            if known is not None and known.state != DRAINING:
                continue
            if known is not None and known.timer is not None:
                known.timer.cancel()
            group.targets[target.key] = target
            self._record(group, target, "registered")
            self._later(group, target, self._world.durations.target_registration, self._check)
        return {}

    def _deregister(self, params: Params) -> Params:
        """Start to deregister targets; others are ignored (API Reference, DeregisterTargets)."""
        group = self._group(params["TargetGroupArn"])
        for fields in structures(params, "Targets"):
            for target in list(group.targets.values()):
                port = fields.get("Port")
                if target.id != fields["Id"] or target.state == DRAINING or (port and int(port) != target.port):
                    continue
                if target.timer is not None:
                    target.timer.cancel()
                in_use = self._router.unused_reason(group, target) is None
                target.enter(DRAINING, "Target.DeregistrationInProgress")
                self._record(group, target, DRAINING)
                self._later(group, target, group.deregistration_delay if in_use else 0.0, self._remove)
        return {}

    def _describe_health(self, params: Params) -> Params:
        group = self._group(params["TargetGroupArn"])
        asked = structures(params, "Targets")
        if not asked:
            return {"TargetHealthDescriptions": [self._health(group, target) for target in group.targets.values()]}
        shown = []
        for fields in asked:
            port = int(fields.get("Port") or group.settings.port)
            target = group.targets.get((fields["Id"], port))
            if target is None:
                target = Target(id=fields["Id"], port=port, state="unused", reason="Target.NotRegistered")
            shown.append(self._health(group, target))
        return {"TargetHealthDescriptions": shown}

    def _health(self, group: TargetGroup, target: Target) -> Params:
        state, reason = target.state, target.reason
        if state not in {DRAINING, "unused"} and (unused := self._router.unused_reason(group, target)):
            state, reason = "unused", unused
        health = {"State": state, "Reason": reason, "Description": DESCRIPTIONS.get(reason or "")}
        zone = self._router.zone_of(target.id)
        shown = {"Id": target.id, "Port": target.port, "AvailabilityZone": zone}
        return {"Target": shown, "HealthCheckPort": group.check_port(target), "TargetHealth": health}

    def _group(self, arn: str) -> TargetGroup:
        settings = self._backend.target_groups.get(arn)
        if settings is None:
            self._registry.groups.pop(arn, None)
            raise AwsError("TargetGroupNotFound", "One or more target groups not found")
        return self._registry.groups.setdefault(arn, TargetGroup(settings=settings))

    def _target(self, group: TargetGroup, fields: dict[str, str]) -> Target:
        """
        Return the target of a request.

        :raises AwsError: ``InvalidTarget`` or ``ValidationError``, for an invalid target of this group.
        """
        name, port = fields["Id"], int(fields.get("Port") or group.settings.port)
        if group.settings.target_type == "instance":
            instance = next(iter(self._ec2.instances.find([name])), None)
            if instance is None:
                raise AwsError("InvalidTarget", f"The following targets are not in the target group VPC: '{name}'")
            if instance.state != "running":
                problem = "are not in a running state and cannot be registered"
                raise AwsError("InvalidTarget", f"The following targets {problem}: '{name}'")
        else:
            try:
                address = ip_address(name)
            except ValueError:
                raise AwsError("ValidationError", f"The IP address '{name}' is not a valid IPv4 address") from None
            if not address.is_private or any(address in network for network in _PUBLIC):
                raise AwsError("ValidationError", f"The IP address '{name}' is not within any VPC subnet")
        return Target(id=name, port=port)

    def _check(self, group: TargetGroup, target: Target) -> None:
        """Check a target, and schedule the next check."""
        self._later(group, target, group.interval, self._check)
        if self._router.unused_reason(group, target) is not None:
            target.enter(INITIAL, "Elb.RegistrationInProgress")
            return
        settings = group.settings
        path = (settings.health_check_path or "/") if settings.health_check_protocol == "HTTP" else None
        address = self._router.address_of(target)
        outcome = self._checker.check(address, group.check_port(target), path=path, codes=group.expected_codes)
        if outcome == "silent":
            act = partial(self._count, group, target, good=False)
            self._clock.call_later(group.timeout, act, name=f"a check of {target.id} has timed out")
        else:
            self._count(group, target, good=outcome == "good")

    def _count(self, group: TargetGroup, target: Target, *, good: bool) -> None:
        if group.targets.get(target.key) is not target or target.state == DRAINING:
            return
        if not target.count(good=good, **group.thresholds):
            return
        self._record(group, target, target.state)
        if target.state != HEALTHY and self._router.has_healthy(group):
            self._flows.reset((group.arn, *target.key))

    def _remove(self, group: TargetGroup, target: Target) -> None:
        group.targets.pop(target.key, None)
        self._record(group, target, "deregistered")
        if group.terminates_connections:
            self._flows.reset((group.arn, *target.key))

    def _later(self, group: TargetGroup, target: Target, seconds: float, then: Any) -> None:
        """Call a function later, if the target and its group exist then."""

        def act() -> None:
            if group.arn in self._backend.target_groups and group.targets.get(target.key) is target:
                then(group, target)

        target.timer = self._clock.call_later(seconds, act, name=f"{then.__name__} {target.id}")

    def _listen(self) -> None:
        """Open the ports of new listeners, and close those of deleted ones."""
        wanted = {
            listener.arn: (balancer, listener)
            for balancer in self._backend.load_balancers.values()
            if balancer.type == "network"
            for listener in balancer.listeners.values()
            if listener.protocol in _FORWARDED
        }
        for arn in self._listening.keys() - wanted.keys():
            self._world.ports.close(self._listening.pop(arn))
            self._world.events.append("listener", listener_arn=arn, state="closed")
        for arn in wanted.keys() - self._listening.keys():
            balancer, listener = wanted[arn]
            where = {"listener_arn": arn, "address": f"{balancer.dns_name}:{listener.port}"}
            serve = partial(self._forward, balancer, listener)
            try:
                self._listening[arn] = self._world.ports.open(balancer.dns_name, int(listener.port), serve)
            except OSError as error:
                self._world.events.append("listener", **where, state="unavailable", error=str(error))
            else:
                self._world.events.append("listener", **where, state="open")

    def _forward(self, balancer: Any, listener: Any, connection: socket.socket, _: tuple[str, int]) -> None:
        self._flows.begin(connection, partial(self._choose, balancer, listener))

    def _choose(self, balancer: Any, listener: Any) -> tuple[Key, tuple[str, int]] | None:
        """Choose a target for a new connection, and log it."""
        with self._world.lock:
            chosen = self._router.choose(balancer, listener, self._registry.groups)
            fields = {"load_balancer": balancer.name, "listener_arn": listener.arn}
            if chosen is None:
                self._world.events.append("flow", **fields, target=None, port=None, fails_open=True)
                return None
            group, target, fails_open = chosen
            self._world.events.append("flow", **fields, target=target.id, port=target.port, fails_open=fails_open)
            return (group.arn, *target.key), (self._router.address_of(target), target.port)

    def _record(self, group: TargetGroup, target: Target, state: str) -> None:
        self._world.events.append(
            "target",
            target_group_arn=group.arn,
            target=target.id,
            port=target.port,
            state=state,
            reason=target.reason,
        )
