"""EC2 instances that take time to start and to stop, and lose their addresses when terminated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from local_emr.ec2.addresses import job_flow_id_of
from local_emr.ec2.network import AUTO_ASSIGNED, assign_public_ip
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.ec2.addresses import Addresses
    from local_emr.ec2.zones import Zones
    from local_emr.events import EventLog
    from local_emr.services.loopback import LoopbackNetwork

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}


class Instances:
    """The instances of one region.

    :param on_terminated: Called with each instance that a user terminated, for services that own it.
    """

    def __init__(
        self,
        *,
        backend: Any,
        addresses: Addresses,
        events: EventLog,
        clock: Clock,
        durations: Durations,
        zones: Zones,
        loopback: LoopbackNetwork,
        image_id: str = "ami-0123456789abcdef0",
    ) -> None:
        self._backend = backend
        self._addresses = addresses
        self._events = events
        self._clock = clock
        self._durations = durations
        self._zones = zones
        self._loopback = loopback
        self._image_id = image_id
        self._running_since: dict[str, datetime] = {}
        self.on_terminated: list[Callable[[Any], None]] = []

    def launch(self, *, subnet_id: str, instance_type: str, tags: dict[str, str], group_ids: Iterable[str] = ()) -> Any:
        """Start an instance; it is pending at first and runs after ``Durations.instance_boot``.

        Its private address is reachable on this machine (see ``local_emr.services``).

        :param group_ids: Its security groups; ids that do not exist are ignored.
        :raises AwsError: ``InvalidSubnetID.NotFound``, ``InsufficientInstanceCapacity``.
        """
        self._zones.take(self.subnet(subnet_id).availability_zone, instance_type)
        reservation = self._backend.run_instances(
            self._image_id,
            1,
            None,
            [],
            instance_type=instance_type,
            is_instance_type_default=False,
            region_name=self._backend.region_name,
            subnet_id=subnet_id,
            associate_public_ip=None,
            tags={"instance": {}},
            security_group_ids=[name for name in group_ids if self._backend.get_security_group_from_id(name)],
        )
        instance = reservation.instances[0]
        self._make_reachable(instance.nics[0])
        self.tag(instance, tags)
        self.tidy(instance)
        self._enter(instance, "pending")
        self._clock.call_later(
            self._durations.instance_boot, lambda: self._booted(instance), name=f"{instance.id} runs"
        )
        return instance

    def tag(self, instance: Any, tags: dict[str, str]) -> None:
        """Tag an instance without moto's limit on the number of tags, which counts AWS's own."""
        self._backend.tags[instance.id].update(tags)

    def shut_down(self, instances: Iterable[Any]) -> None:
        """End instances; each is terminated after ``Durations.instance_shutdown``."""
        for instance in instances:
            if instance.state in {"pending", "running"}:
                self._enter(instance, "shutting-down")
                self._clock.call_later(
                    self._durations.instance_shutdown, partial(self._terminate, instance), name=f"{instance.id} ends"
                )

    def forget_user_terminated(self, instances: Iterable[Any]) -> None:
        """Update the state after a user's TerminateInstances.

        EC2 disassociates an Elastic IP when its instance terminates (docs: EC2 user guide, "Terminate instances");
        in moto the association stays.
        """
        for instance in instances:
            self._events.append(
                "instance", instance_id=instance.id, job_flow_id=job_flow_id_of(instance), state=instance.state
            )
            self._schedule_drop(instance)
            self._tell_owners(instance)

    def tidy(self, instance: Any) -> None:
        """Adapt a new instance of moto's: public addresses of this network, interfaces deleted on termination."""
        for interface in instance.nics.values():
            interface.delete_on_termination = True
            if (
                interface.public_ip
                and interface.public_ip not in AUTO_ASSIGNED
                and not self._addresses.on_interface(interface)
            ):
                assign_public_ip(self._backend, interface)

    def lose(self, instances: Iterable[Any], *, told_after: float = 0.0) -> None:
        """Terminate instances at once, as when a zone fails or EC2 interrupts Spot Instances; notify their owners.

        :param told_after: Seconds until the owners are notified.
        """
        for instance in instances:
            if instance.state in {"pending", "running", "shutting-down"}:
                instance.teardown_defaults()
                self._enter(instance, "terminated")
                self._schedule_drop(instance)
                if told_after > 0:
                    self._clock.call_later(
                        told_after, partial(self._tell_owners, instance), name=f"{instance.id} is missed"
                    )
                else:
                    self._tell_owners(instance)

    def in_zone(self, zone: str) -> list[Any]:
        """Return the instances of a zone that have not ended."""
        return [i for i in self._backend.all_instances() if i.state != "terminated" and i.availability_zone == zone]

    def has_capacity(self, subnet: Any, instance_type: str) -> bool:
        """Return whether the zone of a subnet has capacity for an instance type."""
        return self._zones.has(subnet.availability_zone, instance_type)

    def find(self, instance_ids: Iterable[str]) -> list[Any]:
        """Return the instances that exist."""
        wanted = set(instance_ids)
        return [instance for instance in self._backend.all_instances() if instance.id in wanted]

    def running_since(self, instance_id: str) -> datetime | None:
        """Return the time since which an instance has been running."""
        return self._running_since.get(instance_id)

    def subnet(self, subnet_id: str) -> Any:
        """Return a subnet.

        :raises AwsError: ``InvalidSubnetID.NotFound``.
        """
        for zone in self._backend.subnets.values():
            if subnet_id in zone:
                return zone[subnet_id]
        raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")

    def default_subnet_id(self) -> str:
        """Return the first subnet of the default VPC."""
        return next(
            str(subnet.id)
            for zone in self._backend.subnets.values()
            for subnet in zone.values()
            if subnet.vpc_id == self._backend.default_vpc.id
        )

    def _make_reachable(self, interface: Any) -> None:
        address = self._loopback.take()
        for entry in interface.private_ip_addresses:
            if entry["PrivateIpAddress"] == interface.private_ip_address:
                entry["PrivateIpAddress"] = address
        interface.private_ip_address = address

    def _booted(self, instance: Any) -> None:
        if instance.state == "pending":
            self._running_since[instance.id] = self._clock.now()
            self._enter(instance, "running")

    def _terminate(self, instance: Any) -> None:
        if instance.state == "shutting-down":
            instance.teardown_defaults()
            self._enter(instance, "terminated")
            self._schedule_drop(instance)

    def _schedule_drop(self, instance: Any) -> None:
        self._clock.call_later(
            self._durations.address_drop, lambda: self._drop(instance), name=f"{instance.id} loses its addresses"
        )

    def _tell_owners(self, instance: Any) -> None:
        for callback in self.on_terminated:
            callback(instance)

    def _drop(self, instance: Any) -> None:
        for address in self._addresses.of_instance(instance):
            self._addresses.detach(address, cause="instance terminated")
        for index, interface in tuple(instance.nics.items()):
            interface.public_ip = None
            if index == 0:
                self._backend.enis.pop(interface.id, None)

    def _enter(self, instance: Any, state: str) -> None:
        instance._state.name, instance._state.code = state, CODES[state]  # noqa: SLF001 - moto has no other way
        self._events.append("instance", instance_id=instance.id, job_flow_id=job_flow_id_of(instance), state=state)
