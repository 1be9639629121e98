"""
The actions, resources and condition keys that IAM evaluates for a call.

The source is the Service Authorization Reference, "Actions, resources, and condition keys for …" (EC2, Elastic
MapReduce, Elastic Load Balancing V2, DynamoDB, S3, IAM, Service Quotas). Where it is ambiguous, the stricter
interpretation is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.dynamodb.models import dynamodb_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends

from local_emr.ec2.routes import CHANGES
from local_emr.ec2.wire import tags_of
from local_emr.elb.wire import structures
from local_emr.iam.policy import Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_emr.calls import Call
    from local_emr.ec2.api import Ec2
    from local_emr.emr.api import Emr

Context = dict[str, "str | tuple[str, ...]"]

_CLUSTER_ID = {"AddTags": "ResourceId", "AddJobFlowSteps": "JobFlowId"}
_CLUSTER_IDS = {"TerminateJobFlows", "SetTerminationProtection"}
_WITHOUT_CLUSTER = {"ListClusters", "CreateSecurityConfiguration"} | {
    "GetBlockPublicAccessConfiguration",
    "PutBlockPublicAccessConfiguration",
}
_PASSED_ROLES = {
    "ServiceRole": "elasticmapreduce.amazonaws.com",
    "JobFlowRole": "ec2.amazonaws.com",
    "AutoScalingRole": "application-autoscaling.amazonaws.com",
}
# Permissions whose name differs from the operation's.
_S3_ACTIONS = {"HeadObject": "GetObject", "HeadBucket": "ListBucket", "ListObjects": "ListBucket"} | {
    "ListObjectsV2": "ListBucket",
    "ListBuckets": "ListAllMyBuckets",
}


_OF_INSTANCES = {"StartInstances", "StopInstances", "TerminateInstances"}
_ELB_ARNS = {"ListenerArn", "LoadBalancerArn", "ResourceArn", "TargetGroupArn"}
_ELB_CREATED = {"CreateLoadBalancer": "loadbalancer/net", "CreateTargetGroup": "targetgroup"}


class World(Protocol):
    """Gives access to tags and ids that are not in the call."""

    emr: Emr

    def ec2(self, region: str) -> Ec2:
        """Return a region's EC2."""


def questions(call: Call, world: World) -> list[Question]:
    """Return everything that must be allowed for a call."""
    asked = _BY_SERVICE.get(call.service, _other)(call, world)
    everywhere = {"aws:RequestedRegion": call.region}
    return [Question(q.action, q.resource, {**everywhere, **q.context}) for q in asked]


def missing_object(call: Call) -> Question | None:
    """
    Return what else is evaluated when an object does not exist.

    Without s3:ListBucket the answer is 403 instead of 404 (S3 API Reference, GetObject, HeadObject).
    """
    if call.service != "s3" or call.operation not in {"GetObject", "HeadObject"}:
        return None
    return Question("s3:ListBucket", _bucket(call), {"aws:RequestedRegion": call.region})


def _sts(call: Call, world: World) -> Iterator[Question]:
    """Return nothing: GetCallerIdentity needs no permission (STS API Reference)."""
    if call.operation != "GetCallerIdentity":
        yield from _other(call, world)


def _other(call: Call, world: World) -> Iterator[Question]:
    yield Question(f"{call.service}:{call.operation}", "*")


def _ec2(call: Call, world: World) -> Iterator[Question]:
    if call.operation in {"AssociateAddress", "DisassociateAddress", "ReleaseAddress"}:
        yield from _address(call, world)
    elif call.operation in {"CreateNatGateway", "DeleteNatGateway"}:
        yield from _nat_gateway(call, world)
    elif call.operation in CHANGES:
        yield Question(f"ec2:{call.operation}", _ec2_arn(call, "route-table", call.params.get("RouteTableId", "*")))
    elif call.operation in _OF_INSTANCES:
        yield from _instances(call, world)
    else:
        yield from _other(call, world)


def _instances(call: Call, world: World) -> Iterator[Question]:
    """Evaluate each instance, with its tags."""
    for name in (value for key, value in call.params.items() if key.startswith("InstanceId.")):
        found = world.ec2(call.region).instances.find([name])
        tags = {tag["key"]: tag["value"] for instance in found for tag in instance.get_tags()}
        context = _tags("ResourceTag", tags, service="ec2")
        yield Question(f"ec2:{call.operation}", _ec2_arn(call, "instance", name), context)


def _nat_gateway(call: Call, world: World) -> Iterator[Question]:
    """Evaluate the gateway; when it is created also its subnet, address and tags."""
    action, params = f"ec2:{call.operation}", call.params
    if call.operation == "DeleteNatGateway":
        name = params.get("NatGatewayId", "*")
        gateway = world.ec2(call.region).backend.nat_gateways.get(name)
        tags = {tag["key"]: tag["value"] for tag in gateway.get_tags()} if gateway else {}
        yield Question(action, _ec2_arn(call, "natgateway", name), _tags("ResourceTag", tags, service="ec2"))
        return
    tags = tags_of(params)
    asked: Context = {**_tags("RequestTag", tags, service="ec2"), "aws:TagKeys": tuple(tags)} if tags else {}
    yield Question(action, _ec2_arn(call, "natgateway", "*"), asked)
    yield Question(action, _ec2_arn(call, "subnet", params.get("SubnetId", "*")))
    if "AllocationId" in params:
        yield _elastic_ip(call, world, params["AllocationId"])
    if tags:
        creating: Context = {**asked, "ec2:CreateAction": call.operation}
        yield Question("ec2:CreateTags", _ec2_arn(call, "natgateway", "*"), creating)


def _address(call: Call, world: World) -> Iterator[Question]:
    """Evaluate the address and what it is associated with or moved to; EC2 itself refuses an unknown association."""
    backend, params = world.ec2(call.region).backend, call.params
    named = (params.get("AllocationId"), params.get("AssociationId"), params.get("PublicIp"))
    address = next(
        (a for a in backend.addresses if {a.allocation_id, a.association_id, a.public_ip} & set(filter(None, named))),
        None,
    )
    interface_id = params.get("NetworkInterfaceId") or (address and address.eni and address.eni.id)
    interface = backend.enis.get(interface_id)
    instance_id = params.get("InstanceId") or (interface and interface.instance and interface.instance.id)
    resources = {
        "elastic-ip": address.allocation_id if address else params.get("AllocationId"),
        "network-interface": interface_id if call.operation != "ReleaseAddress" else None,
        "instance": instance_id if call.operation == "AssociateAddress" else None,
    }
    for kind, name in resources.items():
        if name and kind == "elastic-ip":
            yield _elastic_ip(call, world, name)
        elif name:
            yield Question(f"ec2:{call.operation}", _ec2_arn(call, kind, name))


def _elastic_ip(call: Call, world: World, name: str) -> Question:
    """Evaluate an address, with its tags."""
    tags = {tag["key"]: tag["value"] for tag in world.ec2(call.region).backend.describe_tags({"resource-id": [name]})}
    context = _tags("ResourceTag", tags, service="ec2")
    return Question(f"ec2:{call.operation}", _ec2_arn(call, "elastic-ip", name), context)


def _ec2_arn(call: Call, kind: str, name: str) -> str:
    return f"arn:aws:ec2:{call.region}:{ACCOUNT}:{kind}/{name}"


def _emr(call: Call, world: World) -> Iterator[Question]:
    """
    Evaluate a call of EMR.

    Tags at creation need AddTags on ``cluster/*``, since 2023; the idle timeout needs PutAutoTerminationPolicy by the
    EMR Management Guide ("Permissions to use auto-termination"), though not by the reference.
    """
    action = f"elasticmapreduce:{call.operation}"
    if call.operation == "RunJobFlow":
        yield from _launch(call)
    elif call.operation in _WITHOUT_CLUSTER:
        yield Question(action, "*")
    else:
        names = call.params.get(_CLUSTER_ID.get(call.operation, "ClusterId"))
        for name in call.params.get("JobFlowIds", []) if call.operation in _CLUSTER_IDS else [names]:
            cluster = world.emr.life.find(str(name))
            context = {**_request_tags(call.params), **_tags("ResourceTag", cluster.tags if cluster else {})}
            if "ExecutionRoleArn" in call.params:
                context["elasticmapreduce:ExecutionRoleArn"] = call.params["ExecutionRoleArn"]
            yield Question(action, _cluster_arn(call, str(name)), context)


def _launch(call: Call) -> Iterator[Question]:
    tags = _request_tags(call.params)
    yield Question("elasticmapreduce:RunJobFlow", "*", tags)
    if tags:
        yield Question("elasticmapreduce:AddTags", _cluster_arn(call, "*"), tags)
    if call.params.get("AutoTerminationPolicy"):
        yield Question("elasticmapreduce:PutAutoTerminationPolicy", _cluster_arn(call, "*"))
    for parameter, service in _PASSED_ROLES.items():
        if name := call.params.get(parameter):
            role = _role_of_profile(name) if parameter == "JobFlowRole" else name
            arn = role if role.startswith("arn:") else f"arn:aws:iam::{ACCOUNT}:role/{role}"
            yield Question("iam:PassRole", arn, {"iam:PassedToService": service})


def _role_of_profile(name: str) -> str:
    """Return the role of an instance profile; for an unknown one, the role with the same name."""
    profile = name.rpartition("/")[2]
    for known in iam_backends[ACCOUNT]["aws"].instance_profiles.values():
        if known.name == profile and known.roles:
            return str(known.roles[0].arn)
    return profile


def _request_tags(params: Mapping[str, Any]) -> Context:
    tags = {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags", [])}
    return {**_tags("RequestTag", tags), "aws:TagKeys": tuple(tags)} if tags else {}


def _tags(kind: str, tags: Mapping[str, str], *, service: str = "elasticmapreduce") -> Context:
    """Return tags as both of their condition keys."""
    return {f"{prefix}:{kind}/{key}": value for key, value in tags.items() for prefix in ("aws", service)}


def _cluster_arn(call: Call, name: str) -> str:
    return f"arn:aws:elasticmapreduce:{call.region}:{ACCOUNT}:cluster/{name}"


def _dynamodb(call: Call, world: World) -> Iterator[Question]:
    if "TableName" not in call.params:
        yield from _other(call, world)
        return
    name = call.params["TableName"]
    table = dynamodb_backends[ACCOUNT][call.region].tables.get(name)
    item = call.params.get("Key") or call.params.get("Item") or {}
    key = item.get(table.hash_key_attr, {}) if table else {}
    leading: Context = {"dynamodb:LeadingKeys": tuple(key.values())} if key else {}
    arn = f"arn:aws:dynamodb:{call.region}:{ACCOUNT}:table/{name}"
    yield Question(f"dynamodb:{call.operation}", arn, leading)


def _s3(call: Call, world: World) -> Iterator[Question]:
    action = f"s3:{_S3_ACTIONS.get(call.operation, call.operation)}"
    if "Bucket" not in call.params:
        yield Question(action, "*")
    elif "Key" in call.params:
        yield Question(action, f"{_bucket(call)}/{call.params['Key']}")
    else:
        yield Question(action, _bucket(call))


def _bucket(call: Call) -> str:
    return f"arn:aws:s3:::{call.params['Bucket']}"


def _elb(call: Call, world: World) -> Iterator[Question]:
    """
    Evaluate the changed resource by ARN and tags; Describe actions have no resource types.

    A resource to be created is evaluated as ``loadbalancer/net/NAME/*``; with tags, AddTags as well.
    """
    action, params = f"elasticloadbalancing:{call.operation}", call.params
    tags = {fields["Key"]: fields.get("Value", "") for fields in structures(params, "Tags")}
    asked: Context = {}
    if tags:
        asked = {**_tags("RequestTag", tags, service="elasticloadbalancing"), "aws:TagKeys": tuple(tags)}
    arns = [value for key, value in params.items() if key in _ELB_ARNS or key.startswith("ResourceArns.member.")]
    if call.operation.startswith("Describe"):
        yield Question(action, "*")
    elif call.operation in _ELB_CREATED and "Name" in params:
        arn = f"arn:aws:elasticloadbalancing:{call.region}:{ACCOUNT}:{_ELB_CREATED[call.operation]}/{params['Name']}/*"
        arns = [arn]
        yield Question(action, arn, asked)
    else:
        for arn in arns:
            yield Question(action, arn, {**asked, **_elb_tags(call.region, arn)})
    if tags and call.operation.startswith("Create"):
        creating: Context = {**asked, "elasticloadbalancing:CreateAction": call.operation}
        for arn in arns:
            yield Question("elasticloadbalancing:AddTags", arn, creating)


def _elb_tags(region: str, arn: str) -> Context:
    tags = elbv2_backends[ACCOUNT][region].tagging_service.get_tag_dict_for_resource(arn)
    return _tags("ResourceTag", tags, service="elasticloadbalancing")


def _quota(call: Call, world: World) -> Iterator[Question]:
    """Evaluate the quota, if one is given."""
    if "QuotaCode" not in call.params:
        yield from _other(call, world)
        return
    name = f"{call.params.get('ServiceCode')}/{call.params['QuotaCode']}"
    yield Question(f"servicequotas:{call.operation}", f"arn:aws:servicequotas:{call.region}:{ACCOUNT}:{name}")


_BY_SERVICE = {
    "dynamodb": _dynamodb,
    "ec2": _ec2,
    "elasticloadbalancing": _elb,
    "elasticmapreduce": _emr,
    "s3": _s3,
    "servicequotas": _quota,
    "sts": _sts,
}
