"""NAT gateways that take time to create and to delete, and keep their Elastic IP until deleted."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import random_nat_gateway_id, random_private_ip

from local_emr.ec2.network import check_internet_gateway
from local_emr.ec2.wire import filters_of, listed, tags_of
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.ec2.addresses import Addresses
    from local_emr.events import EventLog

Params = dict[str, Any]
_NOT_COMPARED = {"ClientToken", "DryRun"}


class NatGateway(TaggedEC2Resource):
    """One NAT gateway.

    :param allocation_id: The Elastic IP in the request; ``None`` for a private gateway.
    :param request: The parameters of CreateNatGateway.
    """

    def __init__(
        self, backend: Any, *, subnet: Any, allocation_id: str | None, request: Mapping[str, Any], created: datetime
    ) -> None:
        self.ec2_backend = backend
        self.id = random_nat_gateway_id()
        self.subnet = subnet
        self.allocation_id = allocation_id
        self.request = {name: value for name, value in request.items() if name not in _NOT_COMPARED}
        self.client_token: str | None = request.get("ClientToken")
        self.created = created
        self.deleted: datetime | None = None
        self.state = "pending"
        self.failure: AwsError | None = None
        self.interface: Any = None
        self.address: Any = None
        self.association_id: str | None = None

    @property
    def public_ip(self) -> str | None:
        """Its public address; ``None`` unless it is available."""
        return self.address.public_ip if self.state == "available" and self.address else None

    def described(self) -> Params:
        """Return it as the API describes it."""
        shown = {
            "natGatewayId": self.id,
            "subnetId": self.subnet.id,
            "vpcId": self.subnet.vpc_id,
            "state": self.state,
            "connectivityType": self.request.get("ConnectivityType", "public"),
            "createTime": self.created.isoformat(),
            "deleteTime": self.deleted.isoformat() if self.deleted else None,
            "failureCode": self.failure.code if self.failure else None,
            "failureMessage": self.failure.message if self.failure else None,
            "natGatewayAddressSet": [self._described_address()],
            "tagSet": [{"key": tag["key"], "value": tag["value"]} for tag in self.get_tags()],
        }
        return {name: value for name, value in shown.items() if value is not None}

    def _described_address(self) -> Params:
        shown = {
            "allocationId": self.allocation_id,
            "associationId": self.association_id,
            "publicIp": self.address.public_ip if self.address else None,
            "networkInterfaceId": self.interface.id if self.interface else None,
            "privateIp": self.interface.private_ip_address if self.interface else None,
            "isPrimary": "true",
            "status": "failed" if self.failure else "succeeded" if self.interface else "associating",
        }
        return {name: value for name, value in shown.items() if value is not None}

    def matches(self, name: str, values: list[str]) -> bool:
        """Return whether a filter matches; ``*`` and ``?`` are wildcards.

        :raises AwsError: ``InvalidParameterValue`` for a filter that DescribeNatGateways does not have.
        """
        tags = {tag["key"]: tag["value"] for tag in self.get_tags()}
        mine = {
            "nat-gateway-id": [self.id],
            "state": [self.state],
            "subnet-id": [self.subnet.id],
            "vpc-id": [self.subnet.vpc_id],
            "tag-key": list(tags),
        }
        if name.startswith("tag:"):
            found = [tags[key] for key in (name.removeprefix("tag:"),) if key in tags]
        elif name in mine:
            found = mine[name]
        else:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
        return any(fnmatchcase(value, pattern) for value in found for pattern in values)


class NatGateways:
    """The NAT gateways of one region.

    :param find_subnet: Returns a subnet, or raises AwsError ``InvalidSubnetID.NotFound``.
    """

    def __init__(
        self,
        *,
        backend: Any,
        addresses: Addresses,
        find_subnet: Callable[[str], Any],
        events: EventLog,
        clock: Clock,
        durations: Durations,
    ) -> None:
        self._backend = backend
        self._addresses = addresses
        self._find_subnet = find_subnet
        self._events = events
        self._clock = clock
        self._durations = durations

    def create(self, params: Params) -> Params:
        """Answer CreateNatGateway; a problem with the address or the VPC appears later, as a failed gateway.

        So with an address in use: the call succeeds, and the gateway fails with
        ``Resource.AlreadyAssociated`` (docs: EC2 API, NatGateway, ``failureCode``).

        :raises AwsError: For ids that do not exist, ``MissingParameter``, ``IdempotentParameterMismatch``.
        """
        request = {name: value for name, value in params.items() if name not in _NOT_COMPARED}
        gateway = self._of_token(params.get("ClientToken"))
        if gateway is None:
            gateway = self._begin(params)
        elif gateway.request != request:
            raise AwsError(
                "IdempotentParameterMismatch",
                "The client token was used for another request. Use a different client token.",
            )
        token = {"clientToken": gateway.client_token} if gateway.client_token else {}
        return {**token, "natGateway": gateway.described()}

    def delete(self, params: Params) -> Params:
        """Answer DeleteNatGateway; the address is free when the gateway is deleted, not before.

        :raises AwsError: ``NatGatewayNotFound``, ``NatGatewayMalformed``.
        """
        gateway = self.by_id(params["NatGatewayId"])
        if gateway.state == "deleted":
            raise _not_found(gateway.id)
        if gateway.state != "deleting":
            gateway.deleted = self._clock.now()
            self._enter(gateway, "deleting")
            self._later(self._durations.nat_gateway_deletion, gateway, "deleting", self._end)
        return {"natGatewayId": gateway.id}

    def describe(self, params: Params) -> Params:
        """Answer DescribeNatGateways, in one page.

        :raises AwsError: ``NatGatewayNotFound``, ``NatGatewayMalformed``, ``InvalidParameterValue`` for a filter.
        """
        ids = listed(params, "NatGatewayId")
        found = [self.by_id(name) for name in ids] or list(self._backend.nat_gateways.values())
        filters = filters_of(params)
        return {
            "natGatewaySet": [
                gateway.described()
                for gateway in found
                if all(gateway.matches(name, values) for name, values in filters.items())
            ]
        }

    def by_id(self, nat_gateway_id: str) -> NatGateway:
        """Return a gateway, also a deleted one for as long as EC2 lists it.

        :raises AwsError: ``NatGatewayNotFound``, ``NatGatewayMalformed``.
        """
        if not nat_gateway_id.startswith("nat-"):
            raise AwsError("NatGatewayMalformed", f"The nat gateway ID '{nat_gateway_id}' is malformed")
        gateway: NatGateway | None = self._backend.nat_gateways.get(nat_gateway_id)
        if gateway is None:
            raise _not_found(nat_gateway_id)
        return gateway

    def _of_token(self, token: str | None) -> NatGateway | None:
        gateways = self._backend.nat_gateways.values()
        return next((gateway for gateway in gateways if token and gateway.client_token == token), None)

    def _begin(self, params: Params) -> NatGateway:
        if "SubnetId" not in params:
            raise AwsError("MissingParameter", "The request must contain the parameter SubnetId")
        subnet = self._find_subnet(params["SubnetId"])
        public = params.get("ConnectivityType", "public") == "public"
        if public != ("AllocationId" in params):
            code, only = ("MissingParameter", "must") if public else ("InvalidParameterCombination", "must not")
            raise AwsError(code, f"A {params.get('ConnectivityType', 'public')} NAT gateway {only} have AllocationId")
        if public:
            self._addresses.by_id(params["AllocationId"])
        gateway = NatGateway(
            self._backend,
            subnet=subnet,
            allocation_id=params.get("AllocationId"),
            request=params,
            created=self._clock.now(),
        )
        self._backend.nat_gateways[gateway.id] = gateway
        gateway.add_tags(tags_of(params))
        self._enter(gateway, "pending")
        self._later(self._durations.nat_gateway_association, gateway, "pending", self._associate)
        self._later(self._durations.nat_gateway_start, gateway, "pending", self._become_available)
        return gateway

    def _associate(self, gateway: NatGateway) -> None:
        """Create the gateway's interface and associate the address; without both the gateway fails."""
        interface = self._backend.create_network_interface(
            gateway.subnet,
            random_private_ip(gateway.subnet.cidr_block),
            description=f"Interface for NAT Gateway {gateway.id}",
        )
        interface.interface_type, interface.status, interface.requester_managed = "nat_gateway", "in-use", True
        gateway.interface = interface
        if gateway.allocation_id is None:
            return
        try:
            self._take_address(gateway)
        except AwsError as error:
            gateway.failure = error
            self._backend.enis.pop(interface.id, None)
            self._enter(gateway, "failed")
            self._later(self._durations.nat_gateway_memory, gateway, "failed", self._forget)

    def _take_address(self, gateway: NatGateway) -> None:
        """Associate the address.

        :raises AwsError: The gateway's ``failureCode`` and ``failureMessage``.
        """
        vpc_id, allocation_id = gateway.subnet.vpc_id, str(gateway.allocation_id)
        try:
            check_internet_gateway(self._backend, vpc_id)
        except AwsError as error:
            raise AwsError(error.code, f"Network {vpc_id} has no Internet gateway attached") from error
        try:
            address = self._addresses.by_id(allocation_id)
        except AwsError as error:
            message = f"Elastic IP address {allocation_id} could not be associated with this NAT gateway"
            raise AwsError(error.code, message) from error
        if address.eni is not None:
            message = f"Elastic IP address [{allocation_id}] is already associated"
            raise AwsError("Resource.AlreadyAssociated", message)
        gateway.association_id = self._addresses.attach(
            address, gateway.interface, reassociate=False, cause=f"CreateNatGateway {gateway.id}"
        )
        gateway.address = address

    def _become_available(self, gateway: NatGateway) -> None:
        self._enter(gateway, "available")

    def _end(self, gateway: NatGateway) -> None:
        if gateway.interface is not None:
            address = self._addresses.on_interface(gateway.interface)
            if address is not None:
                self._addresses.detach(address, cause=f"DeleteNatGateway {gateway.id}")
            self._backend.enis.pop(gateway.interface.id, None)
        self._enter(gateway, "deleted")
        self._later(self._durations.nat_gateway_memory, gateway, "deleted", self._forget)

    def _forget(self, gateway: NatGateway) -> None:
        self._backend.nat_gateways.pop(gateway.id, None)

    def _later(self, seconds: float, gateway: NatGateway, state: str, then: Callable[[NatGateway], None]) -> None:
        """Call a function later, if the gateway is in a given state then."""

        def act() -> None:
            if gateway.state == state:
                then(gateway)

        self._clock.call_later(seconds, act, name=f"{gateway.id} goes on from {state}")

    def _enter(self, gateway: NatGateway, state: str) -> None:
        gateway.state = state
        self._events.append(
            "nat_gateway",
            state=state,
            nat_gateway_id=gateway.id,
            subnet_id=gateway.subnet.id,
            allocation_id=gateway.allocation_id,
            public_ip=gateway.address.public_ip if gateway.address else None,
            client_token=gateway.client_token,
            failure_code=gateway.failure.code if gateway.failure else None,
        )


def _not_found(nat_gateway_id: str) -> AwsError:
    return AwsError("NatGatewayNotFound", f"NAT gateway {nat_gateway_id} was not found")
