"""The Elastic IP on a NAT gateway that all nodes of the cluster use."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.tags import (
    ALLOCATION_TAG,
    BINDING_TAG,
    CLUSTER_GATEWAY,
    JOB_FLOW_TAG,
    ROUTE_TAG,
)
from airflow_eip_provider.exceptions import GatewayFailedError, InvalidInputError
from airflow_eip_provider.ids import NAT_GATEWAY_ID, ROUTE_TABLE_ID, SUBNET_ID
from airflow_eip_provider.operators.bindings.interface import Binding, Bound, GatewayWait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.nat_gateways import Gateway
    from airflow_eip_provider.operators.bindings.interface import Site
    from airflow_eip_provider.preflight import Check, Setup

_IDS = {"subnet": SUBNET_ID, "rtb": ROUTE_TABLE_ID, "nat": NAT_GATEWAY_ID}
_MAX_TABLES = 40  # each needs a tag of the gateway, and EC2 allows 50 tags (EC2 User Guide, "Tag restrictions")
_MAX_GATEWAYS = 8  # ended gateways of one cluster; more of them point to another problem


@dataclass(frozen=True, kw_only=True)
class NatGateway(Binding):
    """
    Put the address on a NAT gateway, for clusters of any size in private subnets.

    With ``public_subnet_id`` and ``route_table_ids`` a gateway is created for the cluster while the cluster starts, and
    the default routes are changed to it. Afterwards the routes are restored exactly, and the gateway is deleted. With
    ``nat_gateway_id`` an existing gateway that already has the address is used; nothing is created or changed. That
    needs a lock store, because EC2 does not refuse a second cluster there.

    :param public_subnet_id: the subnet for the new gateway; it must route to an internet gateway.
    :param route_table_ids: the route tables of the cluster's subnets, whose route for 0.0.0.0/0 is changed.
    :param nat_gateway_id: the existing gateway, instead of the other two.
    """

    public_subnet_id: str | None = None
    route_table_ids: Sequence[str] = ()
    nat_gateway_id: str | None = None

    @property
    def cluster_tags(self) -> Mapping[str, str]:
        """The existing gateway's ID, or a mark that the gateway was created for the cluster."""
        return {BINDING_TAG: self.nat_gateway_id or CLUSTER_GATEWAY}

    @property
    def checks(self) -> Sequence[Check]:
        """Check the address, the gateway or what creating one needs, and the routes of the cluster's subnets."""
        from airflow_eip_provider.preflight import CLUSTER_GATEWAY_CHECKS, GATEWAY_CHECKS

        return CLUSTER_GATEWAY_CHECKS if self.nat_gateway_id is None else GATEWAY_CHECKS

    def examined(self, setup: Setup) -> Setup:
        """Check the parameters, and return the setup with them."""
        self.check_parameters()
        return replace(
            setup,
            public_subnet_id=self.public_subnet_id,
            route_table_ids=self.route_table_ids,
            nat_gateway_id=self.nat_gateway_id,
        )

    def check_parameters(self) -> None:
        """Check without calling AWS that the parameters match one of the two forms."""
        tables = self.route_table_ids
        creates = bool(self.public_subnet_id) or bool(tables)
        if creates == bool(self.nat_gateway_id):
            raise _invalid(
                "its parameters",
                "it names both an existing gateway and where to create one" if creates else "it is empty",
                "give public_subnet_id and route_table_ids, or else nat_gateway_id",
            )
        if self.nat_gateway_id:
            _check_id("nat_gateway_id", self.nat_gateway_id, "nat")
            return
        _check_id("public_subnet_id", self.public_subnet_id, "subnet")
        if isinstance(tables, str) or not isinstance(tables, Sequence) or not 0 < len(tables) <= _MAX_TABLES:
            raise _invalid(
                f"route_table_ids {tables!r}",
                "this is not a list of route tables",
                f"give a list of 1 to {_MAX_TABLES} IDs",
            )
        for table_id in tables:
            _check_id("route_table_ids", table_id, "rtb")
        if len(set(tables)) < len(tables):
            raise _invalid(f"route_table_ids {tables!r}", "it has a duplicate", "name each route table once")

    def bind(self, site: Site) -> Bound | GatewayWait | None:
        """
        Create the gateway, wait until it is available, change the routes.

        :raises GatewayFailedError: when EC2 could not create it.
        :raises InvalidInputError: when a cluster with another address uses one of the route tables.
        :raises TransientError: when others have changed a route since the gateway was created.
        """
        from airflow_eip_provider.aws.nat_gateways import check_replaceable
        from airflow_eip_provider.aws.route_changes import set_default_route
        from airflow_eip_provider.operators.binder import Binder

        if self.nat_gateway_id is not None:
            return self._find_bound(site, self.nat_gateway_id)
        gateway = self._gateway(site)
        if gateway is None:
            return None
        if gateway.state != "available":
            return GatewayWait(gateway.gateway_id)
        site.poll("cluster_ready")  # change no route for a cluster that has ended
        check = functools.partial(check_replaceable, site.eip.conn, site.aws.emr.conn, gateway=gateway)
        for table_id in gateway.routes_before:
            site.kill.check()
            set_default_route(site.eip.conn, table_id, target=gateway.gateway_id, check=check, pause=site.kill.pause)
        return Bound(_located_by(gateway, Binder(site.eip, site.allocation_id).address()), gateway.gateway_id)

    @staticmethod
    def _find_bound(site: Site, gateway_id: str) -> Bound:
        from airflow_eip_provider.operators.binder import Binder

        site.poll("cluster_ready")
        address = Binder(site.eip, site.allocation_id).address()
        holder = site.eip.get_holder(address)
        if holder.gateway is None or holder.gateway.gateway_id != gateway_id:
            raise InvalidInputError(
                f"binding Elastic IP '{site.allocation_id}'",
                problem=f"it is on {holder.description}, no longer on NAT gateway '{gateway_id}'",
                remedy="associate it with that gateway again, or use the gateway that has it",
            )
        return Bound(address, gateway_id)

    def _gateway(self, site: Site) -> Gateway | None:
        """
        Return this cluster's gateway, and create it if needed; ``None`` when something else has the address.

        :raises GatewayFailedError: when EC2 could not create it.
        """
        from airflow_eip_provider.aws.nat_gateway_changes import ALREADY_ASSOCIATED, remove_gateway
        from airflow_eip_provider.aws.nat_gateways import read_cluster_gateways
        from airflow_eip_provider.operators.binder import Binder

        gateways = read_cluster_gateways(site.eip.conn, site.job_flow_id, allocation_id=site.allocation_id)
        ended = [gateway for gateway in gateways if gateway.is_ending]
        for gateway in gateways:
            if gateway.state == "failed":
                remove_gateway(site.eip.conn, gateway)
                ended.append(gateway)
                if gateway.failure != ALREADY_ASSOCIATED:
                    raise GatewayFailedError(
                        gateway.gateway_id,
                        allocation_id=site.allocation_id,
                        code=gateway.failure,
                        problem=gateway.problem,
                    )
            elif not gateway.is_ending:
                return gateway
        if not Binder(site.eip, site.allocation_id).address().is_free:
            return None
        return self._create(site, attempt=len(ended))

    def _create(self, site: Site, *, attempt: int) -> Gateway | None:
        """
        Create the gateway.

        :param attempt: how many gateways of this cluster have ended. EC2 answers a client token that was used before
            with the gateway that was created with it, even if that has ended.
        """
        from airflow_eip_provider.aws.nat_gateway_changes import create_gateway

        origins = _read_origins(site, self.route_table_ids)
        tags = {
            **site.tags,
            ALLOCATION_TAG: site.allocation_id,
            JOB_FLOW_TAG: site.job_flow_id,
            **{f"{ROUTE_TAG}{table_id}": target for table_id, target in origins.items()},
        }
        for number in range(attempt, attempt + _MAX_GATEWAYS):
            site.kill.check()
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


def _invalid(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking binding NatGateway, {what}", problem=problem, remedy=remedy)


def _check_id(parameter: str, value: object, prefix: str) -> None:
    if not isinstance(value, str) or not _IDS[prefix].fullmatch(value):
        raise _invalid(f"{parameter} {value!r}", "this is not such an ID", f"give an ID {prefix}-… as EC2 shows it")


def _read_origins(site: Site, route_table_ids: Sequence[str]) -> dict[str, str]:
    """Return the original target of the default route of each route table."""
    from airflow_eip_provider.aws.nat_gateways import read_origin
    from airflow_eip_provider.aws.routes import NO_ROUTE, read_table

    origins: dict[str, str] = {}
    for table_id in route_table_ids:
        ec2, emr = site.eip.conn, site.aws.emr.conn
        table = read_table(ec2, table_id)
        origins[table_id] = read_origin(ec2, emr, table, allocation_ids=[site.allocation_id]) if table else NO_ROUTE
    return origins


def _located_by(gateway: Gateway, address: Address) -> Address:
    """Return the address as the gateway describes its association: reads of addresses may lag."""
    return replace(
        address,
        association_id=gateway.associations.get(address.allocation_id) or address.association_id,
        network_interface_id=gateway.network_interface_id or address.network_interface_id,
        instance_id=None,
    )
