"""Chooses the target of a connection, and finds unused targets."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from local_emr.elb.targets import DRAINING, HEALTHY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_emr.ec2.api import Ec2
    from local_emr.elb.targets import Target, TargetGroup

_CROSS_ZONE = "load_balancing.cross_zone.enabled"


class Router:
    """
    Reads the current state of load balancers, targets and instances.

    :param backend: moto's ``elbv2`` backend.
    """

    def __init__(self, backend: Any, ec2: Ec2) -> None:
        self._backend = backend
        self._ec2 = ec2
        self._turns = itertools.count()

    def choose(
        self, balancer: Any, listener: Any, groups: Mapping[str, TargetGroup]
    ) -> tuple[TargetGroup, Target, bool] | None:
        """
        Return a listener's next target, its group, and whether the load balancer fails open.

        :return: ``None`` when there is no target.
        """
        for arn in self._forwarded_to(listener):
            group = groups.get(arn)
            if group is None:
                continue
            usable = [t for t in group.targets.values() if t.state != DRAINING and not self.unused_reason(group, t)]
            healthy = [target for target in usable if target.state == HEALTHY]
            if candidates := healthy or usable:
                return group, self._in_turn(balancer, group, candidates), not healthy
        return None

    def has_healthy(self, group: TargetGroup) -> bool:
        """Return whether a group has a usable healthy target; without one its load balancers fail open."""
        return any(t.state == HEALTHY and not self.unused_reason(group, t) for t in group.targets.values())

    def unused_reason(self, group: TargetGroup, target: Target) -> str | None:
        """Return why a target is ``unused``; ``None`` when it can get connections."""
        balancers = [
            balancer
            for balancer in self._backend.load_balancers.values()
            if any(group.arn in self._forwarded_to(listener) for listener in balancer.listeners.values())
        ]
        instance = self._instance(target.id)
        if target.id.startswith("i-") and (instance is None or instance.state != "running"):
            return "Target.InvalidState"
        zone = self.zone_of(target.id)
        enabled = {subnet.availability_zone for balancer in balancers for subnet in balancer.subnets}
        return None if enabled and (zone == "all" or zone in enabled) else "Target.NotInUse"

    def zone_of(self, target_id: str) -> str:
        """Return the Availability Zone of an instance or an address; ``all`` for an address outside of the VPC."""
        instance = self._instance(target_id)
        return "all" if instance is None else str(instance.availability_zone)

    def address_of(self, target: Target) -> str:
        """Return a target's address."""
        instance = self._instance(target.id)
        return target.id if instance is None else str(instance.private_ip_address)

    def _instance(self, target_id: str) -> Any | None:
        instances = self._ec2.backend.all_instances()
        return next((i for i in instances if target_id in {i.id, i.private_ip_address}), None)

    def _in_turn(self, balancer: Any, group: TargetGroup, candidates: list[Target]) -> Target:
        turn = next(self._turns)
        setting = group.settings.attributes.get(_CROSS_ZONE)
        if setting == "use_load_balancer_configuration":
            setting = balancer.attrs.get(_CROSS_ZONE)
        if setting == "true":
            return candidates[turn % len(candidates)]
        zones = sorted({self.zone_of(target.id) for target in candidates})
        zone = zones[turn % len(zones)]
        here = [target for target in candidates if self.zone_of(target.id) == zone]
        return here[turn // len(zones) % len(here)]

    def _forwarded_to(self, listener: Any) -> list[str]:
        return [
            arn
            for action in listener.default_actions
            for arn in self._backend._get_target_group_arns_from(action.data)  # noqa: SLF001 - moto has no other
        ]
