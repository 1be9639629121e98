"""Which way a cluster's connections leave: whether they leave from the Elastic IP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.readings.addresses import read_address, read_holder
from airflow_eip_provider.readings.routes import NO_ROUTE, read_table_of_subnet
from airflow_eip_provider.readings.tags import BINDING_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.calls import Reading
    from airflow_eip_provider.readings.addresses import Holder
    from airflow_eip_provider.readings.clusters import Cluster


@dataclass(frozen=True, slots=True)
class Egress:
    """
    A cluster's way out through the address, as it was found.

    :param association_id: of the address.
    :param gateway_id: the NAT gateway that carries it; ``None`` when the primary node does.
    :param subnet_id: the cluster's, whose default route leads to that gateway.
    """

    association_id: str
    gateway_id: str | None = None
    subnet_id: str | None = None


def is_bound_by_gateway(holder: Holder, *, job_flow_id: str, tags: Mapping[str, str]) -> bool:
    """
    Whether the address is on the NAT gateway of this cluster: one that was made for it, or one that it was told to use.

    :param tags: the cluster's.
    """
    gateway = holder.gateway
    return gateway is not None and (holder.job_flow_id == job_flow_id or tags.get(BINDING_TAG) == gateway.gateway_id)


def read_egress(allocation_id: str, cluster: Cluster) -> Reading[Egress | str]:
    """
    Read whether a cluster leaves from the address.

    :return: why it does not, in words that follow "Elastic IP … is".
    """
    address = yield from read_address(allocation_id)
    if address is None:
        return "released"
    if address.is_free or address.association_id is None:
        return "not associated"
    holder = yield from read_holder(address)
    place = f"on {holder.description}"
    if not is_bound_by_gateway(holder, job_flow_id=cluster.job_flow_id, tags=cluster.tags):
        return Egress(address.association_id) if holder.job_flow_id == cluster.job_flow_id else place
    if holder.gateway is None or cluster.subnet_id is None:
        return place
    egress = Egress(address.association_id, holder.gateway.gateway_id, cluster.subnet_id)
    astray = yield from read_astray(egress)
    return f"{place}, but {astray}" if astray else egress


def read_astray(egress: Egress) -> Reading[str | None]:
    """Read whether the route to a NAT gateway leads elsewhere now; ``None`` when all is well, else where to."""
    if egress.gateway_id is None or egress.subnet_id is None:
        return None
    table = yield from read_table_of_subnet(egress.subnet_id)
    target = table.default_route if table else NO_ROUTE
    if target == egress.gateway_id:
        return None
    where = "is gone" if target == NO_ROUTE else f"leads to '{target}'"
    return f"the default route of the cluster's subnet '{egress.subnet_id}' {where}"
