"""The status checks of instances, which are always ``ok`` in moto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_emr.ec2.wire import filters_of, listed
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.ec2.instances import Instances
    from local_emr.ec2.zones import Zones
    from local_emr.events import EventLog

Params = dict[str, Any]
_FILTERS: dict[str, Callable[[Params], str]] = {
    "availability-zone": lambda item: item["availabilityZone"],
    "instance-state-code": lambda item: str(item["instanceState"]["code"]),
    "instance-state-name": lambda item: item["instanceState"]["name"],
    "instance-status.status": lambda item: item["instanceStatus"]["status"],
    "instance-status.reachability": lambda item: item["instanceStatus"]["details"][0]["status"],
    "system-status.status": lambda item: item["systemStatus"]["status"],
    "system-status.reachability": lambda item: item["systemStatus"]["details"][0]["status"],
}
_REACHABILITY = {"ok": "passed", "impaired": "failed", "initializing": "initializing"}


class StatusChecks:
    """
    Answers DescribeInstanceStatus.

    A running instance is ``initializing`` for a time, then ``ok``, or ``impaired`` after :meth:`impair` or while its
    zone is cut off. Instances that are not running are only shown with ``IncludeAllInstances``, as ``not-applicable``.
    (Docs: EC2 user guide, "Status checks for Amazon EC2 instances"; EC2 API, DescribeInstanceStatus.)
    """

    def __init__(
        self, *, backend: Any, instances: Instances, zones: Zones, clock: Clock, durations: Durations, events: EventLog
    ) -> None:
        self._backend = backend
        self._instances = instances
        self._zones = zones
        self._clock = clock
        self._durations = durations
        self._events = events
        self._impaired: dict[tuple[str, str], datetime] = {}

    def impair(self, instance_id: str, *, system: bool, instance: bool) -> None:
        """
        Make the system status check, the instance status check or both fail, and the other pass.

        :raises ValueError: for an instance that does not exist.
        """
        if not self._instances.find([instance_id]):
            raise ValueError(f"there is no instance {instance_id!r}")
        for check, failed in (("system", system), ("instance", instance)):
            if failed:
                self._impaired.setdefault((instance_id, check), self._clock.now())
            else:
                self._impaired.pop((instance_id, check), None)
        self._events.append("status", instance_id=instance_id, system_impaired=system, instance_impaired=instance)

    def describe(self, params: Params) -> Params:
        """
        Show the states and checks of instances.

        :raises AwsError: ``InvalidInstanceID.NotFound``.
        """
        wanted, filters = listed(params, "InstanceId"), filters_of(params)
        found = self._instances.find(wanted) if wanted else self._backend.all_instances()
        if missing := set(wanted) - {instance.id for instance in found}:
            raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{min(missing)}' does not exist")
        if unknown := filters.keys() - _FILTERS.keys():
            raise AwsError("InvalidParameterValue", f"The filter '{min(unknown)}' is invalid")
        everything = params.get("IncludeAllInstances") is True
        shown = [self._shown(instance) for instance in found if everything or instance.state == "running"]
        matching = (item for item in shown if all(_FILTERS[name](item) in values for name, values in filters.items()))
        return {"instanceStatusSet": list(matching)}

    def _shown(self, instance: Any) -> Params:
        return {
            "instanceId": instance.id,
            "availabilityZone": instance.availability_zone,
            "instanceState": {"code": instance.state_code, "name": instance.state},
            "systemStatus": self._check(instance, "system"),
            "instanceStatus": self._check(instance, "instance"),
        }

    def _check(self, instance: Any, check: str) -> Params:
        status, since = self._status(instance, check)
        if status == "not-applicable":
            return {"status": status}
        details: Params = {"name": "reachability", "status": _REACHABILITY[status]}
        if since is not None:
            details["impairedSince"] = since.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return {"status": status, "details": [details]}

    def _status(self, instance: Any, check: str) -> tuple[str, datetime | None]:
        if instance.state != "running":
            return "not-applicable", None
        since = self._zones.cut_since(instance.availability_zone) or self._impaired.get((instance.id, check))
        if since is not None:
            return "impaired", since
        began = self._instances.running_since(instance.id)
        is_new = began is not None and (self._clock.now() - began).total_seconds() < self._durations.status_checks
        return ("initializing" if is_new else "ok"), None
