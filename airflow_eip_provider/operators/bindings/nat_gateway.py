"""The Elastic IP on a NAT gateway, from which every node of the cluster leaves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.tags import (
    ALLOCATION_TAG,
    BINDING_TAG,
    CLUSTER_GATEWAY,
    JOB_FLOW_TAG,
    ROUTE_TAG,
)
from airflow_eip_provider.exceptions import GatewayFailedError, InvalidInputError
from airflow_eip_provider.operators.bindings.interface import Binding, Bound, GatewayWait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.nat_gateways import Gateway
    from airflow_eip_provider.operators.bindings.interface import Site
    from airflow_eip_provider.preflight import Check, Setup

_ID = re.compile(r"(subnet|rtb|nat)-([0-9a-f]{8}|[0-9a-f]{17})")
_MOST_TABLES = 40  # each is remembered in a tag of the gateway, and EC2 takes 50 (EC2 User Guide, "Tag restrictions")
_MOST_GATEWAYS = 8  # that EC2 may show as ended for one cluster, before something else must be wrong


@dataclass(frozen=True, kw_only=True)
class NatGateway(Binding):
    """
    Put the address on a NAT gateway: all nodes of a cluster of any size, in a private subnet, leave from it.

    With ``public_subnet_id`` and ``route_table_ids`` the gateway is made for the cluster while the cluster starts, the
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
        """The gateway, or that one is made for the cluster."""
        return {BINDING_TAG: self.nat_gateway_id or CLUSTER_GATEWAY}

    @property
    def makes_gateway(self) -> bool:
        """Whether the gateway is made for the cluster."""
        return self.nat_gateway_id is None

    @property
    def checks(self) -> Sequence[Check]:
        """The address, the gateway or what it takes to make one, and the routes of the cluster's subnets."""
        from airflow_eip_provider.preflight import CLUSTER_GATEWAY_CHECKS, GATEWAY_CHECKS

        return CLUSTER_GATEWAY_CHECKS if self.nat_gateway_id is None else GATEWAY_CHECKS

    def examined(self, setup: Setup) -> Setup:
        """
        Tell the checks of the gateway.

        :raises InvalidInputError: when the parameters are not of one of the two forms, or an id is none.
        """
        self.check_parameters()
        return replace(
            setup,
            public_subnet_id=self.public_subnet_id,
            route_table_ids=self.route_table_ids,
            nat_gateway_id=self.nat_gateway_id,
        )

    def check_parameters(self) -> None:
        """
        Check the parameters by themselves, without AWS.

        :raises InvalidInputError: when they are not of one of the two forms, or an id is none.
        """
        tables = self.route_table_ids
        made = bool(self.public_subnet_id) or bool(tables)
        if made == bool(self.nat_gateway_id):
            raise _wrong(
                "its parameters",
                "it names both an existing gateway and where to create one" if made else "it is empty",
                "give public_subnet_id and route_table_ids, or else nat_gateway_id",
            )
        if self.nat_gateway_id:
            _check_id("nat_gateway_id", self.nat_gateway_id, "nat")
            return
        _check_id("public_subnet_id", self.public_subnet_id, "subnet")
        if isinstance(tables, str) or not isinstance(tables, Sequence) or not 0 < len(tables) <= _MOST_TABLES:
            raise _wrong(
                f"route_table_ids {tables!r}",
                "this is no list of route tables",
                f"give a list of 1 to {_MOST_TABLES} ids",
            )
        for table_id in tables:
            _check_id("route_table_ids", table_id, "rtb")
        if len(set(tables)) < len(tables):
            raise _wrong(f"route_table_ids {tables!r}", "one is named twice", "name each once")

    def bind(self, site: Site) -> Bound | GatewayWait | None:
        """Gateway made → available → routes led to it → bound."""
        from airflow_eip_provider.aws.route_changes import set_default_route
        from airflow_eip_provider.operators.binder import Binder

        if self.nat_gateway_id is not None:
            return self._find_bound(site, self.nat_gateway_id)
        gateway = self._gateway(site)
        if gateway is None:
            return None
        if gateway.state != "available":
            return GatewayWait(gateway.gateway_id)
        site.look("cluster_ready")  # no route is changed for a cluster that is gone
        for table_id in gateway.routes_before:
            site.kill.check()
            set_default_route(site.eip.conn, table_id, target=gateway.gateway_id)
        return Bound(_as_carried(Binder(site.eip, site.allocation_id).address(), gateway), gateway.gateway_id)

    @staticmethod
    def _find_bound(site: Site, gateway_id: str) -> Bound:
        from airflow_eip_provider.operators.binder import Binder

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
        from airflow_eip_provider.aws.nat_gateway_changes import remove_gateway
        from airflow_eip_provider.aws.nat_gateways import read_cluster_gateways
        from airflow_eip_provider.operators.binder import Binder

        known = read_cluster_gateways(site.eip.conn, site.job_flow_id, allocation_id=site.allocation_id)
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
        from airflow_eip_provider.aws.nat_gateway_changes import create_gateway

        before = _read_origins(site.eip.conn, self.route_table_ids, allocation_id=site.allocation_id)
        tags = {
            **site.tags,
            ALLOCATION_TAG: site.allocation_id,
            JOB_FLOW_TAG: site.job_flow_id,
            **{f"{ROUTE_TAG}{table_id}": target for table_id, target in before.items()},
        }
        for number in range(attempt, attempt + _MOST_GATEWAYS):
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


def _wrong(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking binding NatGateway, {what}", problem=problem, remedy=remedy)


def _check_id(parameter: str, value: object, prefix: str) -> None:
    if not isinstance(value, str) or not (found := _ID.fullmatch(value)) or found[1] != prefix:
        raise _wrong(f"{parameter} {value!r}", "this is no such id", f"give what EC2 shows as {prefix}-…")


def _read_origins(ec2: Any, route_table_ids: Sequence[str], *, allocation_id: str) -> dict[str, str]:
    """Read what the default routes lead to when no session has led them elsewhere, by route table."""
    from airflow_eip_provider.aws.nat_gateways import read_origin
    from airflow_eip_provider.aws.routes import NO_ROUTE, read_table

    origins: dict[str, str] = {}
    for table_id in route_table_ids:
        table = read_table(ec2, table_id)
        origins[table_id] = read_origin(ec2, table, allocation_id=allocation_id) if table else NO_ROUTE
    return origins


def _raise_unless_busy(gateway: Gateway, allocation_id: str) -> None:
    from airflow_eip_provider.aws.nat_gateway_changes import ALREADY_ASSOCIATED

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
