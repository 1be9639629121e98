"""EC2's API where moto's answers differ from AWS's; moto answers all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from local_emr.ec2.addresses import Addresses, check_id
from local_emr.ec2.instances import Instances
from local_emr.ec2.nat_gateways import NatGateways
from local_emr.ec2.network import egress_ip, open_default_vpc
from local_emr.ec2.routes import CHANGES, Routes
from local_emr.ec2.status import StatusChecks
from local_emr.ec2.wire import tags_of
from local_emr.ec2.zones import Zones
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.events import EventLog
    from local_emr.services.loopback import LoopbackNetwork

Params = dict[str, Any]
THIEF = "local-aws-thief"


class Ec2:
    """One region's EC2."""

    def __init__(
        self, region: str, *, clock: Clock, events: EventLog, durations: Durations, loopback: LoopbackNetwork
    ) -> None:
        self.backend: Any = ec2_backends[DEFAULT_ACCOUNT_ID][region]
        open_default_vpc(self.backend)
        self.addresses = Addresses(self.backend, events)
        self.zones = Zones(region, events, clock=clock)
        self.instances = Instances(
            backend=self.backend,
            addresses=self.addresses,
            events=events,
            clock=clock,
            durations=durations,
            zones=self.zones,
            loopback=loopback,
        )
        self.nat_gateways = NatGateways(
            backend=self.backend,
            addresses=self.addresses,
            find_subnet=self.instances.subnet,
            events=events,
            clock=clock,
            durations=durations,
        )
        self.routes = Routes(self.backend, events)
        self.status_checks = StatusChecks(
            backend=self.backend,
            instances=self.instances,
            zones=self.zones,
            clock=clock,
            durations=durations,
            events=events,
        )
        self._own = {
            "AllocateAddress": self._allocate_address,
            "AssociateAddress": self._associate_address,
            "DisassociateAddress": self._disassociate_address,
            "ReleaseAddress": self._release_address,
            "CreateNatGateway": self.nat_gateways.create,
            "DeleteNatGateway": self.nat_gateways.delete,
            "DescribeNatGateways": self.nat_gateways.describe,
            "DescribeInstanceStatus": self.status_checks.describe,
            "DescribeAvailabilityZones": self.zones.describe,
        }

    def parts(self) -> Iterator[Any]:
        """Yield every object whose attributes are EC2's state."""
        yield self.backend
        yield self.status_checks
        yield self.zones
        yield from self.backend.addresses
        yield from self.backend.enis.values()
        yield from self.backend.nat_gateways.values()
        for table in self.backend.route_tables.values():
            yield table
            yield from table.routes
        for instance in self.backend.all_instances():
            yield instance
            yield instance._state  # noqa: SLF001 - moto has no accessor
            yield from instance.nics.values()

    def answer(self, operation: str, params: Params) -> Params | None:
        """Answer a call, or return None for moto to answer it.

        :raises AwsError: As EC2 refuses it.
        """
        handler = self._own.get(operation)
        if handler is not None:
            _check_ids(params)
        if params.get("DryRun"):  # also for calls that moto would execute
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)
        if handler is None:
            self.routes.check(operation, params)
            if operation == "RunInstances":
                self._take_capacity(params)
            return None
        return handler(params)

    def follow_up(self, operation: str, params: Params) -> None:
        """Correct moto's state after a call that moto answered."""
        if operation in {"RunInstances", "StartInstances"}:
            for instance in self.backend.all_instances():
                self.instances.tidy(instance)
        elif operation == "TerminateInstances":
            ids = [value for key, value in params.items() if key.startswith("InstanceId.")]
            self.instances.forget_user_terminated(self.instances.find(ids))
        elif operation in CHANGES:
            self.routes.changed(operation, params)

    def steal(self, allocation_id: str) -> str:
        """Move an address to an unrelated instance, as EC2 allows by default; return the instance id."""
        instances = (i for i in self.backend.all_instances() if i.state == "running")
        thief = next((i for i in instances if {"key": "Name", "value": THIEF} in i.get_tags()), None)
        if thief is None:
            thief = self.instances.launch(
                subnet_id=self.instances.default_subnet_id(), instance_type="t3.micro", tags={"Name": THIEF}
            )
            thief.start()
            self.instances.tidy(thief)
        self.addresses.attach(self.addresses.by_id(allocation_id), thief.nics[0], reassociate=True, cause="thief")
        return str(thief.id)

    def public_ip(self, instance_id: str) -> str | None:
        """Return the public source address of a running instance, None if it cannot reach the internet."""
        for instance in self.instances.find([instance_id]):
            if instance.state == "running" and not self.zones.is_cut(instance.availability_zone):
                return egress_ip(self.backend, instance.nics[0])
        return None

    def _take_capacity(self, params: Params) -> None:
        subnet_id = params.get("SubnetId") or params.get("NetworkInterface.1.SubnetId")
        if subnet_id or "Placement.AvailabilityZone" not in params:
            zone = self.instances.subnet(subnet_id or self.instances.default_subnet_id()).availability_zone
        else:
            zone = params["Placement.AvailabilityZone"]
        # EC2 launches between MinCount and MaxCount instances; here MinCount.
        self.zones.take(zone, params.get("InstanceType", "m1.small"), int(params.get("MinCount", 1)))

    def _allocate_address(self, params: Params) -> Params:
        address = self.addresses.allocate(tags=tags_of(params))
        return {
            "publicIp": address.public_ip,
            "domain": address.domain,
            "allocationId": address.allocation_id,
            "networkBorderGroup": address.network_border_group,
            "publicIpv4Pool": address.public_ipv4_pool,
        }

    def _associate_address(self, params: Params) -> Params:
        return {"return": "true", "associationId": self.addresses.associate(params)}

    def _disassociate_address(self, params: Params) -> Params:
        self.addresses.disassociate(params)
        return {"return": "true"}

    def _release_address(self, params: Params) -> Params:
        self.addresses.release(params)
        return {"return": "true"}


def _check_ids(params: Params) -> None:
    if "AllocationId" in params:
        check_id(params["AllocationId"], "eipalloc", "InvalidAllocationID")
    if "AssociationId" in params:
        check_id(params["AssociationId"], "eipassoc", "InvalidAssociationID")
