"""Elastic IP addresses, and who carries them; what is absent is ``None``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.nat_gateways import read_carrying_gateway
from airflow_eip_provider.aws.pages import read_pages
from airflow_eip_provider.aws.tags import CLUSTER_TAG, OWNER_TAG, ROLE_TAG, tags_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_eip_provider.aws.nat_gateways import Gateway

_VALUES_PER_FILTER = 200  # EC2 API Reference, DescribeInstances: "up to 200 values for a filter"
_NOT_TERMINATED = ("pending", "running", "stopping", "stopped", "shutting-down")
# The interfaces that AWS services keep an address on for as long as they live.
_PERMANENT_INTERFACES = frozenset({"nat_gateway", "network_load_balancer", "global_accelerator_managed"})


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where an Elastic IP is now.

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
        """Whether nothing carries the address."""
        return self.association_id is None and self.network_interface_id is None and self.instance_id is None

    def facts(self, *, job_flow_id: str | None) -> dict[str, Any]:
        """
        Return where the address is as plain JSON, for XComs and events.

        :param job_flow_id: the cluster whose instance carries it.
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

    :param private_ip: the primary private address of that interface.
    :param private_dns: its name inside the VPC; ``public_ip`` the address that it has outside of it, if any.
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


@dataclass(frozen=True, slots=True)
class Holder:
    """
    Who carries an address.

    :param description: for people.
    :param permanent: it never gives the address back by itself.
    :param tags: of its instance, or of a cluster's NAT gateway.
    :param gateway: the NAT gateway that it is; ``permanent`` unless it was made for a cluster.
    :param instance: the instance that it is; ``None`` when EC2 does not show it.
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


def read_address(ec2: Any, allocation_id: str) -> Address | None:
    """Read one address; ``None`` when this account and region have none of that ID."""
    try:
        response = ec2.describe_addresses(AllocationIds=[allocation_id])
    except ClientError as error:
        if error_code(error) == "InvalidAllocationID.NotFound":
            return None
        raise
    return next((_address(item) for item in response["Addresses"]), None)


def read_addresses(ec2: Any, allocation_ids: Collection[str]) -> dict[str, Address]:
    """Read many addresses, by their ids; those that do not exist are left out."""
    found: dict[str, Address] = {}
    # A filter, because one unknown id in AllocationIds fails the whole call.
    for some in _in_chunks(allocation_ids):
        response = ec2.describe_addresses(Filters=[_filter("allocation-id", *some)])
        found.update({item["AllocationId"]: _address(item) for item in response["Addresses"]})
    return found


def read_allocation_ids(ec2: Any, filters: Mapping[str, Collection[str]]) -> list[str]:
    """
    Return the ids of the addresses for which all filters hold, sorted.

    :param filters: of DescribeAddresses: a name, such as "tag:purpose", and the values of which one has to match.
    """
    response = ec2.describe_addresses(Filters=[_filter(name, *values) for name, values in filters.items()])
    return sorted(item["AllocationId"] for item in response["Addresses"] if item.get("AllocationId"))


def read_instance(ec2: Any, instance_id: str) -> Instance | None:
    """Read one instance; ``None`` while EC2's reads do not know it (for seconds after its start) or no longer do."""
    try:
        response = ec2.describe_instances(InstanceIds=[instance_id])
    except ClientError as error:
        if error_code(error) == "InvalidInstanceID.NotFound":
            return None
        raise
    return next((_instance(item) for group in response["Reservations"] for item in group["Instances"]), None)


def read_instances(ec2: Any, instance_ids: Collection[str]) -> dict[str, Instance]:
    """Read many instances, by their ids; those that EC2 does not know are left out."""
    chunks = _in_chunks(instance_ids)
    found = [instance for some in chunks for instance in _read_instances(ec2, [_filter("instance-id", *some)])]
    return {instance.instance_id: instance for instance in found}


def read_primaries(ec2: Any, job_flow_ids: Collection[str]) -> dict[str, Instance]:
    """
    Read the primary instances of many clusters, by the clusters' ids, from the tags that EMR gives to its instances.

    Left out are those whose tags EC2 does not show (yet), and terminated ones. Of a primary that is replaced, and the
    one that replaces it, the latter is returned; of several, always the same.
    """
    found: dict[str, Instance] = {}
    for some in _in_chunks(job_flow_ids):
        filters = [_filter(f"tag:{CLUSTER_TAG}", *some), _filter(f"tag:{ROLE_TAG}", "MASTER")]
        states = _filter("instance-state-name", *_NOT_TERMINATED)
        instances = _read_instances(ec2, [*filters, states])
        for instance in sorted(instances, key=lambda instance: instance.instance_id):
            name = instance.tags[CLUSTER_TAG]
            if name not in found or found[name].state == "shutting-down":
                found[name] = instance
    return found


def _in_chunks(ids: Collection[str]) -> list[list[str]]:
    ordered = sorted(ids)
    return [ordered[n : n + _VALUES_PER_FILTER] for n in range(0, len(ordered), _VALUES_PER_FILTER)]


def _instance(item: Mapping[str, Any]) -> Instance:
    primary: Mapping[str, Any] = next(
        (
            interface
            for interface in item.get("NetworkInterfaces", ())
            if interface.get("Attachment", {}).get("DeviceIndex") == 0
        ),
        {},
    )
    return Instance(
        instance_id=item["InstanceId"],
        state=item["State"]["Name"],
        subnet_id=item.get("SubnetId"),
        network_interface_id=primary.get("NetworkInterfaceId"),
        vpc_id=item.get("VpcId"),
        tags=tags_of(item.get("Tags")),
        private_ip=primary.get("PrivateIpAddress"),
        private_dns=item.get("PrivateDnsName") or None,
        public_ip=item.get("PublicIpAddress") or None,
    )


def read_all_addresses(ec2: Any) -> list[Address]:
    """Read every address of this account and region."""
    response = ec2.describe_addresses()
    return [_address(item) for item in response["Addresses"]]


def read_tagged_instances(ec2: Any, tag: str) -> list[Instance]:
    """Read the instances that carry a tag, whatever its value; those that were terminated are left out."""
    return _read_instances(ec2, [_filter("tag-key", tag), _filter("instance-state-name", *_NOT_TERMINATED)])


def read_running_primaries(ec2: Any, vpc_id: str, *, tags: Mapping[str, str]) -> list[Instance]:
    """
    Read the running primary instances of EMR clusters in a VPC.

    :param tags: those of their clusters, which EMR gives to the instances, too.
    """
    wanted = {ROLE_TAG: "MASTER", **tags}
    filters = [_filter("vpc-id", vpc_id), _filter("instance-state-name", "running")]
    return _read_instances(ec2, [*filters, *(_filter(f"tag:{key}", value) for key, value in wanted.items())])


def _filter(name: str, *values: str) -> dict[str, Any]:
    return {"Name": name, "Values": list(values)}


def _read_instances(ec2: Any, filters: list[dict[str, Any]]) -> list[Instance]:
    groups = read_pages(ec2.describe_instances, "Reservations", Filters=filters)
    return [_instance(item) for group in groups for item in group["Instances"]]


def read_holder(ec2: Any, address: Address) -> Holder:
    """Find out who carries an address that is not free."""
    if address.is_free:
        return Holder("nobody")
    if address.instance_id:
        return holder_on_instance(address, read_instance(ec2, address.instance_id))
    if address.network_interface_id is None:  # as of a regional NAT gateway, which is in no subnet
        carrying = read_carrying_gateway(ec2, address.allocation_id)
        return _gateway_holder(carrying) if carrying else Holder(f"association '{address.association_id}'")
    try:
        response = ec2.describe_network_interfaces(NetworkInterfaceIds=[address.network_interface_id])
        interface: dict[str, Any] = next(iter(response["NetworkInterfaces"]), {})
    except ClientError as error:
        if error_code(error) != "InvalidNetworkInterfaceID.NotFound":
            raise
        interface = {}
    kind = interface.get("InterfaceType", "interface")
    if kind == "nat_gateway" and (gateway := read_carrying_gateway(ec2, address.allocation_id)):
        return _gateway_holder(gateway)
    permanent = kind in _PERMANENT_INTERFACES
    what = f"{kind.replace('_', ' ')} " if permanent else ""
    detail = f" ({interface['Description']})" if interface.get("Description") else ""
    return Holder(f"{what}interface '{address.network_interface_id}'{detail}", permanent=permanent)


def holder_on_instance(address: Address, instance: Instance | None) -> Holder:
    """
    Return who carries an address that is on an instance.

    :param instance: that one; ``None`` when EC2 does not show it.
    """
    tags = instance.tags if instance else {}
    job_flow_id = tags.get(CLUSTER_TAG)
    place = f"cluster '{job_flow_id}' (instance '{address.instance_id}')"
    described = _owner(tags) + (place if job_flow_id else f"instance '{address.instance_id}'")
    return Holder(described, job_flow_id, tags=tags, instance=instance)


def _owner(tags: Mapping[str, str]) -> str:
    return f"'{tags[OWNER_TAG]}' on " if OWNER_TAG in tags else ""


def _gateway_holder(gateway: Gateway) -> Holder:
    name = f"NAT gateway '{gateway.gateway_id}'"
    if gateway.job_flow_id is None:
        return Holder(name, permanent=True, gateway=gateway)
    described = f"{_owner(gateway.tags)}cluster '{gateway.job_flow_id}' ({name})"
    return Holder(described, gateway.job_flow_id, tags=gateway.tags, gateway=gateway)
