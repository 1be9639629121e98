"""The Elastic IP on a NAT gateway, from which every node of the cluster leaves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import GatewayFailedError, InvalidInputError
from airflow_eip_provider.hooks.nat import ALREADY_ASSOCIATED, create_gateway, remove_gateway
from airflow_eip_provider.hooks.routes import lead
from airflow_eip_provider.operators.binder import Binder
from airflow_eip_provider.operators.bindings import nat_preflight
from airflow_eip_provider.operators.bindings.interface import Binding, Bound
from airflow_eip_provider.readings.gateways import read_tenancy_gateways
from airflow_eip_provider.readings.tags import (
    ALLOCATION_TAG,
    BINDING_TAG,
    JOB_FLOW_TAG,
    ROUTE_TAG,
    TENANCY_GATEWAY,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.checks import Setup
    from airflow_eip_provider.operators.bindings.interface import Site
    from airflow_eip_provider.readings.addresses import Address
    from airflow_eip_provider.readings.gateways import Gateway
    from airflow_eip_provider.triggers.watch import WatchTrigger

_MOST_GATEWAYS = 8  # that EC2 may show as ended for one cluster, before something else must be wrong


@dataclass(frozen=True, kw_only=True)
class NatGateway(Binding):
    """
    Put the address on a NAT gateway: all nodes of a cluster of any size, in a private subnet, leave from it.

    With ``public_subnet_id`` and ``route_table_ids`` the gateway is made for the tenancy while the cluster starts, the
    default routes are led to it, and afterwards they are put back exactly and it is deleted. With ``nat_gateway_id``
    a gateway that has the address for good is used as it is, and nothing is made or changed; that needs a lock store,
    as EC2 refuses nothing there.

    :param public_subnet_id: where the gateway is made; it routes to an internet gateway.
    :param route_table_ids: those of the cluster's subnets, whose route for 0.0.0.0/0 leads to the gateway meanwhile.
    :param nat_gateway_id: or else: the gateway that carries the address.
    """

    public_subnet_id: str | None = None
    route_table_ids: Sequence[str] = ()
    nat_gateway_id: str | None = None

    @property
    def cluster_tags(self) -> Mapping[str, str]:
        """The gateway, or that one is made for the tenancy."""
        return {BINDING_TAG: self.nat_gateway_id or TENANCY_GATEWAY}

    @property
    def makes_gateway(self) -> bool:
        """Whether the gateway is made for the tenancy."""
        return self.nat_gateway_id is None

    def check(self, setup: Setup) -> list[str]:
        """Check the address, the gateway or what it takes to make one, and the routes of the cluster's subnets."""
        nat_preflight.check_parameters(self)
        if self.nat_gateway_id is None:
            return nat_preflight.check_tenancy_gateway(self, setup)
        return nat_preflight.check_existing_gateway(self.nat_gateway_id, setup)

    def bind(self, site: Site) -> Bound | WatchTrigger | None:
        """Gateway made → available → routes led to it → bound."""
        if self.nat_gateway_id is not None:
            return self._find_bound(site, self.nat_gateway_id)
        gateway = self._gateway(site)
        if gateway is None:
            return None
        if gateway.state != "available":
            return site.wait_for_gateway(gateway.gateway_id)
        site.look("cluster_ready")  # no route is changed for a cluster that is gone
        for table_id in gateway.routes_before:
            site.check_alive()
            lead(site.eip.conn, table_id, target=gateway.gateway_id)
        return Bound(_as_carried(Binder(site.eip, site.allocation_id).address(), gateway), gateway.gateway_id)

    @staticmethod
    def _find_bound(site: Site, gateway_id: str) -> Bound:
        site.look("cluster_ready")
        address = Binder(site.eip, site.allocation_id).address()
        holder = site.eip.get_holder(address)
        if holder.gateway is None or holder.gateway.gateway_id != gateway_id:
            raise InvalidInputError(
                f"binding Elastic IP '{site.allocation_id}'",
                problem=f"it is on {holder.description}, no longer on NAT gateway '{gateway_id}'",
                remedy="put it back there, or use the gateway that has it",
            )
        return Bound(address, gateway_id)

    def _gateway(self, site: Site) -> Gateway | None:
        """
        Return this cluster's gateway, made now if there is none; ``None`` when somebody else has the address.

        :raises GatewayFailedError: when EC2 could not make it.
        """
        known = site.eip.read(read_tenancy_gateways(site.job_flow_id, allocation_id=site.allocation_id))
        ended = [gateway for gateway in known if gateway.is_ending]
        for gateway in known:
            if gateway.state == "failed":
                remove_gateway(site.eip.conn, gateway)
                ended.append(gateway)
                _raise_unless_busy(gateway, site.allocation_id)
            elif not gateway.is_ending:
                return gateway
        if not Binder(site.eip, site.allocation_id).is_free():
            return None
        return self._create(site, attempt=len(ended))

    def _create(self, site: Site, *, attempt: int) -> Gateway | None:
        """
        Make the gateway.

        :param attempt: how many gateways of this cluster have ended: EC2 answers a token that it knows with the gateway
            that was made for it, ended or not.
        """
        before = site.eip.read(nat_preflight.read_origins(self.route_table_ids, allocation_id=site.allocation_id))
        tags = {
            **site.tags,
            ALLOCATION_TAG: site.allocation_id,
            JOB_FLOW_TAG: site.job_flow_id,
            **{f"{ROUTE_TAG}{table_id}": target for table_id, target in before.items()},
        }
        for number in range(attempt, attempt + _MOST_GATEWAYS):
            site.check_alive()
            gateway = create_gateway(
                site.eip.conn,
                subnet_id=str(self.public_subnet_id),
                allocation_id=site.allocation_id,
                client_token=hashlib.sha256(f"{site.allocation_id}/{site.job_flow_id}/{number}".encode()).hexdigest(),
                tags=tags,
            )
            if gateway is None or not (gateway.is_ending or gateway.state == "failed"):
                return gateway
        return None


def _raise_unless_busy(gateway: Gateway, allocation_id: str) -> None:
    if gateway.failure != ALREADY_ASSOCIATED:
        raise GatewayFailedError(
            gateway.gateway_id, allocation_id=allocation_id, code=gateway.failure, problem=gateway.problem
        )


def _as_carried(address: Address, gateway: Gateway) -> Address:
    """Return where the address is by the gateway's own word: EC2's reads of addresses may lag behind."""
    return replace(
        address,
        association_id=gateway.associations.get(address.allocation_id) or address.association_id,
        network_interface_id=gateway.network_interface_id or address.network_interface_id,
        instance_id=None,
    )
