"""Elastic IP addresses, and the instances and NAT gateways that they are associated with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import IgnoreCodes, is_transient
from airflow_eip_provider.aws.nat_gateways import read_carrying_gateway
from airflow_eip_provider.aws.pages import as_filters, read_pages
from airflow_eip_provider.aws.tags import CLUSTER_TAG, OWNER_TAG, ROLE_TAG, tags_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow_eip_provider.aws.nat_gateways import Gateway

log = logging.getLogger(__name__)

_VALUES_PER_FILTER = 200  # EC2 API Reference, DescribeInstances: "up to 200 values for a filter"
_NOT_TERMINATED = ("pending", "running", "stopping", "stopped", "shutting-down")
_GATEWAY_INTERFACE = "nat_gateway"
# The types of interfaces on which AWS services keep an address for as long as the interface exists. A NAT gateway is
# not one of them: its tags say whether it was created for a cluster, and EC2 may not show a new gateway yet.
_PERMANENT_INTERFACES = frozenset({"network_load_balancer", "global_accelerator_managed"})


@dataclass(frozen=True, slots=True)
class Address:
    """
    An Elastic IP and its association.

    :param private_ip: the private address of the interface that it is associated with.
    """

    allocation_id: str
    public_ip: str
    domain: str
    network_border_group: str | None = None
    association_id: str | None = None
    network_interface_id: str | None = None
    instance_id: str | None = None
    private_ip: str | None = None

    @property
    def is_free(self) -> bool:
        """Whether the address is not associated with anything."""
        return self.association_id is None and self.network_interface_id is None and self.instance_id is None

    def facts(self, *, job_flow_id: str | None) -> dict[str, Any]:
        """
        Return the association as plain JSON, for XComs and events.

        :param job_flow_id: the cluster of the instance.
        """
        return {
            "allocation_id": self.allocation_id,
            "public_ip": self.public_ip,
            "association_id": self.association_id,
            "network_interface_id": self.network_interface_id,
            "instance_id": self.instance_id,
            "job_flow_id": job_flow_id,
        }


@dataclass(frozen=True, slots=True)
class Instance:
    """
    An EC2 instance and its primary network interface (DeviceIndex 0).

    :param private_ip: the primary private address of that interface; ``group_ids`` are its security groups.
    :param private_dns: the name inside the VPC.
    :param public_ip: the address outside the VPC, if there is one.
    :param zone: the name of the Availability Zone.
    """

    instance_id: str
    state: str
    subnet_id: str | None
    network_interface_id: str | None
    vpc_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    private_ip: str | None = None
    private_dns: str | None = None
    public_ip: str | None = None
    zone: str | None = None
    group_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """
    The resource that an address is associated with.

    :param description: for messages.
    :param permanent: the resource never releases the address.
    :param tags: of the instance, or of a cluster's NAT gateway.
    :param gateway: the NAT gateway, if it is one; it is permanent unless it was created for a cluster. ``None`` when
        EC2 does not show it; then it is not known whether it is permanent.
    :param instance: the instance, if it is one; ``None`` when EC2 does not show it.
    """

    description: str
    job_flow_id: str | None = None
    permanent: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    gateway: Gateway | None = None
    instance: Instance | None = None


def _address(item: Mapping[str, Any]) -> Address:
    return Address(
        allocation_id=item.get("AllocationId", ""),
        public_ip=item["PublicIp"],
        domain=item.get("Domain", "standard"),
        network_border_group=item.get("NetworkBorderGroup"),
        association_id=item.get("AssociationId") or None,
        network_interface_id=item.get("NetworkInterfaceId") or None,
        instance_id=item.get("InstanceId") or None,
        private_ip=item.get("PrivateIpAddress") or None,
    )


def _instance(item: Mapping[str, Any]) -> Instance:
    interfaces = item.get("NetworkInterfaces", ())
    primary: Mapping[str, Any] = next((i for i in interfaces if i.get("Attachment", {}).get("DeviceIndex") == 0), {})
    groups = primary.get("Groups") or item.get("SecurityGroups", ())
    return Instance(
        instance_id=item["InstanceId"],
        state=item["State"]["Name"],
        subnet_id=item.get("SubnetId"),
        network_interface_id=primary.get("NetworkInterfaceId"),
        vpc_id=item.get("VpcId"),
        tags=tags_of(item.get("Tags")),
        private_ip=primary.get("PrivateIpAddress") or item.get("PrivateIpAddress"),
        private_dns=item.get("PrivateDnsName") or None,
        public_ip=item.get("PublicIpAddress") or None,
        zone=item.get("Placement", {}).get("AvailabilityZone"),
        group_ids=tuple(group["GroupId"] for group in groups),
    )


def read_address(ec2: Any, allocation_id: str) -> Address | None:
    """Read one address; ``None`` when it does not exist in this account and region."""
    with IgnoreCodes("InvalidAllocationID.NotFound"):
        response = ec2.describe_addresses(AllocationIds=[allocation_id])
        return next((_address(item) for item in response["Addresses"]), None)
    return None


def read_addresses(ec2: Any, allocation_ids: Collection[str]) -> dict[str, Address]:
    """Read many addresses by their IDs; those that do not exist are left out."""
    addresses: dict[str, Address] = {}
    # A filter, because one unknown ID in AllocationIds fails the whole call.
    for chunk in _in_chunks(allocation_ids):
        response = ec2.describe_addresses(Filters=as_filters({"allocation-id": chunk}))
        addresses.update({item["AllocationId"]: _address(item) for item in response["Addresses"]})
    return addresses


def read_addresses_on(ec2: Any, network_interface_id: str) -> list[Address]:
    """Read the addresses that are associated with a network interface."""
    filters = as_filters({"network-interface-id": [network_interface_id]})
    return [_address(item) for item in ec2.describe_addresses(Filters=filters)["Addresses"]]


def read_all_addresses(ec2: Any) -> list[Address]:
    """Read every address of this account and region."""
    return [_address(item) for item in ec2.describe_addresses()["Addresses"]]


def read_allocation_ids(ec2: Any, filters: Mapping[str, Collection[str]]) -> list[str]:
    """
    Return the sorted IDs of the addresses that match all filters.

    :param filters: of DescribeAddresses: the accepted values by name, such as "tag:purpose".
    """
    response = ec2.describe_addresses(Filters=as_filters(filters))
    return sorted(item["AllocationId"] for item in response["Addresses"] if item.get("AllocationId"))


def read_instance(ec2: Any, instance_id: str) -> Instance | None:
    """Read one instance; ``None`` if EC2 does not show it yet (for seconds after its start) or no longer shows it."""
    with IgnoreCodes("InvalidInstanceID.NotFound"):
        response = ec2.describe_instances(InstanceIds=[instance_id])
        return next((_instance(item) for group in response["Reservations"] for item in group["Instances"]), None)
    return None


def read_instances(ec2: Any, instance_ids: Collection[str]) -> dict[str, Instance]:
    """Read many instances by their IDs; those that EC2 does not show are left out."""
    chunks = _in_chunks(instance_ids)
    instances = [found for chunk in chunks for found in _read_instances(ec2, {"instance-id": chunk})]
    return {instance.instance_id: instance for instance in instances}


def read_instances_at(ec2: Any, private_ip: str, *, vpc_id: str) -> list[Instance]:
    """Read the instances that have a private address in a VPC now."""
    return _read_instances(ec2, {"private-ip-address": [private_ip], "vpc-id": [vpc_id]})


def read_primaries(ec2: Any, job_flow_ids: Collection[str]) -> dict[str, Instance]:
    """
    Read the primary instances of many clusters by the cluster IDs, from the tags that EMR gives to its instances.

    Terminated instances, and those whose tags EC2 does not show yet, are left out. While EMR replaces a primary
    instance, the new one is returned; of several, always the same.
    """
    primaries: dict[str, Instance] = {}
    for chunk in _in_chunks(job_flow_ids):
        filters = {f"tag:{CLUSTER_TAG}": chunk, f"tag:{ROLE_TAG}": ["MASTER"], "instance-state-name": _NOT_TERMINATED}
        for instance in sorted(_read_instances(ec2, filters), key=lambda instance: instance.instance_id):
            job_flow_id = instance.tags[CLUSTER_TAG]
            if job_flow_id not in primaries or primaries[job_flow_id].state == "shutting-down":
                primaries[job_flow_id] = instance
    return primaries


def put_on_primary(ec2: Any, allocation_id: str, *, job_flow_id: str) -> str | None:
    """
    Associate an address with the primary node of a cluster that had it (ec2:AssociateAddress).

    :return: the association ID; ``None`` if something has the address, no such node runs, or EC2 refuses.
    :raises ClientError: if a retry may help.
    """
    primary = read_primaries(ec2, [job_flow_id]).get(job_flow_id)
    if primary is None or primary.state != "running" or primary.network_interface_id is None:
        return None
    try:
        with IgnoreCodes("Resource.AlreadyAssociated"):
            response = ec2.associate_address(
                AllocationId=allocation_id, NetworkInterfaceId=primary.network_interface_id, AllowReassociation=False
            )
            log.info("Elastic IP %s is on cluster %s again", allocation_id, job_flow_id)
            return str(response["AssociationId"])
    except ClientError as error:
        if is_transient(error):
            raise
        log.warning("Cluster %s cannot have Elastic IP %s back: %s", job_flow_id, allocation_id, error)
    return None


def read_tagged_instances(ec2: Any, tag: str) -> list[Instance]:
    """Read the instances with a tag, whatever its value; terminated ones are left out."""
    return _read_instances(ec2, {"tag-key": [tag], "instance-state-name": _NOT_TERMINATED})


def read_running_primaries(ec2: Any, vpc_id: str, *, tags: Mapping[str, str]) -> list[Instance]:
    """
    Read the running primary instances of EMR clusters in a VPC.

    :param tags: of the clusters; EMR gives them to the instances, too.
    """
    by_tag = {f"tag:{key}": [value] for key, value in {ROLE_TAG: "MASTER", **tags}.items()}
    return _read_instances(ec2, {"vpc-id": [vpc_id], "instance-state-name": ["running"], **by_tag})


def _in_chunks(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _VALUES_PER_FILTER):
        yield ordered[start : start + _VALUES_PER_FILTER]


def _read_instances(ec2: Any, filters: Mapping[str, Collection[str]]) -> list[Instance]:
    groups = read_pages(ec2.describe_instances, "Reservations", Filters=as_filters(filters))
    return [_instance(item) for group in groups for item in group["Instances"]]


def read_holder(ec2: Any, address: Address) -> Holder:
    """Read what an address is associated with."""
    if address.is_free:
        return Holder("nobody")
    if address.instance_id:
        return holder_on_instance(address, read_instance(ec2, address.instance_id))
    if address.network_interface_id is None:  # on a regional NAT gateway, which is in no subnet
        gateway = read_carrying_gateway(ec2, address.allocation_id)
        return _gateway_holder(gateway) if gateway else Holder(f"association '{address.association_id}'")
    interface: dict[str, Any] = {}
    with IgnoreCodes("InvalidNetworkInterfaceID.NotFound"):
        response = ec2.describe_network_interfaces(NetworkInterfaceIds=[address.network_interface_id])
        interface = next(iter(response["NetworkInterfaces"]), interface)
    kind = interface.get("InterfaceType", "interface")
    if kind == _GATEWAY_INTERFACE and (gateway := read_carrying_gateway(ec2, address.allocation_id)):
        return _gateway_holder(gateway)
    permanent = kind in _PERMANENT_INTERFACES
    service = f"{kind.replace('_', ' ')} " if permanent or kind == _GATEWAY_INTERFACE else ""
    detail = f" ({interface['Description']})" if interface.get("Description") else ""
    return Holder(f"{service}interface '{address.network_interface_id}'{detail}", permanent=permanent)


def holder_on_instance(address: Address, instance: Instance | None) -> Holder:
    """
    Return the holder of an address that is associated with an instance.

    :param instance: ``None`` when EC2 does not show it.
    """
    tags = instance.tags if instance else {}
    job_flow_id = tags.get(CLUSTER_TAG)
    place = f"instance '{address.instance_id}'"
    if job_flow_id:
        place = f"cluster '{job_flow_id}' ({place})"
    return Holder(place + _owner(tags), job_flow_id, tags=tags, instance=instance)


def _owner(tags: Mapping[str, str]) -> str:
    return f" of '{tags[OWNER_TAG]}'" if OWNER_TAG in tags else ""


def _gateway_holder(gateway: Gateway) -> Holder:
    name = f"NAT gateway '{gateway.gateway_id}'"
    if gateway.job_flow_id is None:
        return Holder(name, permanent=True, gateway=gateway)
    description = f"cluster '{gateway.job_flow_id}' ({name}){_owner(gateway.tags)}"
    return Holder(description, gateway.job_flow_id, tags=gateway.tags, gateway=gateway)
