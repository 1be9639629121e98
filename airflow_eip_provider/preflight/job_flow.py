"""Checks of the parameters of RunJobFlow. They do not call AWS."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.parameters import parameter_problems
from airflow_eip_provider.aws.tags import KEEP_TAG, MOST_CLUSTER_TAGS, OWN_PREFIX
from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.node_pools import node_counts
from airflow_eip_provider.releases import auto_termination, release_name, release_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_eip_provider.preflight.setup import Setup

_SUBJECT = "job_flow_overrides"
_MOST_TAGS = 50  # of a cluster (EMR Management Guide, "Tag restrictions"); tags that begin with "aws:" do not count
_IDLE_SECONDS = range(60, 604_801)  # EMR API Reference, AutoTerminationPolicy
# The three ways to describe the nodes; a cluster has exactly one (EMR API Reference, JobFlowInstancesConfig).
_WAYS = {
    "InstanceGroups": ("InstanceGroups",),
    "InstanceFleets": ("InstanceFleets",),
    "MasterInstanceType": ("MasterInstanceType", "SlaveInstanceType", "InstanceCount"),
}
# The parameters that determine the number of nodes.
_SIZES = (
    "Instances.InstanceCount",
    "Instances.InstanceGroups.InstanceRole",
    "Instances.InstanceGroups.InstanceCount",
    "Instances.InstanceFleets.InstanceFleetType",
    "Instances.InstanceFleets.TargetOnDemandCapacity",
    "Instances.InstanceFleets.TargetSpotCapacity",
)


def _no_job_flow(setup: Setup) -> str | None:
    return "no parameters of a cluster are given" if setup.job_flow is None else None


@partial(
    Check,
    "job-flow",
    "the cluster's parameters have the names and types of RunJobFlow",
    missing=lambda setup: setup.template_at("Instances") if "Instances" in setup.templated else _no_job_flow(setup),
)
def shape(setup: Setup) -> Iterator[Finding]:
    """Compare names and types with botocore's model of EMR."""
    config = dict(setup.job_flow or {})
    if not isinstance(config.get("Instances"), dict):
        yield error(
            _SUBJECT,
            what="'Instances' is missing (or not a mapping) in the overrides and in the EMR connection",
            why="EMR cannot launch a cluster without it",
            remedy="describe the cluster's instances, its subnet and KeepJobFlowAliveWhenNoSteps there",
        )
        return
    model = setup.emr.conn.meta.service_model.operation_model("RunJobFlow").input_shape
    if problems := parameter_problems(config, model):
        yield error(
            _SUBJECT,
            what=problems,
            why="RunJobFlow does not accept it",
            remedy=f"use the names and types of boto3's run_job_flow{_rendering_hint(problems)}",
        )


def _rendering_hint(problems: str) -> str:
    """Return which option of a DAG may have given a template the wrong type."""
    if "type: <class 'str'>" in problems:
        return (
            "; templates render to text, unless the DAG has render_template_as_native_obj=True: set it if a template "
            "must become a number, or give the number itself"
        )
    if "valid types: <class 'str'>" in problems:
        return (
            "; with render_template_as_native_obj=True of the DAG, text that consists of digits becomes a number: "
            "write it so that it stays text, such as \"'20260101'\", or do not set that option"
        )
    return ""


@partial(Check, "values", "EMR accepts the values of the cluster's parameters", needs=(shape,), missing=_no_job_flow)
def values(setup: Setup) -> Iterator[Finding]:
    """Find values that RunJobFlow refuses, which would be known only after the wait for the address."""
    job_flow = setup.job_flow or {}
    for what, remedy in (*_placement_problems(setup), *_value_problems(job_flow)):
        yield error(_SUBJECT, what=what, why="EMR refuses the launch", remedy=remedy)


def _placement_problems(setup: Setup) -> Iterator[tuple[str, str]]:
    instances = setup.instances
    ways = [way for way, names in _WAYS.items() if any(instances.get(name) for name in names)]
    places = [f"Instances.{name}" for names in _WAYS.values() for name in names]
    if len(ways) > 1 or (not ways and setup.template_at(*places) is None):
        found = f"they describe the nodes by {' and '.join(ways)}" if ways else "they describe no nodes"
        yield found, "give exactly one of InstanceGroups, InstanceFleets, or MasterInstanceType with InstanceCount"
    one, several = instances.get("Ec2SubnetId"), instances.get("Ec2SubnetIds") or ()
    if any(isinstance(name, str) and not name.strip() for name in (one, *several)):
        yield "a subnet ID in Instances is empty", "give the ID of a subnet, and see that its template renders to one"
    if one and several:
        yield "both Ec2SubnetId and Ec2SubnetIds are given", "give one of them"
    if len(several) > 1 and ways and "InstanceFleets" not in ways:
        yield f"Ec2SubnetIds has {len(several)} subnets", "give one subnet, or use InstanceFleets; or give fallbacks"


def _value_problems(job_flow: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if (problem := release_problem(job_flow)) is not None:
        yield problem, "give a release as ReleaseLabel, such as 'emr-7.5.0'"
    idle = (job_flow.get("AutoTerminationPolicy") or {}).get("IdleTimeout")
    if idle is not None and idle not in _IDLE_SECONDS:
        yield f"AutoTerminationPolicy.IdleTimeout is {idle}", "give seconds from 60 to 604800, which are seven days"
    for number, action in enumerate(job_flow.get("BootstrapActions") or ()):
        path = action.get("ScriptBootstrapAction", {}).get("Path")
        if isinstance(path, str) and not path.strip():
            yield (
                f"BootstrapActions[{number}] has an empty Path",
                "give the script's place, such as s3://BUCKET/NAME.sh",
            )


@partial(
    Check,
    "lifetime",
    "the cluster waits for its steps",
    needs=(shape,),
    reads=("Instances.KeepJobFlowAliveWhenNoSteps", "Steps"),
    missing=_no_job_flow,
)
def lifetime(setup: Setup) -> Iterator[Finding]:
    if (setup.job_flow or {}).get("Steps"):
        yield error(
            _SUBJECT,
            what="they contain 'Steps'",
            why="these would start before the address is associated, and without supervision",
            remedy="move them into EmrAddStepsWithStaticIpOperator",
        )
    if not setup.instances.get("KeepJobFlowAliveWhenNoSteps") and not setup.accept_self_termination:
        yield error(
            _SUBJECT,
            what="Instances.KeepJobFlowAliveWhenNoSteps is not true (EMR's default is false)",
            why="the cluster may end before its first step arrives",
            remedy="set it to true, or accept that: accept_self_termination=True (--accept-self-termination)",
        )


@partial(
    Check,
    "idle",
    "EMR terminates the cluster when it is idle",
    needs=(shape,),
    reads=("ReleaseLabel", "AmiVersion", "AutoTerminationPolicy"),
    missing=_no_job_flow,
)
def idle_termination(setup: Setup) -> Iterator[Finding]:
    """Compare the idle timeout with what the EMR release supports."""
    job_flow = setup.job_flow or {}
    has_policy = bool(job_flow.get("AutoTerminationPolicy"))
    if not has_policy and not setup.ends_idle:
        return
    support, release = auto_termination(job_flow), release_name(job_flow)
    newer = "use release 5.34.0 or later, or 6.4.0 or later"
    if support == "none" and has_policy:
        yield error(
            _SUBJECT,
            what=f"they have an AutoTerminationPolicy, which {release} does not support",
            why="EMR refuses the launch",
            remedy=f"remove it, or {newer}",
        )
    elif support == "none":
        yield warning(
            _SUBJECT,
            what=f"{release} does not support AutoTerminationPolicy, so none is sent",
            why="after a crash without a retry EMR does not terminate the idle cluster; only the teardown, the next "
            "owner in the queue of a lock store, or 'airflow-eip reap' does",
            remedy=f"run the reaper (dags/eip_reaper.py) or {newer}; idle_timeout=None turns this warning off",
        )
    elif support == "yarn only":
        yield warning(
            _SUBJECT,
            what=f"with {release} a cluster counts as idle while neither a YARN application nor a Spark job is active",
            why="after the idle timeout EMR terminates it in the middle of any other step, such as a long download",
            remedy=f"raise idle_timeout above the duration of such steps, set it to None, or {newer}",
        )


@partial(Check, "tags", "EMR accepts the cluster's tags", needs=(shape,), reads=("Tags.Key",), missing=_no_job_flow)
def tags(setup: Setup) -> Iterator[Finding]:
    keys = [tag.get("Key", "") for tag in (setup.job_flow or {}).get("Tags") or ()]
    if reserved := [key for key in keys if key.lower().startswith("aws:")]:
        yield error(
            _SUBJECT,
            what=f"Tags has {', '.join(map(repr, reserved))}",
            why="keys that begin with 'aws:' are reserved for AWS, and EMR refuses the launch",
            remedy="rename them",
        )
    if own := [key for key in keys if key.startswith(OWN_PREFIX) and key != KEEP_TAG]:
        yield error(
            _SUBJECT,
            what=f"Tags has {', '.join(map(repr, own))}",
            why=f"this provider finds its clusters by the tags that begin with '{OWN_PREFIX}', and sets them itself",
            remedy=f"leave them out; only '{KEEP_TAG}' is for you to set",
        )
    if repeated := sorted({key for key in keys if key and keys.count(key) > 1}):
        yield error(
            _SUBJECT,
            what=f"Tags has {', '.join(map(repr, repeated))} more than once",
            why="a cluster has one value of a tag",
            remedy="give each key once",
        )
    if "" in keys:
        yield error(
            _SUBJECT,
            what="a tag has no Key, or an empty one",
            why="EMR refuses the launch",
            remedy='write {"Key": …, "Value": …}',
        )
    if len(keys) + MOST_CLUSTER_TAGS > _MOST_TAGS:
        yield error(
            _SUBJECT,
            what=f"Tags has {len(keys)} tags, and this provider adds up to {MOST_CLUSTER_TAGS}",
            why=f"EMR refuses clusters with more than {_MOST_TAGS} tags",
            remedy=f"give at most {_MOST_TAGS - MOST_CLUSTER_TAGS}",
        )


@partial(Check, "primary", "there is one primary node", needs=(shape,), reads=_SIZES, missing=_no_job_flow)
def one_primary(setup: Setup) -> Iterator[Finding]:
    primaries, _ = node_counts(setup.instances)
    if primaries != 1:
        yield error(
            _SUBJECT,
            what=f"they ask for {primaries} primary nodes",
            why="these replace each other, and the address cannot follow",
            remedy="ask for exactly one MASTER instance",
        )


@partial(Check, "topology", "every node that reads has the address", needs=(shape,), reads=_SIZES, missing=_no_job_flow)
def topology(setup: Setup) -> Iterator[Finding]:
    _, others = node_counts(setup.instances)
    if not others or setup.on_multi_node == "allow":
        return
    finding = error if setup.on_multi_node == "fail" else warning
    yield finding(
        _SUBJECT,
        what=f"they ask for {others} core or task nodes besides the primary",
        why="Spark reads on executors there, and their connections do not use the Elastic IP",
        remedy="use a single-node cluster (one MASTER, nothing else); or on_multi_node='allow' (--on-multi-node allow) "
        "if only the driver reads; or binding=NatGateway(...) (--binding nat-gateway), with which every node uses the "
        "Elastic IP",
    )
