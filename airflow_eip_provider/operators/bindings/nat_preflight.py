"""What is refused of a NAT gateway's binding before the first call that changes AWS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.calls import error_code
from airflow_eip_provider.checks import GATEWAY_CHECKS
from airflow_eip_provider.exceptions import InvalidInputError, NotPermittedError
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.readings.gateways import is_gateway, read_gateway
from airflow_eip_provider.readings.network import read_subnet
from airflow_eip_provider.readings.routes import ANYWHERE, NO_ROUTE, RouteTable, read_table, read_table_of_subnet
from airflow_eip_provider.readings.tags import ALLOCATION_TAG, as_items

if TYPE_CHECKING:
    from airflow_eip_provider.calls import Reading
    from airflow_eip_provider.checks import Setup
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.operators.bindings.nat_gateway import NatGateway
    from airflow_eip_provider.readings.network import Subnet

_ID = re.compile(r"(subnet|rtb|nat)-([0-9a-f]{8}|[0-9a-f]{17})")
_MOST_TABLES = 40  # each is remembered in a tag of the gateway, and EC2 takes 50 (EC2 User Guide, "Tag restrictions")
_REFUSED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})


def _wrong(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking binding NatGateway, {what}", problem=problem, remedy=remedy)


def check_parameters(binding: NatGateway) -> None:
    """
    Check that the parameters are one of the two forms, and their ids in themselves.

    :raises InvalidInputError: naming the parameter.
    """
    tables = binding.route_table_ids
    made = bool(binding.public_subnet_id) or bool(tables)
    if made == bool(binding.nat_gateway_id):
        raise _wrong(
            "its parameters",
            "it names both a gateway and what to make one of" if made else "it is empty",
            "give public_subnet_id and route_table_ids, or else nat_gateway_id",
        )
    if binding.nat_gateway_id:
        _check_id("nat_gateway_id", binding.nat_gateway_id, "nat")
        return
    _check_id("public_subnet_id", binding.public_subnet_id, "subnet")
    if isinstance(tables, str) or not isinstance(tables, Sequence) or not 0 < len(tables) <= _MOST_TABLES:
        raise _wrong(
            f"route_table_ids {tables!r}", "this is no list of route tables", f"give a list of 1 to {_MOST_TABLES} ids"
        )
    for table_id in tables:
        _check_id("route_table_ids", table_id, "rtb")
    if len(set(tables)) < len(tables):
        raise _wrong(f"route_table_ids {tables!r}", "one is named twice", "name each once")


def _check_id(parameter: str, value: object, prefix: str) -> None:
    if not isinstance(value, str) or not (found := _ID.fullmatch(value)) or found[1] != prefix:
        raise _wrong(f"{parameter} {value!r}", "this is no such id", f"give what EC2 shows as {prefix}-…")


def check_tenancy_gateway(binding: NatGateway, setup: Setup) -> list[str]:
    """
    Check that a gateway can be made for the cluster and that all of its subnets will lead there.

    :return: warnings.
    :raises PermanentError: naming the subnet, the route table or the permission.
    """
    eip, public = setup.eip, str(binding.public_subnet_id)
    warnings = preflight.require(setup, GATEWAY_CHECKS)
    subnet = _checked_subnet(eip, public, remedy="correct public_subnet_id")
    vpc_id = subnet.vpc_id
    if not subnet.has_internet_gateway:
        raise _wrong(
            f"public_subnet_id '{public}'",
            "its route table has no default route to an internet gateway, and a NAT gateway needs one",
            "name a public subnet",
        )
    tables = {table_id: _checked_table(eip, table_id, vpc_id) for table_id in binding.route_table_ids}
    own = eip.read(read_table_of_subnet(public, vpc_id=vpc_id))
    if own is not None and own.table_id in tables:
        raise _wrong(
            f"route table '{own.table_id}'",
            f"the public subnet '{public}' uses it, so the gateway's own way out would lead to itself",
            "give the cluster a private subnet with a route table of its own",
        )
    subnets = _cluster_subnets(setup.job_flow or {})
    used = {subnet: _checked_use(eip, subnet, public, vpc_id, tables) for subnet in subnets}
    eip.read(read_origins(binding.route_table_ids, allocation_id=setup.allocation_id))
    _check_permissions(eip, binding, setup.allocation_id)
    found = (_warnings(table, subnets, set(used.values())) for table in tables.values())
    return [*warnings, *(warning for of_table in found for warning in of_table)]


def check_existing_gateway(gateway_id: str, setup: Setup) -> list[str]:
    """
    Check that a gateway has the address for good, and that the cluster's subnets lead there.

    :return: warnings.
    :raises PermanentError: naming the gateway or the subnet.
    """
    if not setup.lock_store:
        raise _wrong(
            f"nat_gateway_id '{gateway_id}'",
            "there is no lock store, and nothing else keeps two jobs from using this gateway at once",
            "set lock_store or [eip] lock_store",
        )
    eip = setup.eip
    warnings = preflight.require(replace(setup, kept_by=gateway_id), GATEWAY_CHECKS)
    gateway = eip.read(read_gateway(gateway_id))
    if gateway is None or gateway.state != "available" or gateway.job_flow_id is not None:
        found = "unknown here" if gateway is None else gateway.state
        if gateway is not None and gateway.job_flow_id is not None:
            found = f"made for cluster '{gateway.job_flow_id}', with which it ends"
        raise _wrong(f"nat_gateway_id '{gateway_id}'", f"it is {found}", "name an available gateway of your own")
    if list(gateway.associations) != [setup.allocation_id]:
        carried = ", ".join(gateway.associations) or "no Elastic IP"
        raise _wrong(
            f"nat_gateway_id '{gateway_id}'",
            f"it carries {carried}, and not just {setup.allocation_id}",
            "name the gateway that carries this address and no other",
        )
    for subnet in _cluster_subnets(setup.job_flow or {}):
        vpc_id = _checked_subnet(eip, subnet, remedy="correct Instances.Ec2SubnetId in job_flow_overrides").vpc_id
        table = eip.read(read_table_of_subnet(subnet, vpc_id=vpc_id))
        target = table.default_route if table else NO_ROUTE
        if target != gateway_id:
            raise _wrong(
                f"subnet '{subnet}'",
                f"its route for {ANYWHERE} leads to '{target}', not to '{gateway_id}'",
                "let it lead there, or name a subnet whose route does",
            )
    return warnings


def read_origins(route_table_ids: Sequence[str], *, allocation_id: str) -> Reading[dict[str, str]]:
    """
    Read what the default routes lead to when no tenancy has led them elsewhere, by route table.

    A route that a tenancy of this address has left behind leads where that one's gateway says that it came from.

    :raises InvalidInputError: for a route table that leads to a tenancy of another address.
    """
    origins: dict[str, str] = {}
    for table_id in route_table_ids:
        table = yield from read_table(table_id)
        target = table.default_route if table else NO_ROUTE
        gateway = (yield from read_gateway(target)) if is_gateway(target) else None
        if gateway is not None and gateway.job_flow_id is not None:
            if allocation_id not in gateway.associations and not gateway.is_ending:
                raise _wrong(
                    f"route table '{table_id}'",
                    f"it leads to NAT gateway '{target}' of cluster '{gateway.job_flow_id}', a tenancy of another "
                    "Elastic IP",
                    "give each Elastic IP route tables of its own",
                )
            target = gateway.routes_before.get(table_id, NO_ROUTE)
        origins[table_id] = target
    return origins


def _cluster_subnets(job_flow: Mapping[str, Any]) -> list[str]:
    instances = job_flow["Instances"]
    named = [instances["Ec2SubnetId"]] if instances.get("Ec2SubnetId") else list(instances.get("Ec2SubnetIds", []))
    if not named:
        raise _wrong(
            "job_flow_overrides",
            "they name no subnet, so EMR would choose one that does not lead to the gateway",
            "name the cluster's private subnet as Instances.Ec2SubnetId",
        )
    return named


def _checked_subnet(eip: ElasticIpHook, subnet_id: str, *, remedy: str) -> Subnet:
    subnet = eip.read(read_subnet(subnet_id))
    if subnet is None:
        raise _wrong(f"subnet '{subnet_id}'", f"it does not exist in region '{eip.conn_region_name}'", remedy)
    return subnet


def _checked_table(eip: ElasticIpHook, table_id: str, vpc_id: str) -> RouteTable:
    table = eip.read(read_table(table_id))
    if table is None or table.vpc_id != vpc_id:
        found = f"is in '{table.vpc_id}', not in the public subnet's '{vpc_id}'" if table else "does not exist here"
        raise _wrong(f"route table '{table_id}'", f"it {found}", "name the route tables of the cluster's subnets")
    return table


def _checked_use(eip: ElasticIpHook, subnet: str, public: str, vpc_id: str, tables: Mapping[str, RouteTable]) -> str:
    """Return the route table that decides for a subnet of the cluster."""
    if subnet == public:
        raise _wrong(
            f"subnet '{subnet}'",
            "the cluster would be in the gateway's own public subnet",
            "give the cluster a private subnet",
        )
    remedy = "correct Instances.Ec2SubnetId in job_flow_overrides"
    found = _checked_subnet(eip, subnet, remedy=remedy).vpc_id
    if found != vpc_id:
        raise _wrong(f"subnet '{subnet}'", f"it is in '{found}', and the public subnet in '{vpc_id}'", remedy)
    table = eip.read(read_table_of_subnet(subnet, vpc_id=vpc_id))
    if table is None or table.table_id not in tables:
        raise _wrong(
            f"subnet '{subnet}'",
            f"its route table is '{table.table_id if table else NO_ROUTE}', which route_table_ids does not name",
            "name the route table of each of the cluster's subnets",
        )
    return table.table_id


def _warnings(table: RouteTable, subnets: Sequence[str], used: set[str]) -> list[str]:
    found = []
    if others := sorted(set(table.subnet_ids) - set(subnets)):
        found.append(f"other subnets use it, too, and leave from the Elastic IP meanwhile: {', '.join(others)}")
    if table.is_main:
        found.append("it is its VPC's main one, so every subnet without one of its own leaves from the Elastic IP")
    if table.table_id not in used:
        found.append("none of the cluster's subnets uses it")
    if not table.leads_out:
        found.append(
            "nothing in it leads out of the VPC, and EMR refuses clusters in such subnets: give it a gateway endpoint "
            "of S3, which spares the gateway's price for each GB, too"
        )
    return [f"route table '{table.table_id}': {warning}" for warning in found]


def _check_permissions(eip: ElasticIpHook, binding: NatGateway, allocation_id: str) -> None:
    """
    Ask IAM, with DryRun, whether this role may make the gateway and lead routes to it; nothing is changed.

    :raises NotPermittedError: when it may not.
    """
    table = {"RouteTableId": binding.route_table_ids[0], "DestinationCidrBlock": ANYWHERE}
    tags = [{"ResourceType": "natgateway", "Tags": as_items({ALLOCATION_TAG: allocation_id})}]
    made = {"SubnetId": binding.public_subnet_id, "AllocationId": allocation_id, "TagSpecifications": tags}
    asked: dict[str, dict[str, Any]] = {
        "create_nat_gateway": made,
        "create_route": {**table, "NatGatewayId": "nat-00000000000000000"},
        "replace_route": {**table, "NatGatewayId": "nat-00000000000000000"},
        "delete_route": table,
    }
    for operation, parameters in asked.items():
        try:
            getattr(eip.conn, operation)(**parameters, DryRun=True)
        except ClientError as error:
            if error_code(error) in _REFUSED:
                action = "".join(part.capitalize() for part in operation.split("_"))
                raise NotPermittedError(f"ec2:{action}", resource=str(next(iter(parameters.values())))) from error
