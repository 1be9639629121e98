"""
The IAM policy for the role of Airflow: it allows only what this package calls.

The actions, resources and condition keys are those of the Service Authorization Reference. Actions of EMR and EC2
without resources and tags are limited to the region.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import UnknownRegionError

from airflow_eip_provider.aws.quotas import STANDARD_VCPUS
from airflow_eip_provider.aws.resource_ids import check_allocation_id
from airflow_eip_provider.aws.step_logs import spellings, split_log_uri
from airflow_eip_provider.aws.tags import ADOPTERS_TAG, ALLOCATION_TAG, IN_CHARGE_TAG, SUCCESSOR_TAG, TRY_TAG
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.ids import ROUTE_TABLE_ID, SUBNET_ID
from airflow_eip_provider.stores.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.stores.uri import StoreUri

Statement = dict[str, Any]

BINDINGS = ("primary", "nat-gateway")
_ACCOUNT = re.compile(r"\d{12}")
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+")
_TARGET_GROUP = re.compile(r"arn:[a-z-]+:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/[\w-]+/[0-9a-f]+")
_ANY_ADDRESS = "eipalloc-*"
_SERVICE_SUFFIX = {"aws-cn": "amazonaws.com.cn"}


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """
    The input of a policy.

    :param allocation_ids: the Elastic IPs, ``eipalloc-…``, including all addresses of pools.
    :param region: of the addresses and their clusters.
    :param account: the account ID.
    :param service_roles: ARNs of the service roles of clusters (RunJobFlow's ``ServiceRole``).
    :param instance_roles: ARNs of the roles in the instance profiles of clusters (``JobFlowRole``).
    :param autoscaling_roles: ARNs of the roles for automatic scaling (``AutoScalingRole``), if clusters use it.
    :param execution_roles: ARNs of the runtime roles that steps may use; empty for any.
    :param lock_store: its URI; ``None`` without one.
    :param log_uri: the LogUri of the clusters, for the logs of failed steps; ``None`` without one.
    :param binding: where the addresses are: "primary", the primary node, or "nat-gateway".
    :param public_subnets: with "nat-gateway", the subnets in which gateways are created for clusters; empty if the
        addresses are on the user's own gateways.
    :param route_tables: with ``public_subnets``, the tables whose default routes are changed.
    :param health: allow health checks of primary nodes: EmrPrimaryHealthSensor, EmrFailoverOperator.
    :param target_groups: ARNs of the target groups in which primary nodes are registered: NlbTargetsOperator,
        EmrFailoverOperator.
    :param drill: allow stopping primary nodes and reading the vCPU quota: airflow-eip drill.
    :param address_tags: also allow all Elastic IPs with these tags, now or later. EC2 then allows no other address. The
        clusters and records of such addresses are not known beforehand, so those of all addresses are allowed.
    """

    allocation_ids: Sequence[str]
    region: str
    account: str
    service_roles: Sequence[str]
    instance_roles: Sequence[str]
    autoscaling_roles: Sequence[str] = ()
    execution_roles: Sequence[str] = ()
    lock_store: str | None = None
    log_uri: str | None = None
    binding: str = "primary"
    public_subnets: Sequence[str] = ()
    route_tables: Sequence[str] = ()
    health: bool = False
    target_groups: Sequence[str] = ()
    drill: bool = False
    address_tags: Mapping[str, Sequence[str]] = field(default_factory=dict)


def policy_document(configuration: Configuration) -> dict[str, Any]:
    """
    Return the policy document for a configuration, for ``json.dumps`` and boto3.

    :raises InvalidInputError: naming the part of the configuration that is not valid.
    """
    if not (configuration.account and configuration.region):
        raise _invalid("account and region", "one is missing", "give both")
    check(configuration)
    writer = _Writer(configuration)
    return {"Version": "2012-10-17", "Statement": list(writer.statements())}


@functools.cache  # every session reads all partitions again, which takes tens of milliseconds
def partition_of(region: str) -> str:
    """
    Return the partition of a region, e.g. "aws" or "aws-cn".

    :raises InvalidInputError: if the region does not exist.
    """
    try:
        return str(boto3.Session().get_partition_for_region(region))
    except UnknownRegionError as error:
        raise _invalid(f"region {region!r}", "this region does not exist", "give a region such as eu-west-1") from error


class _Writer:
    """Writes the statements, one for each set of actions with the same limits."""

    def __init__(self, configuration: Configuration) -> None:
        self._given = configuration
        self._partition = partition_of(configuration.region)
        self._clusters = self._arn("elasticmapreduce", "cluster/*")
        self._addresses = [self._arn("ec2", f"elastic-ip/{name}") for name in configuration.allocation_ids]
        self._in_region = {"aws:RequestedRegion": configuration.region}
        tags = {key: list(values) for key, values in configuration.address_tags.items()}
        self._tagged = {f"ec2:ResourceTag/{key}": values for key, values in tags.items()}
        # The IDs of tagged addresses are not known, so where only an ID can limit an action, any is allowed.
        self._names = [_ANY_ADDRESS] if tags else list(configuration.allocation_ids)
        self._is = "StringLike" if tags else "StringEquals"
        self._ours = {f"elasticmapreduce:ResourceTag/{ALLOCATION_TAG}": self._names}
        self._marked = {f"elasticmapreduce:RequestTag/{ALLOCATION_TAG}": self._names}

    def statements(self) -> Iterator[Statement]:
        yield from self._look()
        if self._given.binding == "primary":
            yield from self._move_address()
        elif self._given.public_subnets:
            yield from self._make_gateways()
            yield from self._remove_gateways()
        yield from self._launch()
        yield from self._own_clusters()
        if self._given.health:
            yield _allow("LookAtHealth", ["ec2:DescribeInstanceStatus"], "*", StringEquals=self._in_region)
        if self._given.target_groups:
            yield from self._targets()
        if self._given.drill:
            yield from self._drill()
        if self._given.lock_store:
            where = parse_uri(self._given.lock_store)
            yield from self._table(where) if where.kind == "dynamodb" else self._bucket(where)
        if self._given.log_uri:
            yield from self._logs(self._given.log_uri)

    def _look(self) -> Iterator[Statement]:
        """
        Allow reading any cluster, because other clusters may have the same name or the address.

        EC2's Describe actions and these actions of EMR do not support resource-level permissions.
        """
        ec2 = (
            "Addresses",
            "AvailabilityZones",
            "InstanceTypeOfferings",
            "Instances",
            "NatGateways",
            "NetworkInterfaces",
            "RouteTables",
            "SecurityGroups",
            "Subnets",
        )
        emr = ("GetBlockPublicAccessConfiguration", "ListClusters")
        actions = [*(f"ec2:Describe{kind}" for kind in ec2), *(f"elasticmapreduce:{name}" for name in emr)]
        yield _allow("Look", actions, "*", StringEquals=self._in_region)
        clusters = [f"elasticmapreduce:{name}" for name in ("DescribeCluster", "ListInstances", "ListSteps")]
        yield _allow("LookAtClusters", clusters, self._clusters)

    def _move_address(self) -> Iterator[Statement]:
        """
        Allow associating and disassociating these addresses.

        Any interface is allowed, because the permission check by DryRun names one that does not exist.
        """
        interfaces, instances = self._arn("ec2", "network-interface/*"), self._arn("ec2", "instance/*")
        yield _allow("Associate", ["ec2:AssociateAddress"], [*self._addresses, interfaces, instances])
        yield _allow("Disassociate", ["ec2:DisassociateAddress"], [*self._addresses, interfaces])
        if self._tagged:
            actions = [f"ec2:{change}Address" for change in ("Associate", "Disassociate")]
            yield _allow("MoveTagged", actions, self._arn("ec2", "elastic-ip/*"), StringEquals=self._tagged)

    def _make_gateways(self) -> Iterator[Statement]:
        """Allow creating NAT gateways with the tag of an address, with these addresses, in these subnets."""
        gateways = self._arn("ec2", "natgateway/*")
        subnets = [self._arn("ec2", f"subnet/{name}") for name in self._given.public_subnets]
        marked = {f"aws:RequestTag/{ALLOCATION_TAG}": self._names}
        yield _allow("MakeGateway", ["ec2:CreateNatGateway"], gateways, **{self._is: marked})
        yield _allow("PlaceGateway", ["ec2:CreateNatGateway"], [*self._addresses, *subnets])
        if self._tagged:
            tagged = self._arn("ec2", "elastic-ip/*")
            yield _allow("PlaceTagged", ["ec2:CreateNatGateway"], tagged, StringEquals=self._tagged)
        creating = {"ec2:CreateAction": "CreateNatGateway"}
        yield _allow("TagGateway", ["ec2:CreateTags"], gateways, **self._both(creating, marked))

    def _remove_gateways(self) -> Iterator[Statement]:
        """Allow deleting gateways with the tag of one of these addresses, and changing routes."""
        ours = {self._is: {f"aws:ResourceTag/{ALLOCATION_TAG}": self._names}}
        yield _allow("DeleteGateway", ["ec2:DeleteNatGateway"], self._arn("ec2", "natgateway/*"), **ours)
        tables = [self._arn("ec2", f"route-table/{name}") for name in self._given.route_tables]
        yield _allow("LeadRoutes", [f"ec2:{change}Route" for change in ("Create", "Delete", "Replace")], tables)

    def _launch(self) -> Iterator[Statement]:
        """
        Allow launching clusters with the tag of an address.

        RunJobFlow does not support resource-level permissions. Its tags need AddTags, and its idle timeout needs
        PutAutoTerminationPolicy (EMR Management Guide, "Permissions to use auto-termination"). The cluster has no tags
        at that time, hence ``IfExists``, which excludes the clusters of other addresses. It also lets a cluster of a
        pool get the tag of another address of the pool.
        """
        if_exists = {f"{self._is}IfExists": self._ours}
        yield _allow("Launch", ["elasticmapreduce:RunJobFlow"], "*", **self._both(self._in_region, self._marked))
        marked = {self._is: self._marked, **if_exists}
        yield _allow("TagAtLaunch", ["elasticmapreduce:AddTags"], self._clusters, **marked)
        idle_timeout = ["elasticmapreduce:PutAutoTerminationPolicy"]
        yield _allow("IdleTimeoutAtLaunch", idle_timeout, self._clusters, **if_exists)
        for sid, roles, service in (
            ("PassServiceRole", self._given.service_roles, "elasticmapreduce"),
            ("PassInstanceRole", self._given.instance_roles, "ec2"),
            ("PassAutoScalingRole", self._given.autoscaling_roles, "application-autoscaling"),
        ):
            if roles:
                principal = f"{service}.{_SERVICE_SUFFIX.get(self._partition, 'amazonaws.com')}"
                yield _allow(sid, ["iam:PassRole"], list(roles), StringEquals={"iam:PassedToService": principal})

    def _own_clusters(self) -> Iterator[Statement]:
        """Allow changing clusters with the tag of one of these addresses."""
        roles = {}
        if self._given.execution_roles:
            roles = {"ArnEqualsIfExists": {"elasticmapreduce:ExecutionRoleArn": list(self._given.execution_roles)}}
        submit = ["elasticmapreduce:AddJobFlowSteps"]
        ours = {self._is: self._ours}
        yield _allow("SubmitSteps", submit, self._clusters, **ours, **roles)
        changes = ("CancelSteps", "SetTerminationProtection", "TerminateJobFlows")
        actions = [f"elasticmapreduce:{change}" for change in changes]
        yield _allow("EndStepsAndClusters", actions, self._clusters, **ours)
        # A retry that adopts a cluster or its steps tags it, and so does a failover that moves a service to it.
        keys = [TRY_TAG, ADOPTERS_TAG, *((SUCCESSOR_TAG, IN_CHARGE_TAG) if self._given.health else ())]
        only_these = {"ForAllValues:StringEquals": {"aws:TagKeys": keys}}
        yield _allow("Adopt", ["elasticmapreduce:AddTags"], self._clusters, **ours, **only_these)

    def _targets(self) -> Iterator[Statement]:
        """Allow changing the targets of these groups. Describe actions do not support resource-level permissions."""
        kinds = ("LoadBalancerAttributes", "LoadBalancers", "TargetGroupAttributes", "TargetGroups", "TargetHealth")
        look = [f"elasticloadbalancing:Describe{kind}" for kind in kinds]
        yield _allow("LookAtTargets", look, "*", StringEquals=self._in_region)
        changes = [f"elasticloadbalancing:{change}Targets" for change in ("Deregister", "Register")]
        yield _allow("ChangeTargets", changes, list(self._given.target_groups))

    def _drill(self) -> Iterator[Statement]:
        """
        Allow stopping the nodes of clusters with the tag of one of these addresses, and reading the quota.

        EMR gives a cluster's tags to its instances (EMR Management Guide, "Tag clusters").
        """
        yield _allow("LookAtInstanceTypes", ["ec2:DescribeInstanceTypes"], "*", StringEquals=self._in_region)
        quota = self._arn("servicequotas", f"ec2/{STANDARD_VCPUS}")
        yield _allow("LookAtQuota", ["servicequotas:GetServiceQuota"], quota)
        ours = {self._is: {f"aws:ResourceTag/{ALLOCATION_TAG}": self._names}}
        yield _allow("StopPrimary", ["ec2:TerminateInstances"], self._arn("ec2", "instance/*"), **ours)

    def _table(self, where: StoreUri) -> Iterator[Statement]:
        """Allow the records of these addresses. The allocation ID is the key of the item."""
        table = self._arn("dynamodb", f"table/{where.name}", region=where.region)
        ours = {f"ForAllValues:{self._is}": {"dynamodb:LeadingKeys": self._names}}
        yield _allow("LockRecords", ["dynamodb:GetItem", "dynamodb:PutItem"], table, **ours)
        check = ["dynamodb:DescribeTable", *(["dynamodb:CreateTable"] if where.create else [])]
        yield _allow("LockTable", check, table)

    def _bucket(self, where: StoreUri) -> Iterator[Statement]:
        """
        Allow the records of these addresses. Without ListBucket, S3 does not report that a record does not exist yet.

        HeadBucket has no prefix for a condition (S3 API Reference, HeadBucket).
        """
        bucket = f"arn:{self._partition}:s3:::{where.name}"
        prefix = f"{where.prefix}/" * bool(where.prefix)
        objects = [f"{bucket}/{prefix}{name}.json" for name in self._names]
        yield _allow("LockRecords", ["s3:GetObject", "s3:PutObject"], objects)
        yield _allow("LockBucket", ["s3:ListBucket"], bucket)

    def _logs(self, log_uri: str) -> Iterator[Statement]:
        """Allow reading the logs of steps."""
        name, prefix = split_log_uri(log_uri)
        bucket = f"arn:{self._partition}:s3:::{name}"
        objects = [f"{bucket}/{base}j-*/steps/*" for base in spellings(prefix)]
        yield _allow("StepLogs", ["s3:GetObject"], objects if len(objects) > 1 else objects[0])
        yield _allow("StepLogBucket", ["s3:ListBucket"], bucket)

    def _both(self, equals: dict[str, Any], named: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Combine two sets of conditions; the second set compares the IDs of addresses."""
        if self._is == "StringEquals":
            return {"StringEquals": {**equals, **named}}
        return {"StringEquals": equals, self._is: named}

    def _arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        return f"arn:{self._partition}:{service}:{region or self._given.region}:{self._given.account}:{resource}"


def _allow(sid: str, actions: list[str], resource: str | list[str], **conditions: dict[str, Any]) -> Statement:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
    return {**statement, "Condition": conditions} if conditions else statement


def check(given: Configuration) -> None:
    """
    Check a configuration. The account and the region may be empty if they are not known yet.

    :raises InvalidInputError: naming the part that is not valid.
    """
    _check_addresses(given)
    if given.account and not _ACCOUNT.fullmatch(given.account):
        raise _invalid(f"account {given.account!r}", "it is not an account ID", "give its 12 digits")
    if given.region:
        partition_of(given.region)
    if given.binding not in BINDINGS:
        raise _invalid(f"binding {given.binding!r}", "unknown choice", f"use one of {BINDINGS}")
    _check_gateways(given)
    _check_roles(given)
    for arn in given.target_groups:
        if not _TARGET_GROUP.fullmatch(arn):
            raise _invalid(
                f"target_groups {arn!r}", "it is not the ARN of a target group", "give the ARN that EC2's console shows"
            )
    if given.log_uri and not (
        given.log_uri.startswith(("s3://", "s3n://", "s3a://")) and split_log_uri(given.log_uri)[0]
    ):
        raise _invalid(f"log_uri {given.log_uri!r}", "it is not an S3 URI", "give the LogUri of the clusters")


def _check_addresses(given: Configuration) -> None:
    if not (given.allocation_ids or given.address_tags):
        raise _invalid("allocation_ids", "none is given", "give at least one Elastic IP, or a tag of Elastic IPs")
    for key, values in given.address_tags.items():
        if not key or not values or not all(values):
            raise _invalid(f"tag {key!r}", f"{list(values)!r} is not a value", "give a key and its value")
    for allocation_id in given.allocation_ids:
        check_allocation_id(allocation_id)


def _check_gateways(given: Configuration) -> None:
    if given.binding == "primary" and (given.public_subnets or given.route_tables):
        raise _invalid("public_subnets", "binding primary has none", "omit them, or use binding nat-gateway")
    if bool(given.public_subnets) != bool(given.route_tables):
        raise _invalid(
            "public_subnets and route_tables", "one is missing", "give both, or none of them for your own gateways"
        )
    for names, form in ((given.public_subnets, SUBNET_ID), (given.route_tables, ROUTE_TABLE_ID)):
        for name in names:
            if not form.fullmatch(name):
                raise _invalid(repr(name), "it is not such an ID", "give subnet-… and rtb-…")


def _check_roles(given: Configuration) -> None:
    if not given.service_roles or not given.instance_roles:
        raise _invalid("roles", "a cluster needs both", "give its service role and the role of its instance profile")
    for name in ("service_roles", "instance_roles", "autoscaling_roles", "execution_roles"):
        for arn in getattr(given, name):
            if not _ROLE.fullmatch(arn):
                raise _invalid(f"{name} {arn!r}", "it is not the ARN of a role", "give arn:aws:iam::ACCOUNT:role/NAME")


def _invalid(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"making a policy for {what}", problem=problem, remedy=remedy)
