"""Checks of a NAT gateway that carries the address: one that is made for the cluster, or one that has it for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.nat_gateway_changes import ask_permissions
from airflow_eip_provider.aws.nat_gateways import read_origin
from airflow_eip_provider.aws.routes import ANYWHERE, NO_ROUTE
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.preflight.address import USABLE
from airflow_eip_provider.preflight.finding import Check, Finding, error, not_permitted, warning
from airflow_eip_provider.preflight.network import SUBNET_PLACES, SUBNETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.aws.network import Subnet
    from airflow_eip_provider.aws.routes import RouteTable
    from airflow_eip_provider.preflight.setup import Setup


def _public_subnet(setup: Setup) -> Iterator[Finding]:
    subject, subnet = f"public subnet '{setup.public_subnet_id}'", setup.public_subnet
    if subnet is None:
        yield error(
            subject,
            what=f"it does not exist in region '{setup.region}'",
            why="no NAT gateway can be made in it",
            mend="correct public_subnet_id",
        )
    elif not subnet.has_internet_gateway:
        yield error(
            subject,
            what="its route table has no default route to an internet gateway",
            why="a NAT gateway in it has no way out",
            mend="name a public subnet as public_subnet_id",
        )


PUBLIC_SUBNET = Check("public-subnet", "the gateway's subnet routes to an internet gateway", _public_subnet)


def _route_tables(setup: Setup) -> Iterator[Finding]:
    public = setup.public_subnet
    for table_id, table in setup.route_tables.items():
        subject = f"route table '{table_id}'"
        if table is None:
            yield error(
                subject,
                what=f"it does not exist in region '{setup.region}'",
                why="no route can be led to the gateway in it",
                mend="name the route tables of the cluster's subnets as route_table_ids",
            )
        elif public and table.vpc_id != public.vpc_id:
            yield error(
                subject,
                what=f"it is in VPC '{table.vpc_id}', the public subnet in '{public.vpc_id}'",
                why="its routes cannot lead to a gateway there",
                mend="name the route tables of the cluster's subnets as route_table_ids",
            )
        elif public and public.table and public.table.table_id == table_id:
            yield error(
                subject,
                what=f"the public subnet '{public.subnet_id}' uses it",
                why="the gateway's own way out would lead to itself",
                mend="give the cluster a private subnet with a route table of its own",
            )


ROUTE_TABLES = Check("route-tables", "the route tables can lead to the gateway", _route_tables, needs=(PUBLIC_SUBNET,))


def _other_sessions(setup: Setup) -> Iterator[Finding]:
    for table_id, table in setup.route_tables.items():
        try:
            if table:
                read_origin(setup.eip.conn, table, allocation_id=setup.allocation_id)
        except InvalidInputError as taken:
            yield error(
                f"route table '{table_id}'",
                what=taken.problem,
                why="two addresses that lead one route table would take each other's connections",
                mend=taken.remedy,
            )


OTHER_CLUSTERS = Check(
    "tenancies", "no cluster with another address has the route tables", _other_sessions, needs=(ROUTE_TABLES,)
)


def _cluster_subnets(setup: Setup) -> Iterator[Finding]:
    """Compare the subnets that EMR may choose with the route tables that are led to the gateway."""
    yield from _named(setup)
    for subnet_id, subnet in setup.subnets.items():
        public = setup.public_subnet
        if subnet_id == setup.public_subnet_id:
            yield error(
                f"subnet '{subnet_id}'",
                what="the cluster would be in the gateway's own public subnet",
                why="its nodes would leave past the gateway, from addresses of their own",
                mend="give the cluster a private subnet",
            )
        elif subnet and public and subnet.vpc_id != public.vpc_id:
            yield error(
                f"subnet '{subnet_id}'",
                what=f"it is in VPC '{subnet.vpc_id}', the public subnet in '{public.vpc_id}'",
                why="its nodes cannot reach the gateway",
                mend="put the cluster into a subnet of the gateway's VPC",
            )
        elif subnet and _table_id(subnet) not in setup.route_tables:
            yield error(
                f"subnet '{subnet_id}'",
                what=f"its route table is '{_table_id(subnet)}', which route_table_ids does not name",
                why="its nodes would not leave from the Elastic IP",
                mend="name the route table of each of the cluster's subnets",
            )


def _named(setup: Setup) -> Iterator[Finding]:
    if setup.job_flow is not None and not setup.subnets:
        yield error(
            "job_flow_overrides",
            what="they name no subnet",
            why="EMR would choose one that does not lead to the gateway",
            mend="name the cluster's private subnet as Instances.Ec2SubnetId",
        )


def _table_id(subnet: Subnet) -> str:
    return subnet.table.table_id if subnet.table else NO_ROUTE


def _missing(setup: Setup) -> str | None:
    return None if setup.subnet_ids or setup.job_flow is not None else "no subnet is known"


CLUSTER_SUBNETS = Check(
    "cluster-subnets",
    "every node of the cluster will leave through the gateway",
    _cluster_subnets,
    needs=(SUBNETS, PUBLIC_SUBNET, ROUTE_TABLES),
    reads=SUBNET_PLACES,
    missing=_missing,
)


def _neighbours(setup: Setup) -> Iterator[Finding]:
    """Tell who else leaves from the address meanwhile, and what may keep the cluster from its launch."""
    used = {_table_id(subnet) for subnet in setup.subnets.values() if subnet}
    for table in setup.route_tables.values():
        if table is None:
            continue
        yield from _who_else(table, setup)
        subject = f"route table '{table.table_id}'"
        if setup.subnets and table.table_id not in used:
            yield warning(
                subject,
                what="none of the cluster's subnets uses it",
                why="its route is changed to the gateway for no use",
                mend="leave it out of route_table_ids",
            )
        if not table.leads_out:
            yield warning(
                subject,
                what="nothing in it leads out of the VPC",
                why="EMR refuses clusters in such subnets",
                mend="give it a gateway endpoint of S3, which spares the gateway's price for each GB, too",
            )


def _who_else(table: RouteTable, setup: Setup) -> Iterator[Finding]:
    others = sorted(set(table.subnet_ids) - set(setup.subnets))
    if setup.subnets and others:
        yield warning(
            f"route table '{table.table_id}'",
            what=f"other subnets use it, too: {', '.join(others)}",
            why="they leave from the Elastic IP meanwhile, and their connections are cut when its route changes",
            mend="give the cluster's subnet a route table of its own",
        )
    if table.is_main:
        yield warning(
            f"route table '{table.table_id}'",
            what="it is its VPC's main one",
            why="every subnet without one of its own leaves from the Elastic IP meanwhile",
            mend="give the cluster's subnet a route table of its own",
        )


NEIGHBOURS = Check(
    "neighbours",
    "only the cluster uses the route tables, and EMR accepts them",
    _neighbours,
    needs=(SUBNETS, ROUTE_TABLES),
)


def _permissions(setup: Setup) -> Iterator[Finding]:
    for refused in ask_permissions(
        setup.eip.conn,
        subnet_id=str(setup.public_subnet_id),
        allocation_id=setup.allocation_id,
        table_ids=setup.route_table_ids,
    ):
        yield not_permitted(refused)


PERMISSIONS = Check(
    "permission", "making the gateway and its routes is allowed, says a DryRun", _permissions, needs=(USABLE,)
)


def _gateway(setup: Setup) -> Iterator[Finding]:
    subject, gateway = f"NAT gateway '{setup.nat_gateway_id}'", setup.gateway
    if gateway is None or gateway.state != "available":
        yield error(
            subject,
            what="it is unknown here" if gateway is None else f"it is {gateway.state}",
            why="nothing leaves through it",
            mend="name an available gateway as nat_gateway_id",
        )
    elif gateway.job_flow_id is not None:
        yield error(
            subject,
            what=f"it was made for cluster '{gateway.job_flow_id}'",
            why="it ends with that cluster",
            mend="name a gateway of your own as nat_gateway_id",
        )
    elif list(gateway.associations) != [setup.allocation_id]:
        carried = ", ".join(gateway.associations) or "no Elastic IP"
        yield error(
            subject,
            what=f"it carries {carried}, and not just {setup.allocation_id}",
            why="the database would see another address",
            mend="name the gateway that carries this address and no other",
        )


GATEWAY = Check("gateway", "the NAT gateway is available and carries this address alone", _gateway)


def _turns(setup: Setup) -> Iterator[Finding]:
    if not setup.lock_store:
        yield error(
            f"NAT gateway '{setup.nat_gateway_id}'",
            what="there is no lock store",
            why="nothing else keeps two jobs from using this gateway at once",
            mend="set lock_store or [eip] lock_store",
        )


TURNS = Check("turns", "a lock store keeps jobs from using the gateway at once", _turns)


def _ways_out(setup: Setup) -> Iterator[Finding]:
    yield from _named(setup)
    for subnet_id, subnet in setup.subnets.items():
        target = subnet.table.default_route if subnet and subnet.table else NO_ROUTE
        if subnet and target != setup.nat_gateway_id:
            yield error(
                f"subnet '{subnet_id}'",
                what=f"its route for {ANYWHERE} leads to '{target}', not to '{setup.nat_gateway_id}'",
                why="its nodes would not leave from the Elastic IP",
                mend="let it lead there, or name a subnet whose route does",
            )


WAYS_OUT = Check(
    "cluster-subnets",
    "every node of the cluster leaves through the gateway",
    _ways_out,
    needs=(SUBNETS,),
    reads=SUBNET_PLACES,
    missing=_missing,
)
