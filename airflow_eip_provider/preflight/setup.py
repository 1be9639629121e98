"""What is checked: an address, the cluster that is to carry it, and the account around them, each read once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.nat_gateways import read_gateway
from airflow_eip_provider.aws.network import Subnet, read_subnets
from airflow_eip_provider.aws.routes import read_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.nat_gateways import Gateway
    from airflow_eip_provider.aws.routes import RouteTable
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook


@dataclass(kw_only=True)
class Setup:
    """
    What a launch depends on.

    :param allocation_id: well-formed.
    :param job_flow: what RunJobFlow is to be sent; ``None`` when only a subnet is known.
    :param subnets_named: instead of those in ``job_flow``.
    :param on_multi_node: "fail", "warn" or "allow", as in ``EmrCreateWithStaticIpOperator``; ``bind_at`` and
        ``accept_self_termination``, too.
    :param ends_idle: EMR is to end the cluster when it is idle.
    :param templated: the places in ``job_flow`` that a template fills when the task runs, such as
        "Instances.Ec2SubnetId"; what stands there now says nothing.
    :param public_subnet_id: where a NAT gateway is to be made for the cluster; ``route_table_ids``, too, and instead of
        both ``nat_gateway_id``, as in ``NatGateway``.
    :param vpc_id: in which the subnets are expected; ``None`` for any.
    :param lock_store: its URI; ``None`` without one.
    :param store_client: makes the client of a lock store, by service and region.
    :param environment: ``[eip] environment``.
    """

    allocation_id: str
    eip: ElasticIpHook
    emr: EmrClusterHook
    job_flow: Mapping[str, Any] | None = None
    subnets_named: Sequence[str] = ()
    on_multi_node: str = "fail"
    bind_at: str = "primary_running"
    accept_self_termination: bool = False
    ends_idle: bool = True
    templated: frozenset[str] = frozenset()
    public_subnet_id: str | None = None
    route_table_ids: Sequence[str] = ()
    nat_gateway_id: str | None = None
    vpc_id: str | None = None
    lock_store: str | None = None
    store_client: Callable[[str, str | None], Any] | None = None
    environment: str | None = None

    @property
    def region(self) -> str:
        """The region of the address and its cluster."""
        return str(self.eip.conn_region_name)

    @property
    def instances(self) -> Mapping[str, Any]:
        """RunJobFlow's ``Instances``."""
        given = (self.job_flow or {}).get("Instances")
        return given if isinstance(given, dict) else {}

    def template_at(self, *places: str) -> str | None:
        """Say that what a check reads is a template, when one of its places or something inside of it is."""
        found = [path for path in sorted(self.templated) if any(_is_inside(path, place) for place in places)]
        return f"{', '.join(found)}: a template, which is known when the task runs" if found else None

    @property
    def subnet_ids(self) -> Sequence[str]:
        """Of the subnets that the cluster may be put into."""
        one, several = self.instances.get("Ec2SubnetId"), self.instances.get("Ec2SubnetIds", ())
        return self.subnets_named or ([one] if one else several)

    @functools.cached_property
    def address(self) -> Address | None:
        """Where the address is (ec2:DescribeAddresses)."""
        return self.eip.get_address(self.allocation_id)

    @functools.cached_property
    def subnets(self) -> dict[str, Subnet | None]:
        """Every subnet that the cluster may be put into, by its id (ec2:DescribeSubnets, ec2:DescribeRouteTables)."""
        return {subnet_id: self._subnets.get(subnet_id) for subnet_id in self.subnet_ids}

    @property
    def public_subnets(self) -> list[Subnet]:
        """Those in which an Elastic IP is of use."""
        return [subnet for subnet in self.subnets.values() if subnet and subnet.has_internet_gateway]

    @property
    def public_subnet(self) -> Subnet | None:
        """Where the NAT gateway is to be made."""
        return self._subnets.get(str(self.public_subnet_id))

    @functools.cached_property
    def _subnets(self) -> dict[str, Subnet]:
        named = {*self.subnet_ids, self.public_subnet_id} - {None}
        return read_subnets(self.eip.conn, {str(name) for name in named})

    @functools.cached_property
    def route_tables(self) -> dict[str, RouteTable | None]:
        """The route tables that are to lead to the NAT gateway, by their ids (ec2:DescribeRouteTables)."""
        tables = [subnet.table for subnet in (*self.subnets.values(), self.public_subnet) if subnet and subnet.table]
        known = {table.table_id: table for table in tables}
        others = read_tables(self.eip.conn, table_ids=set(self.route_table_ids) - known.keys())
        known.update({table.table_id: table for table in others})
        return {name: known.get(name) for name in self.route_table_ids}

    @functools.cached_property
    def gateway(self) -> Gateway | None:
        """The NAT gateway that has the address for good (ec2:DescribeNatGateways)."""
        return read_gateway(self.eip.conn, self.nat_gateway_id) if self.nat_gateway_id else None


def _is_inside(path: str, place: str) -> bool:
    """Whether a path leads to a place, through it, or to what is around it."""
    return f"{path}.".startswith(f"{place}.") or place.startswith(f"{path}.")
