"""What is refused before the first call that changes AWS."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from airflow_eip_provider.exceptions import AddressNotFoundError, AddressUnusableError, InvalidInputError
from airflow_eip_provider.hooks.eip import Address, read_has_internet_gateway, read_subnet_vpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.hooks.eip import ElasticIpHook

_ALLOCATION_ID = re.compile(r"eipalloc-([0-9a-f]{8}|[0-9a-f]{17})")
MULTI_NODE_CHOICES = ("fail", "warn", "allow")


def _invalid(what: str, *, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)


def check_allocation_id(allocation_id: object) -> None:
    """
    Check the form of an allocation ID.

    :raises InvalidInputError: when it cannot be one.
    """
    if not isinstance(allocation_id, str) or not _ALLOCATION_ID.fullmatch(allocation_id):
        raise _invalid(
            f"allocation_id {allocation_id!r}",
            problem="this is not the allocation ID of an Elastic IP",
            remedy="give what EC2 shows as 'Allocation ID' (eipalloc-…), neither the address nor its association",
        )


def checked_address(hook: ElasticIpHook, allocation_id: str, *, kept_by: str | None = None) -> Address:
    """
    Return the address if a cluster of this region can carry it, sooner or later.

    :param kept_by: the NAT gateway that may keep it.
    :raises InvalidInputError: for a malformed allocation ID.
    :raises AddressNotFoundError: for an unknown or released address.
    :raises AddressUnusableError: for an EC2-Classic address, one of another region, and one that an AWS service keeps.
    """
    check_allocation_id(allocation_id)
    region = hook.conn_region_name
    address = hook.get_address(allocation_id)
    if address is None:
        raise AddressNotFoundError(allocation_id, region=region)
    if address.domain != "vpc":
        raise AddressUnusableError(
            allocation_id,
            problem=f"its domain is '{address.domain}' (EC2-Classic)",
            remedy="allocate a VPC address and register that with the database's firewall",
        )
    if address.network_border_group and not address.network_border_group.startswith(region):
        raise AddressUnusableError(
            allocation_id,
            problem=f"it is advertised from '{address.network_border_group}', the cluster runs in '{region}'",
            remedy="use an address of the cluster's region",
        )
    if not address.is_free and not address.instance_id:
        holder = hook.get_holder(address)
        if holder.permanent and (holder.gateway is None or holder.gateway.gateway_id != kept_by):
            raise AddressUnusableError(
                allocation_id,
                problem=f"it belongs to {holder.description}, which keeps it as long as it exists",
                remedy="use another address, or delete what holds this one",
            )
    return address


def checked_mapping(value: object, *, parameter: str) -> dict[str, Any]:
    """
    Return a parameter that is a mapping, or a string (as from a rendered ``.json`` file) that spells one.

    :raises InvalidInputError: when it is neither.
    """
    parsed = parse_literal(value)
    if not isinstance(parsed, dict):
        raise _invalid(
            parameter,
            problem=f"it is {type(parsed).__name__}, not a mapping",
            remedy="give RunJobFlow's parameters as a dict, or as the path of a .json file",
        )
    return parsed


def parse_literal(value: object) -> object:
    """Read a string as JSON or as a Python literal; return what is neither as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        pass
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def check_job_flow(config: Mapping[str, Any], *, service_model: Any, accept_self_termination: bool) -> None:
    """
    Check what RunJobFlow would be sent, connection and overrides merged.

    :param service_model: botocore's model of EMR, which knows every parameter's name and type.
    :raises InvalidInputError: with EMR's own parameter name.
    """
    instances = config.get("Instances")
    if not isinstance(instances, dict):
        raise _invalid(
            "job_flow_overrides",
            problem="'Instances' is missing (or no mapping), in the overrides and in the EMR connection",
            remedy="describe the cluster's instances, its subnet and KeepJobFlowAliveWhenNoSteps there",
        )
    if config.get("Steps"):
        raise _invalid(
            "job_flow_overrides",
            problem="'Steps' would start before the address is bound, unwatched",
            remedy="move them into EmrAddStepsWithStaticIpOperator",
        )
    if not instances.get("KeepJobFlowAliveWhenNoSteps") and not accept_self_termination:
        raise _invalid(
            "job_flow_overrides",
            problem="Instances.KeepJobFlowAliveWhenNoSteps is not true (EMR's default is false): "
            "the cluster may end before its first step arrives",
            remedy="set it to true, or pass accept_self_termination=True",
        )
    report = ParamValidator().validate(dict(config), service_model.operation_model("RunJobFlow").input_shape)
    if report.has_errors():
        raise _invalid(
            "job_flow_overrides",
            problem=" ".join(report.generate_report().split()),
            remedy="use the names and types of boto3's run_job_flow",
        ) from ParamValidationError(report=report.generate_report())


def _node_counts(instances: Mapping[str, Any]) -> tuple[int, int]:
    """Count primaries and other nodes that the Instances parameter asks for."""
    if fleets := instances.get("InstanceFleets"):
        sizes = [
            (f["InstanceFleetType"], f.get("TargetOnDemandCapacity", 0) + f.get("TargetSpotCapacity", 0))
            for f in fleets
        ]
    elif groups := instances.get("InstanceGroups"):
        sizes = [(g["InstanceRole"], g["InstanceCount"]) for g in groups]
    else:
        sizes = [("MASTER", 1), ("CORE", max(instances.get("InstanceCount", 1) - 1, 0))]
    primaries = sum(size for role, size in sizes if role == "MASTER")
    return primaries, sum(size for role, size in sizes if role != "MASTER")


def check_topology(config: Mapping[str, Any], *, on_multi_node: str) -> str | None:
    """
    Check that one address on one primary node can do what is expected of it.

    :param on_multi_node: "fail", "warn" or "allow" clusters with core or task nodes, whose executors leave from other
        addresses than the primary's.
    :return: a warning, when there is one to give.
    :raises InvalidInputError: for several primaries, and with "fail" for any other node.
    """
    if on_multi_node not in MULTI_NODE_CHOICES:
        raise _invalid(
            f"on_multi_node {on_multi_node!r}", problem="unknown choice", remedy=f"use one of {MULTI_NODE_CHOICES}"
        )
    primaries, others = _node_counts(config["Instances"])
    if primaries != 1:
        raise _invalid(
            "job_flow_overrides",
            problem=f"they ask for {primaries} primary nodes; they replace each other, and an address cannot follow",
            remedy="ask for exactly one MASTER instance",
        )
    if not others or on_multi_node == "allow":
        return None
    problem = (
        f"they ask for {others} core or task nodes besides the primary; Spark reads on executors there, which leave "
        "from other addresses than the Elastic IP"
    )
    if on_multi_node == "fail":
        raise _invalid(
            "job_flow_overrides",
            problem=problem,
            remedy="use a single-node cluster (one MASTER, nothing else); or pass on_multi_node='allow' when only the "
            "driver reads; or binding=NatGateway(...), with which every node leaves from the Elastic IP",
        )
    return f"job_flow_overrides: {problem}"


def check_subnets(hook: ElasticIpHook, config: Mapping[str, Any]) -> None:
    """
    Check that every subnet the cluster may be put into exists and routes to an internet gateway.

    :raises InvalidInputError: naming the subnet.
    """
    instances = config["Instances"]
    named = [instances["Ec2SubnetId"]] if instances.get("Ec2SubnetId") else instances.get("Ec2SubnetIds", [])
    for subnet_id in named:
        vpc_id = hook.read(read_subnet_vpc(subnet_id))
        if vpc_id is None:
            raise _invalid(
                f"subnet '{subnet_id}'",
                problem=f"it does not exist in region '{hook.conn_region_name}'",
                remedy="correct Instances.Ec2SubnetId in job_flow_overrides",
            )
        if not hook.read(read_has_internet_gateway(subnet_id=subnet_id, vpc_id=vpc_id)):
            raise _invalid(
                f"subnet '{subnet_id}'",
                problem="its route table has no default route to an internet gateway, without which an Elastic IP is "
                "unreachable in it",
                remedy="use a public subnet",
            )


def checked_steps(value: object) -> list[dict[str, Any]]:
    """
    Return a step list that EMR can be sent.

    :raises InvalidInputError: when it is empty or no list of mappings.
    """
    steps = parse_literal(value)
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        found = "empty" if steps in ([], "", None) else f"not a list of mappings but {type(steps).__name__}"
        raise _invalid(
            "steps", problem=f"the step list is {found}", remedy="give at least one step, as boto3's add_job_flow_steps"
        )
    for step in steps:
        if not step.get("Name") or not isinstance(step.get("HadoopJarStep"), dict):
            raise _invalid(
                "steps",
                problem=f"step {step.get('Name')!r} has no Name or no HadoopJarStep",
                remedy="give both, as boto3's add_job_flow_steps",
            )
    return steps
