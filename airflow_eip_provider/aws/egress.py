"""Which way a cluster's connections leave: whether they leave from the Elastic IP."""

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
    A cluster's way out through the address, as it was found.

    :param association_id: of the address.
    :param gateway_id: the NAT gateway that carries it; ``None`` when the primary node does.
    :param subnet_id: the cluster's, whose default route leads to that gateway.
    :param public_ip: the address itself.
    """

    association_id: str
    gateway_id: str | None = None
    subnet_id: str | None = None
    public_ip: str | None = None


@dataclass(frozen=True, slots=True)
class NotBound:
    """
    A cluster does not leave from the address.

    :param place: where the address is, in words that follow "Elastic IP … is".
    :param association_id: of the address with what has it; ``None`` when it is free.
    :param exists: there is such an address.
    """

    place: str
    association_id: str | None = None
    exists: bool = True


def is_bound_by_gateway(holder: Holder, *, job_flow_id: str, tags: Mapping[str, str]) -> bool:
    """
    Whether the address is on the NAT gateway of this cluster: one that was made for it, or one that it was told to use.

    :param tags: the cluster's.
    """
    gateway = holder.gateway
    return gateway is not None and (holder.job_flow_id == job_flow_id or tags.get(BINDING_TAG) == gateway.gateway_id)


def read_unbound(emr: Any, address: Address, holder: Holder, cluster: Cluster) -> str | None:
    """
    Read why an address that is not free is not bound to a cluster; ``None`` when it is.

    Bound means: on the primary private address of the primary network interface of the cluster's primary node, because
    the node's own connections leave from there; or on the cluster's NAT gateway.

    :return: where it is, in words that follow "Elastic IP … is".
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
    # EC2 shows the private address of every association in a VPC; what it leaves out proves nothing.
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
    Read whether a cluster leaves from the address, and if not, where the address is.

    :param before: the way out, as it was found before. An association id names one association for ever, so what had
        the address under it still has it, and only the route to a NAT gateway is read again.
    """
    address = read_address(ec2, allocation_id)
    if address is None:
        return NotBound("released", exists=False)
    if address.is_free or address.association_id is None:
        return NotBound("not associated")
    if before is not None and before.association_id == address.association_id and read_astray(ec2, before) is None:
        return before
    return _read_way_out(ec2, emr, address, cluster, association_id=address.association_id)


def _read_way_out(ec2: Any, emr: Any, address: Address, cluster: Cluster, *, association_id: str) -> Egress | NotBound:
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
    """Read whether the route to a NAT gateway leads elsewhere now; ``None`` when all is well, else where to."""
    if egress.gateway_id is None or egress.subnet_id is None:
        return None
    table = read_table_of_subnet(ec2, egress.subnet_id)
    target = table.default_route if table else NO_ROUTE
    if target == egress.gateway_id:
        return None
    where = "is gone" if target == NO_ROUTE else f"leads to '{target}'"
    return f"the default route of the cluster's subnet '{egress.subnet_id}' {where}"
