"""Availability Zones with limited capacity, outages and network failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

from local_emr.ec2.wire import filters_of, listed
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from datetime import datetime

    from local_emr.clock import Clock
    from local_emr.ec2.wire import Params
    from local_emr.events import EventLog

NO_CAPACITY = "InsufficientInstanceCapacity"


@dataclass
class Shortage:
    """
    How many more instances can be launched in a zone.

    :param instance_type: this type; ``None`` for all types together.
    """

    zone: str
    instance_type: str | None
    left: int

    def counts(self, zone: str, instance_type: str) -> bool:
        """Return whether the limit applies to an instance type in a zone."""
        return zone == self.zone and self.instance_type in {None, instance_type}


class Zones:
    """The zones of one region; their capacity is unlimited unless :meth:`limit` is called."""

    def __init__(self, region: str, events: EventLog, *, clock: Clock) -> None:
        self._zones = RegionsAndZonesBackend.zones[region]
        self._known = {zone.name for zone in self._zones}
        self._events = events
        self._clock = clock
        self._shortages: list[Shortage] = []
        self._down: set[str] = set()
        self._cut: dict[str, datetime] = {}

    def limit(self, zone: str, *, instance_type: str | None = None, left: int = 0) -> None:
        """Limit a zone's capacity for one type or for all; replaces an earlier limit of the same kind.

        :raises ValueError: For a zone that does not exist, or a negative number.
        """
        self._check(zone)
        if left < 0:
            raise ValueError(f"left={left} must not be negative")
        self._shortages = [one for one in self._shortages if (one.zone, one.instance_type) != (zone, instance_type)]
        self._shortages.append(Shortage(zone, instance_type, left))
        self._events.append("zone", zone=zone, state="limited", instance_type=instance_type, left=left)

    def take_down(self, zone: str) -> None:
        """Allow no launch in a zone until it is restored.

        :raises ValueError: For a zone that does not exist.
        """
        self._check(zone)
        self._down.add(zone)
        self._events.append("zone", zone=zone, state="down")

    def cut(self, zone: str) -> None:
        """Drop all packets to and from a zone until it is restored; its instances keep running.

        :raises ValueError: For a zone that does not exist.
        """
        self._check(zone)
        self._cut.setdefault(zone, self._clock.now())
        self._events.append("zone", zone=zone, state="cut off")

    def is_cut(self, zone: str) -> bool:
        """Return whether a zone is cut off."""
        return zone in self._cut

    def cut_since(self, zone: str) -> datetime | None:
        """Return when a zone was cut off; ``None`` if it is not."""
        return self._cut.get(zone)

    def restore(self, zone: str) -> None:
        """Restore a zone's capacity and network.

        :raises ValueError: For a zone that does not exist.
        """
        self._check(zone)
        self._down.discard(zone)
        self._cut.pop(zone, None)
        self._shortages = [one for one in self._shortages if one.zone != zone]
        self._events.append("zone", zone=zone, state="restored")

    def describe(self, params: Params) -> Params:
        """Answer DescribeAvailabilityZones; a zone that is down is "unavailable".

        :raises AwsError: ``InvalidParameterValue`` for a zone that does not exist.
        """
        names = [*listed(params, "ZoneName"), *filters_of(params).get("zone-name", [])]
        for name in listed(params, "ZoneName"):
            if name not in self._known:
                raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{name}]")
        return {
            "availabilityZoneInfo": [
                {
                    "zoneName": zone.name,
                    "zoneId": zone.zone_id,
                    "zoneType": zone.zone_type,
                    "regionName": zone.region_name,
                    "zoneState": "unavailable" if zone.name in self._down else "available",
                    "messageSet": [],
                }
                for zone in self._zones
                if not names or zone.name in names
            ]
        }

    def has(self, zone: str, instance_type: str, count: int = 1) -> bool:
        """Return whether a zone has capacity for a number of instances."""
        limits = (one.left for one in self._shortages if one.counts(zone, instance_type))
        return zone not in self._down and all(left >= count for left in limits)

    def take(self, zone: str, instance_type: str, count: int = 1) -> None:
        """Take instances from a zone's capacity; all of them or none.

        :raises AwsError: ``InsufficientInstanceCapacity``, with EC2's status 500 and, in substance, its message (docs:
            EC2 API, "Error codes").
        """
        if not self.has(zone, instance_type, count):
            others = ", ".join(sorted(other for other in self._known - {zone} if self.has(other, instance_type, count)))
            elsewhere = f", or by choosing {others}" if others else ""
            raise AwsError(
                NO_CAPACITY,
                f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
                f"({zone}). You can currently get {instance_type} capacity by not specifying an Availability Zone in "
                f"your request{elsewhere}.",
                status=500,
            )
        for one in self._shortages:
            if one.counts(zone, instance_type):
                one.left -= count

    def _check(self, zone: str) -> None:
        if zone not in self._known:
            raise ValueError(f"there is no Availability Zone {zone!r}; there are {', '.join(sorted(self._known))}")
