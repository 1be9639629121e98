"""Whether the outgoing connections of a cluster use the Elastic IP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.addresses import read_address, read_holder
from airflow_eip_provider.aws.clusters import read_primary_instance_id
from airflow_eip_provider.aws.routes import NO_ROUTE, read_table_of_subnet
from airflow_eip_provider.aws.tags import BINDING_TAG, ROLE_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address, Holder, Instance
    from airflow_eip_provider.aws.clusters import Cluster


@dataclass(frozen=True, slots=True)
class Egress:
    """
    The path of the outgoing connections of a cluster through the address.

    :param association_id: of the address.
    :param gateway_id: the NAT gateway with the address; ``None`` when the address is on the primary node.
    :param subnet_id: of the cluster; its default route leads to that gateway.
    """

    association_id: str
    gateway_id: str | None = None
    subnet_id: str | None = None
    public_ip: str | None = None


@dataclass(frozen=True, slots=True)
class NotBound:
    """
    The outgoing connections of a cluster do not use the address.

    :param place: where the address is, as text that follows "Elastic IP … is".
    :param association_id: of the address; ``None`` when it is free.
    :param exists: the address exists.
    """

    place: str
    association_id: str | None = None
    exists: bool = True


def is_bound_by_gateway(holder: Holder, *, job_flow_id: str, tags: Mapping[str, str]) -> bool:
    """
    Whether the address is on the NAT gateway of a cluster: created for the cluster, or named by its binding.

    :param tags: of the cluster.
    """
    gateway = holder.gateway
    return gateway is not None and (holder.job_flow_id == job_flow_id or tags.get(BINDING_TAG) == gateway.gateway_id)


def read_unbound(emr: Any, address: Address, holder: Holder, cluster: Cluster) -> str | None:
    """
    Read where an associated address is, if it is not bound to a cluster; ``None`` when it is bound.

    Bound means: associated with the primary private address of the primary network interface of the primary node, which
    the node's own connections use; or on the NAT gateway of the cluster.

    :return: the place, as text that follows "Elastic IP … is".
    """
    place = f"on {holder.description}"
    if is_bound_by_gateway(holder, job_flow_id=cluster.job_flow_id, tags=cluster.tags):
        return None
    if holder.job_flow_id != cluster.job_flow_id or holder.instance is None:
        return place
    instance = holder.instance
    if not _read_is_primary(emr, instance, cluster):
        return f"{place}, which is not the primary node"
    if address.network_interface_id != instance.network_interface_id:
        primary = instance.network_interface_id or "not visible yet"
        return f"{place}, but on its interface '{address.network_interface_id}'; the primary interface is '{primary}'"
    # EC2 normally shows the private address of an association in a VPC. A missing one proves nothing.
    if address.private_ip and instance.private_ip and address.private_ip != instance.private_ip:
        return (
            f"{place}, but on its secondary private address {address.private_ip}; the primary is {instance.private_ip}"
        )
    return None


def _read_is_primary(emr: Any, instance: Instance, cluster: Cluster) -> bool:
    role = instance.tags.get(ROLE_TAG)
    if role is not None:
        return role == "MASTER"
    return read_primary_instance_id(emr, cluster) == instance.instance_id


def read_egress(
    ec2: Any, emr: Any, allocation_id: str, cluster: Cluster, *, before: Egress | None = None
) -> Egress | NotBound:
    """
    Read whether the outgoing connections of a cluster use the address, and if not, where the address is.

    :param before: the result of an earlier read. An association ID is never used again, so while it is the same, the
        address has not moved, and only the route to a NAT gateway is read again.
    """
    address = read_address(ec2, allocation_id)
    if address is None:
        return NotBound("released", exists=False)
    if address.is_free or address.association_id is None:
        return NotBound("not associated")
    if before is not None and before.association_id == address.association_id and read_astray(ec2, before) is None:
        return before
    return _read_moved(ec2, emr, address, cluster, association_id=address.association_id)


def _read_moved(ec2: Any, emr: Any, address: Address, cluster: Cluster, *, association_id: str) -> Egress | NotBound:
    holder = read_holder(ec2, address)
    unbound = read_unbound(emr, address, holder, cluster)
    if unbound is not None:
        return NotBound(unbound, association_id)
    if holder.gateway is None:
        return Egress(association_id, public_ip=address.public_ip)
    place = f"on {holder.description}"
    if cluster.subnet_id is None:
        return NotBound(f"{place}, but EMR does not show the cluster's subnet yet", association_id)
    egress = Egress(association_id, holder.gateway.gateway_id, cluster.subnet_id, address.public_ip)
    astray = read_astray(ec2, egress)
    return NotBound(f"{place}, but {astray}", association_id) if astray else egress


def read_astray(ec2: Any, egress: Egress) -> str | None:
    """Read where the default route leads, if no longer to the NAT gateway; ``None`` if it does."""
    if egress.gateway_id is None or egress.subnet_id is None:
        return None
    table = read_table_of_subnet(ec2, egress.subnet_id)
    target = table.default_route if table else NO_ROUTE
    if target == egress.gateway_id:
        return None
    where = "no longer exists" if target == NO_ROUTE else f"leads to '{target}'"
    return f"the default route of the cluster's subnet '{egress.subnet_id}' {where}"
