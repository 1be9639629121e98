"""Creates a cluster from the parameters of RunJobFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_emr.emr.cluster import Cluster, Node, Pool, Step, new_id
from local_emr.emr.validation import (
    check_auto_termination,
    check_bootstrap_action_count,
    check_idle_timeout,
    check_instances,
    check_step_count,
    check_tags,
    invalid,
)
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from local_emr.ec2.instances import Instances

_DEFAULT_TYPE = "m5.xlarge"


def cluster_of(params: dict[str, Any], *, now: datetime, instances: Instances) -> Cluster:
    """Return the cluster that a request describes.

    :raises AwsError: ``ValidationException``.
    """
    wanted = params["Instances"]
    check_instances(wanted)
    check_step_count(len(params.get("Steps", [])))
    check_bootstrap_action_count(len(params.get("BootstrapActions", [])))
    tags = tags_of(params)
    idle_timeout = params.get("AutoTerminationPolicy", {}).get("IdleTimeout")
    check_idle_timeout(idle_timeout)
    if idle_timeout is not None:
        check_auto_termination(params.get("ReleaseLabel"), params.get("AmiVersion"))
    pools = _pools(wanted, now)
    primaries = len(next(pool for pool in pools if pool.role == "MASTER").nodes)
    return Cluster(
        request=params,
        created=now,
        subnet=_subnet(wanted, instances, next(pool for pool in pools if pool.role == "MASTER").instance_type),
        collection="INSTANCE_FLEET" if wanted.get("InstanceFleets") else "INSTANCE_GROUP",
        pools=pools,
        tags=tags,
        # Protection is always on with three primaries (docs: EMR management guide, "Use termination protection").
        termination_protected=wanted.get("TerminationProtected", primaries > 1),
        keep_alive=wanted.get("KeepJobFlowAliveWhenNoSteps", False),
        step_concurrency=params.get("StepConcurrencyLevel", 1),
        idle_timeout=idle_timeout,
    )


def tags_of(params: dict[str, Any], *, present: Iterable[str] = ()) -> dict[str, str]:
    """Read a request's tags.

    :param present: the keys of the cluster's existing tags.
    :raises AwsError: ``ValidationException``.
    """
    tags = {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags", [])}
    check_tags(tags, present=present)
    return tags


def steps_of(params: dict[str, Any], *, now: datetime) -> list[Step]:
    """Return the steps that a request describes."""
    role = params.get("ExecutionRoleArn")
    return [Step(request=config, created=now, execution_role_arn=role) for config in params.get("Steps", [])]


def _subnet(wanted: dict[str, Any], instances: Instances, primary_type: str) -> Any:
    """Return the subnet to launch in; of several (instance fleets only), one with capacity.

    (Docs: EMR management guide, "Planning and configuring instance fleets": EMR chooses among the subnets.)
    """
    subnet_ids = [wanted["Ec2SubnetId"]] if "Ec2SubnetId" in wanted else wanted.get("Ec2SubnetIds", [])
    try:
        subnets = [instances.subnet(subnet_id) for subnet_id in subnet_ids or [instances.default_subnet_id()]]
    except AwsError as error:
        raise invalid(f"Invalid subnet: {error.message}") from error
    return next((subnet for subnet in subnets if instances.has_capacity(subnet, primary_type)), subnets[0])


def _pools(wanted: dict[str, Any], now: datetime) -> list[Pool]:
    if wanted.get("InstanceFleets"):
        return [_fleet(config, now) for config in wanted["InstanceFleets"]]
    groups = wanted.get("InstanceGroups") or _groups_of_counts(wanted)
    return [_group(config, now) for config in groups]


def _groups_of_counts(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the short form: one primary node, and ``InstanceCount`` - 1 core nodes."""
    primary = wanted.get("MasterInstanceType", _DEFAULT_TYPE)
    workers = wanted.get("InstanceCount", 1) - 1
    groups = [{"InstanceRole": "MASTER", "InstanceType": primary, "InstanceCount": 1}]
    if workers > 0:
        core = wanted.get("SlaveInstanceType", primary)
        groups.append({"InstanceRole": "CORE", "InstanceType": core, "InstanceCount": workers})
    return groups


def _group(config: dict[str, Any], now: datetime) -> Pool:
    return Pool(
        id=new_id("ig-"),
        role=config["InstanceRole"],
        name=config.get("Name", config["InstanceRole"]),
        instance_type=config["InstanceType"],
        market=config.get("Market", "ON_DEMAND"),
        request=config,
        nodes=[Node(created=now) for _ in range(config["InstanceCount"])],
    )


def _fleet(config: dict[str, Any], now: datetime) -> Pool:
    on_demand, spot = config.get("TargetOnDemandCapacity", 0), config.get("TargetSpotCapacity", 0)
    types = config.get("InstanceTypeConfigs", [])
    return Pool(
        id=new_id("if-"),
        role=config["InstanceFleetType"],
        name=config.get("Name", config["InstanceFleetType"]),
        instance_type=types[0]["InstanceType"] if types else _DEFAULT_TYPE,
        market="SPOT" if spot and not on_demand else "ON_DEMAND",
        request=config,
        nodes=[Node(created=now) for _ in range(max(1, on_demand + spot))],
    )
