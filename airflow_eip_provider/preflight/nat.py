"""Checks of a NAT gateway with the address: one that is created for the cluster, or one of the user's own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.nat_gateway_changes import find_denied_actions
from airflow_eip_provider.aws.nat_gateways import read_origin
from airflow_eip_provider.aws.routes import ANYWHERE, NO_ROUTE
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.preflight.address import usable
from airflow_eip_provider.preflight.finding import Check, Finding, error, not_permitted, warning
from airflow_eip_provider.preflight.network import SUBNET_PLACES, no_subnet, subnets_exist
from airflow_eip_provider.preflight.zones import check_border_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.aws.network import Subnet
    from airflow_eip_provider.preflight.setup import Setup


@partial(Check, "public-subnet", "the gateway's subnet routes to an internet gateway")
def public_subnet(setup: Setup) -> Iterator[Finding]:
    subject, subnet = f"public subnet '{setup.public_subnet_id}'", setup.public_subnet
    if subnet is None:
        yield error(
            subject,
            what=f"it does not exist in region '{setup.region}'",
            why="the NAT gateway cannot be created in it",
            remedy="correct public_subnet_id",
        )
    elif not subnet.has_internet_gateway:
        yield error(
            subject,
            what="its route table has no default route to an internet gateway",
            why="a NAT gateway in it cannot reach the internet",
            remedy="use a public subnet as public_subnet_id",
        )
    else:
        yield from check_border_group(setup, subnet)


@partial(Check, "route-tables", "the route tables can lead to the gateway", needs=(public_subnet,))
def route_tables(setup: Setup) -> Iterator[Finding]:
    public = setup.public_subnet
    for table_id, table in setup.route_tables.items():
        subject = f"route table '{table_id}'"
        if table is None:
            yield error(
                subject,
                what=f"it does not exist in region '{setup.region}'",
                why="it cannot get a route to the gateway",
                remedy="set route_table_ids to the route tables of the cluster's subnets",
            )
        elif public and table.vpc_id != public.vpc_id:
            yield error(
                subject,
                what=f"it is in VPC '{table.vpc_id}', but the public subnet is in '{public.vpc_id}'",
                why="its routes cannot lead to a gateway there",
                remedy="set route_table_ids to the route tables of the cluster's subnets",
            )
        elif public and public.table and public.table.table_id == table_id:
            yield error(
                subject,
                what=f"the public subnet '{public.subnet_id}' uses it",
                why="the gateway's default route would lead to the gateway itself",
                remedy="use a private subnet with a separate route table for the cluster",
            )


@partial(Check, "tenancies", "no cluster with another address uses the route tables", needs=(route_tables,))
def other_clusters(setup: Setup) -> Iterator[Finding]:
    allocation_ids = setup.pool or [setup.allocation_id]
    one_of_several = (
        "name one Elastic IP as allocation_id, so that the job waits for it; each Elastic IP needs its own route tables"
    )
    for table_id, table in setup.route_tables.items():
        try:
            if table:
                read_origin(
                    setup.eip.conn,
                    setup.emr.conn,
                    table,
                    allocation_ids=allocation_ids,
                    owner_digest=setup.owner_digest,
                )
        except InvalidInputError as in_use:
            yield error(
                f"route table '{table_id}'",
                what=in_use.problem,
                why="with one route table, two addresses would take each other's connections",
                remedy=one_of_several if setup.pool else in_use.remedy,
            )


def _subnet_unknown(setup: Setup) -> str | None:
    return no_subnet(setup) if setup.job_flow is None else None


def _find_unnamed(setup: Setup) -> Iterator[Finding]:
    if setup.job_flow is not None and not setup.subnets:
        yield error(
            "job_flow_overrides",
            what="they name no subnet",
            why="EMR would choose one without a route to the gateway",
            remedy="set Instances.Ec2SubnetId to the cluster's private subnet",
        )


def _table_id(subnet: Subnet) -> str:
    return subnet.table.table_id if subnet.table else NO_ROUTE


@partial(
    Check,
    "cluster-subnets",
    "every node of the cluster will use the gateway",
    needs=(subnets_exist, public_subnet, route_tables),
    reads=SUBNET_PLACES,
    missing=_subnet_unknown,
)
def cluster_subnets(setup: Setup) -> Iterator[Finding]:
    """Compare the subnets of the cluster with the route tables that will lead to the gateway."""
    yield from _find_unnamed(setup)
    public = setup.public_subnet
    for subnet_id, subnet in setup.subnets.items():
        if subnet_id == setup.public_subnet_id:
            yield error(
                f"subnet '{subnet_id}'",
                what="the cluster would be in the gateway's own public subnet",
                why="the connections of its nodes would bypass the gateway and use other addresses",
                remedy="use a private subnet for the cluster",
            )
        elif subnet and public and subnet.vpc_id != public.vpc_id:
            yield error(
                f"subnet '{subnet_id}'",
                what=f"it is in VPC '{subnet.vpc_id}', but the public subnet is in '{public.vpc_id}'",
                why="its nodes cannot reach the gateway",
                remedy="use a subnet of the gateway's VPC for the cluster",
            )
        elif subnet and _table_id(subnet) not in setup.route_tables:
            yield error(
                f"subnet '{subnet_id}'",
                what=f"its route table '{_table_id(subnet)}' is not in route_table_ids",
                why="the connections of its nodes would not use the Elastic IP",
                remedy="name the route table of each of the cluster's subnets",
            )


@partial(
    Check,
    "neighbours",
    "only the cluster uses the route tables, and EMR accepts them",
    needs=(subnets_exist, route_tables),
)
def neighbours(setup: Setup) -> Iterator[Finding]:
    """Find who else would use the address, and what may make EMR refuse the launch."""
    used = {_table_id(subnet) for subnet in setup.subnets.values() if subnet}
    separate = "use a separate route table for the cluster's subnet"
    for table in filter(None, setup.route_tables.values()):
        subject = f"route table '{table.table_id}'"
        others = sorted(set(table.subnet_ids) - set(setup.subnets))
        if setup.subnets and others:
            yield warning(
                subject,
                what=f"other subnets use it, too: {', '.join(others)}",
                why="their connections would use the Elastic IP, and are cut when the route changes",
                remedy=separate,
            )
        if table.is_main:
            yield warning(
                subject,
                what="it is the main route table of its VPC",
                why="every subnet without its own route table would use the Elastic IP",
                remedy=separate,
            )
        if setup.subnets and table.table_id not in used:
            yield warning(
                subject,
                what="none of the cluster's subnets uses it",
                why="changing its route would have no effect on the cluster",
                remedy="remove it from route_table_ids",
            )
        if not table.leads_out:
            yield warning(
                subject,
                what="it has no route to outside the VPC",
                why="EMR refuses clusters in such subnets",
                remedy="add a gateway endpoint for S3, which also saves the gateway's charge for each GB",
            )


@partial(Check, "permission", "creating the gateway and its routes is allowed, according to a DryRun", needs=(usable,))
def gateway_is_allowed(setup: Setup) -> Iterator[Finding]:
    for refused in find_denied_actions(
        setup.eip.conn,
        subnet_id=str(setup.public_subnet_id),
        allocation_id=setup.allocation_id,
        table_ids=setup.route_table_ids,
    ):
        yield not_permitted(refused)


@partial(Check, "gateway", "the NAT gateway is available and has only this address")
def own_gateway(setup: Setup) -> Iterator[Finding]:
    subject, gateway = f"NAT gateway '{setup.nat_gateway_id}'", setup.gateway
    if gateway is None or gateway.state != "available":
        yield error(
            subject,
            what=f"it does not exist in region '{setup.region}'" if gateway is None else f"it is {gateway.state}",
            why="no connections can use it",
            remedy="set nat_gateway_id to an available gateway",
        )
    elif gateway.job_flow_id is not None:
        yield error(
            subject,
            what=f"it was created for cluster '{gateway.job_flow_id}'",
            why="it is deleted with that cluster",
            remedy="set nat_gateway_id to a gateway of your own",
        )
    elif list(gateway.associations) != [setup.allocation_id]:
        addresses = ", ".join(gateway.associations) or "no Elastic IP"
        yield error(
            subject,
            what=f"it has {addresses}, not only {setup.allocation_id}",
            why="the database would see another address",
            remedy="use the gateway that has this address and no other",
        )


@partial(Check, "turns", "a lock store prevents jobs from using the gateway at the same time")
def turns(setup: Setup) -> Iterator[Finding]:
    if not setup.lock_store:
        yield error(
            f"NAT gateway '{setup.nat_gateway_id}'",
            what="there is no lock store",
            why="nothing else prevents two jobs from using this gateway at the same time",
            remedy="set lock_store or [eip] lock_store",
        )


@partial(
    Check,
    "cluster-subnets",
    "every node of the cluster uses the gateway",
    needs=(subnets_exist,),
    reads=SUBNET_PLACES,
    missing=_subnet_unknown,
)
def routes_to_own_gateway(setup: Setup) -> Iterator[Finding]:
    yield from _find_unnamed(setup)
    for subnet_id, subnet in setup.subnets.items():
        target = subnet.table.default_route if subnet and subnet.table else NO_ROUTE
        if subnet and target != setup.nat_gateway_id:
            yield error(
                f"subnet '{subnet_id}'",
                what=f"its route for {ANYWHERE} leads to '{target}', not to '{setup.nat_gateway_id}'",
                why="the connections of its nodes would not use the Elastic IP",
                remedy="change the route, or use a subnet whose route leads there",
            )
