"""Availability Zones that run out of instances, or are down."""

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
    How many instances a zone still has to give.

    :param instance_type: of this type; ``None`` is of all types together.
    """

    zone: str
    instance_type: str | None
    left: int

    def counts(self, zone: str, instance_type: str) -> bool:
        """Whether an instance of a type in a zone is one of those."""
        return zone == self.zone and self.instance_type in {None, instance_type}


class Zones:
    """The zones of one region; each has instances of every type without end, until it is told otherwise."""

    def __init__(self, region: str, events: EventLog, *, clock: Clock) -> None:
        self._zones = RegionsAndZonesBackend.zones[region]
        self._known = {zone.name for zone in self._zones}
        self._events = events
        self._clock = clock
        self._shortages: list[Shortage] = []
        self._down: set[str] = set()
        self._cut: dict[str, datetime] = {}

    def limit(self, zone: str, *, instance_type: str | None = None, left: int = 0) -> None:
        """Let a zone have so many instances left, of a type or of all; it replaces an earlier limit of the same.

        :raises ValueError: For a zone that does not exist, or a negative number.
        """
        self._check(zone)
        if left < 0:
            raise ValueError(f"left={left} must not be negative")
        self._shortages = [one for one in self._shortages if (one.zone, one.instance_type) != (zone, instance_type)]
        self._shortages.append(Shortage(zone, instance_type, left))
        self._events.append("zone", zone=zone, state="limited", instance_type=instance_type, left=left)

    def take_down(self, zone: str) -> None:
        """Let a zone start nothing until it is restored.

        :raises ValueError: For a zone that does not exist.
        """
        self._check(zone)
        self._down.add(zone)
        self._events.append("zone", zone=zone, state="down")

    def cut(self, zone: str) -> None:
        """Let no packet reach a zone or leave it until it is restored; its instances go on.

        :raises ValueError: For a zone that does not exist.
        """
        self._check(zone)
        self._cut.setdefault(zone, self._clock.now())
        self._events.append("zone", zone=zone, state="cut off")

    def is_cut(self, zone: str) -> bool:
        """Whether a zone is cut off."""
        return zone in self._cut

    def cut_since(self, zone: str) -> datetime | None:
        """Return when a zone was cut off; ``None`` for one that is not."""
        return self._cut.get(zone)

    def restore(self, zone: str) -> None:
        """Let a zone have instances of every type again, and a network.

        :raises ValueError: For a zone that does not exist.
        """
        self._check(zone)
        self._down.discard(zone)
        self._cut.pop(zone, None)
        self._shortages = [one for one in self._shortages if one.zone != zone]
        self._events.append("zone", zone=zone, state="restored")

    def describe(self, params: Params) -> Params:
        """Answer DescribeAvailabilityZones; one that was taken down is "unavailable".

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
        """Whether a zone has so many instances of a type left."""
        limits = (one.left for one in self._shortages if one.counts(zone, instance_type))
        return zone not in self._down and all(left >= count for left in limits)

    def take(self, zone: str, instance_type: str, count: int = 1) -> None:
        """Take instances from what a zone has; all of them or none.

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
