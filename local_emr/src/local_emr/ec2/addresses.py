"""Elastic IP addresses, with AWS's rules instead of moto's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.elastic_network_interfaces import NetworkInterface as MotoNetworkInterface
from moto.ec2.utils import generate_dns_from_ip, random_eip_allocation_id, random_eip_association_id

from local_emr.ec2.network import (
    assign_public_ip,
    check_internet_gateway,
    free_elastic_ip,
)
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_emr.events import EventLog

JOB_FLOW_TAG = "aws:elasticmapreduce:job-flow-id"
_ID = re.compile(r"[a-z]+-([0-9a-f]{8}|[0-9a-f]{17})")


class Address(ElasticAddress):
    """An Elastic IP that omits missing fields, as AWS does; moto returns empty ids for a free one."""

    public_ipv4_pool = "amazon"
    on_private_ip: str | None = None

    @property
    def private_ip_address(self) -> str | None:
        """The private address that it is associated with."""
        return self.on_private_ip if self.eni else None

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        """Return the value that a filter of DescribeAddresses compares."""
        if filter_name == "private-ip-address":
            return self.private_ip_address
        return super().get_filter_value(filter_name, method_name)

    @property
    def instance_id(self) -> str | None:  # type: ignore[override] # moto returns "" for none
        """The associated instance, also when it was associated by network interface."""
        return str(self.instance.id) if self.instance else None

    @property
    def network_interface_id(self) -> str | None:  # type: ignore[override] # moto returns "" for none
        """The associated network interface."""
        return str(self.eni.id) if self.eni else None

    @property
    def network_border_group(self) -> str:
        """The network border group: the region."""
        return str(self.ec2_backend.region_name)


class NetworkInterface(MotoNetworkInterface):
    """A network interface with a public address for each private address; moto supports only the primary one.

    It has the same name as moto's class, because moto derives ``NetworkInterfaceId`` from it.
    """

    @property
    def instance_private_ip_address_list(self) -> list[dict[str, Any]]:
        """The private addresses in DescribeInstances."""
        shown = super().instance_private_ip_address_list
        for entry, own in zip(shown, self.private_ip_addresses, strict=True):
            if "Association" in own:
                entry["Association"] = own["Association"]
        return shown


class Addresses:
    """The Elastic IPs of one region.

    :param backend: moto's EC2 backend of that region, which holds all state.
    """

    def __init__(self, backend: Any, events: EventLog) -> None:
        self._backend = backend
        self._events = events

    def allocate(self, *, domain: str = "vpc", tags: dict[str, str] | None = None) -> Any:
        """Allocate an address of 203.0.113.0/24."""
        public_ip = free_elastic_ip(self._backend)
        address = Address(self._backend, domain, public_ip, tags)  # type: ignore[abstract] # as in moto itself
        self._backend.addresses.append(address)
        if domain == "standard":
            address.allocation_id = address.id = random_eip_allocation_id()
        return address

    def saved(self) -> list[dict[str, Any]]:
        """Return the VPC addresses as JSON for :meth:`restore`, without associations, as instances are not saved."""
        return [
            {
                "allocation_id": address.allocation_id,
                "public_ip": address.public_ip,
                "tags": {tag["key"]: tag["value"] for tag in address.get_tags()},
            }
            for address in self._backend.addresses
            if address.domain == "vpc"
        ]

    def restore(self, saved: list[dict[str, Any]]) -> None:
        """Allocate the saved addresses."""
        for was in saved:
            address = Address(self._backend, "vpc", was["public_ip"])  # type: ignore[abstract] # as in moto itself
            address.allocation_id = address.id = was["allocation_id"]
            address.add_tags(was["tags"])
            self._backend.addresses.append(address)

    def associate(self, params: Mapping[str, Any]) -> str:
        """Answer AssociateAddress.

        Re-association is allowed unless ``AllowReassociation`` is false (docs: EC2 API, AssociateAddress: "in a VPC …
        reassociation is automatic, therefore you can specify false to ensure the operation fails if the Elastic IP
        address is already associated with another resource"). ``PrivateIpAddress`` is the private address to associate
        it with, "if no private IP address is specified, … the primary private IP address" (docs: as above).

        :raises AwsError: As EC2 refuses it.
        """
        address = self._address(params)
        interface = self._target(params)
        _check_not_nat(interface)
        return self.attach(
            address,
            interface,
            private_ip=params.get("PrivateIpAddress"),
            reassociate=params.get("AllowReassociation", True),
            cause="AssociateAddress",
        )

    def attach(
        self, address: Any, interface: Any, *, reassociate: bool, cause: str, private_ip: str | None = None
    ) -> str:
        """Associate an address with an interface and return the association id, which may already exist.

        :param private_ip: Which of the interface's private addresses; the primary one unless given.
        :param cause: The reason, for the event log.
        :raises AwsError: ``Resource.AlreadyAssociated``, ``Gateway.NotAttached``, ``InvalidParameterValue`` for a
            private address that the interface does not have, or ``AuthFailure`` for one of a NAT gateway.
        """
        private_ip = private_ip or interface.private_ip_address
        entry = _private_entry(interface, private_ip)
        if address.eni is interface and address.on_private_ip == private_ip:
            return str(address.association_id)
        check_internet_gateway(self._backend, interface.subnet.vpc_id)
        present = self.on_interface(interface, private_ip)
        if not reassociate and address.eni is not None:
            raise _already_associated(address.allocation_id, address.association_id)
        _check_not_nat(address.eni)
        if not reassociate and present is not None:
            raise _already_associated(interface.id, present.association_id)
        for other in (present, address):
            if other is not None and other.eni is not None:
                self.detach(other, cause=cause)
        address.eni, address.instance = interface, interface.instance
        address.association_id, address.on_private_ip = random_eip_association_id(), private_ip
        interface.__class__ = NetworkInterface  # moto creates its own class
        entry["Association"] = _association(address)
        # The instance sends from its primary private address.
        if private_ip == interface.private_ip_address:
            interface.public_ip = address.public_ip
        self._record(address, "associated", cause)
        return str(address.association_id)

    def disassociate(self, params: Mapping[str, Any]) -> None:
        """Answer DisassociateAddress.

        :raises AwsError: ``InvalidAssociationID.NotFound`` (docs: EC2 error codes).
        """
        association_id = params.get("AssociationId")
        if not association_id:
            raise AwsError("MissingParameter", "Either 'AssociationId' or 'PublicIp' must be specified.")
        for address in self._backend.addresses:
            if address.association_id == association_id:
                _check_not_nat(address.eni)
                self.detach(address, cause="DisassociateAddress")
                return
        raise AwsError("InvalidAssociationID.NotFound", f"The association ID '{association_id}' does not exist")

    def detach(self, address: Any, *, cause: str) -> None:
        """Disassociate an address.

        The instance then gets a new auto-assigned address if it had one at launch and has no second interface
        (docs: EC2 user guide, "Public IPv4 addresses").
        """
        interface, private_ip = address.eni, address.on_private_ip
        self._record(address, "disassociated", cause)
        address.eni = address.instance = address.association_id = address.on_private_ip = None
        for entry in interface.private_ip_addresses:
            if entry["PrivateIpAddress"] == private_ip:
                entry.pop("Association", None)
        if private_ip != interface.private_ip_address:
            return
        interface.public_ip = None
        instance = interface.instance
        if instance and instance.state == "running" and interface.public_ip_auto_assign and len(instance.nics) == 1:
            assign_public_ip(self._backend, interface)

    def release(self, params: Mapping[str, Any]) -> None:
        """Answer ReleaseAddress.

        :raises AwsError: ``InvalidIPAddress.InUse`` while it is associated (docs: EC2 API, ReleaseAddress: a VPC
            address has to be disassociated first), ``AuthFailure`` while a NAT gateway has it; moto would release it.
        """
        address = self._address(params)
        _check_not_nat(address.eni)
        if address.eni is not None:
            raise AwsError("InvalidIPAddress.InUse", f"The address {address.public_ip} is in use.")
        self._backend.addresses.remove(address)

    def of_instance(self, instance: Any) -> list[Any]:
        """Return the addresses on an instance's interfaces."""
        return [address for address in self._backend.addresses if address.eni and address.eni.instance is instance]

    def on_interface(self, interface: Any, private_ip: str | None = None) -> Any | None:
        """Return the address on an interface's private address, the primary one unless given."""
        private_ip = private_ip or interface.private_ip_address
        here = (address for address in self._backend.addresses if address.eni is interface)
        return next((address for address in here if address.on_private_ip == private_ip), None)

    def by_id(self, allocation_id: str) -> Any:
        """Return the address of an allocation id.

        :raises AwsError: ``InvalidAllocationID.NotFound`` (also for one of another region), or ``….Malformed``.
        """
        check_id(allocation_id, "eipalloc", "InvalidAllocationID")
        for address in self._backend.addresses:
            if address.allocation_id == allocation_id:
                return address
        raise AwsError("InvalidAllocationID.NotFound", f"The allocation ID '{allocation_id}' does not exist")

    def _address(self, params: Mapping[str, Any]) -> Any:
        if "AllocationId" in params:
            return self.by_id(params["AllocationId"])
        for address in self._backend.addresses:
            if address.public_ip == params.get("PublicIp"):
                return address
        if "PublicIp" in params:
            raise AwsError("InvalidAddress.NotFound", f"Address '{params['PublicIp']}' not found.")
        raise AwsError("MissingParameter", "Either 'AllocationId' or 'PublicIp' must be specified.")

    def _target(self, params: Mapping[str, Any]) -> Any:
        if "InstanceId" in params and "NetworkInterfaceId" in params:
            raise AwsError("InvalidParameterCombination", "You may specify either instanceId or networkInterfaceId.")
        if "NetworkInterfaceId" in params:
            return self._interface(params["NetworkInterfaceId"])
        if "InstanceId" in params:
            return self._interface_of_instance(params["InstanceId"])
        raise AwsError("MissingParameter", "Either 'InstanceId' or 'NetworkInterfaceId' must be specified.")

    def _interface(self, interface_id: str) -> Any:
        check_id(interface_id, "eni", "InvalidNetworkInterfaceId")
        interface = self._backend.enis.get(interface_id)
        if interface is None:
            raise AwsError(
                "InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{interface_id}' does not exist"
            )
        if interface.instance is not None:
            _check_running(interface.instance)
        return interface

    def _interface_of_instance(self, instance_id: str) -> Any:
        check_id(instance_id, "i", "InvalidInstanceID")
        instance = next((i for i in self._backend.all_instances() if i.id == instance_id), None)
        if instance is None:
            raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
        _check_running(instance)
        if len(instance.nics) > 1:
            raise AwsError(
                "InvalidInstanceID",
                f"There are multiple interfaces attached to instance '{instance_id}'. "
                "Please specify an interface ID for the operation instead.",
            )
        return instance.nics[0]

    def _record(self, address: Any, change: str, cause: str) -> None:
        instance = address.eni.instance
        self._events.append(
            "address",
            change=change,
            cause=cause,
            allocation_id=address.allocation_id,
            public_ip=address.public_ip,
            association_id=address.association_id,
            network_interface_id=address.eni.id,
            private_ip_address=address.private_ip_address,
            instance_id=instance.id if instance else None,
            job_flow_id=job_flow_id_of(instance),
        )


def check_id(value: str, prefix: str, code: str) -> None:
    """Raise an error for a malformed id.

    :raises AwsError: ``<code>.Malformed``.
    """
    if not (value.startswith(f"{prefix}-") and _ID.fullmatch(value)):
        raise AwsError(f"{code}.Malformed", f'Invalid id: "{value}" (expecting "{prefix}-...")')


def job_flow_id_of(instance: Any) -> str | None:
    """Return the cluster id in EMR's tags of an instance."""
    if instance is None:
        return None
    return next((str(tag["value"]) for tag in instance.get_tags() if tag["key"] == JOB_FLOW_TAG), None)


def _private_entry(interface: Any, private_ip: str) -> dict[str, Any]:
    """Return the entry of one of an interface's private addresses.

    :raises AwsError: ``InvalidParameterValue``.
    """
    for entry in interface.private_ip_addresses:
        if entry["PrivateIpAddress"] == private_ip:
            return cast("dict[str, Any]", entry)
    raise AwsError(
        "InvalidParameterValue", f"The private IP address '{private_ip}' is not assigned to interface '{interface.id}'."
    )


def _association(address: Any) -> dict[str, Any]:
    return {
        "allocationId": address.allocation_id,
        "associationId": address.association_id,
        "ipOwnerId": address.eni.owner_id,
        "publicDnsName": generate_dns_from_ip(address.public_ip),
        "publicIp": address.public_ip,
    }


def _already_associated(resource_id: str, association_id: str) -> AwsError:
    return AwsError(
        "Resource.AlreadyAssociated",
        f"resource {resource_id} is already associated with associate-id {association_id}",
    )


def _check_running(instance: Any) -> None:
    """Raise an error for an instance that cannot be associated with an address.

    A pending instance is refused with ``InvalidInstanceID`` and this text (docs: AWS re:Post and EC2 user guide: an
    address can be associated once the instance is running or stopped).
    """
    if instance.state == "pending":
        raise AwsError(
            "InvalidInstanceID",
            f"The pending instance '{instance.id}' is not in a valid state for this operation.",
        )
    if instance.state in {"shutting-down", "terminated"}:
        raise AwsError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not in the 'running' or 'stopped' state.",
        )


def _check_not_nat(interface: Any) -> None:
    """Raise an error for an address that a NAT gateway keeps until it is deleted (docs: VPC, NAT gateways).

    :param interface: The current or the new interface of the address, if any.
    :raises AwsError: ``AuthFailure``.
    """
    if interface is not None and interface.interface_type == "nat_gateway":
        raise AwsError("AuthFailure", "You do not have permission to access the specified resource.")
