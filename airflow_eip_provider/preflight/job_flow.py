"""Checks of what RunJobFlow is to be sent; none of them calls AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.validate import ParamValidator

from airflow_eip_provider.aws.tags import MOST_CLUSTER_TAGS
from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.releases import auto_termination, release_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from airflow_eip_provider.preflight.setup import Setup

_SUBJECT = "job_flow_overrides"
_MOST_TAGS = 50  # of a cluster (EMR Management Guide, "Tag restrictions"); tags that begin with "aws:" do not count
# What is read to count the nodes of a cluster.
_SIZES = (
    "Instances.InstanceCount",
    "Instances.InstanceGroups.InstanceRole",
    "Instances.InstanceGroups.InstanceCount",
    "Instances.InstanceFleets.InstanceFleetType",
    "Instances.InstanceFleets.TargetOnDemandCapacity",
    "Instances.InstanceFleets.TargetSpotCapacity",
)


def _shape(setup: Setup) -> Iterator[Finding]:
    """Compare names and types with botocore's model of EMR."""
    config = dict(setup.job_flow or {})
    if not isinstance(config.get("Instances"), dict):
        yield error(
            _SUBJECT,
            what="'Instances' is missing (or no mapping), in the overrides and in the EMR connection",
            why="EMR launches nothing without",
            mend="describe the cluster's instances, its subnet and KeepJobFlowAliveWhenNoSteps there",
        )
        return
    shape = setup.emr.conn.meta.service_model.operation_model("RunJobFlow").input_shape
    report = ParamValidator().validate(config, shape)
    if report.has_errors():
        problems = " ".join(report.generate_report().split())
        yield error(
            _SUBJECT,
            what=problems,
            why="it is not what RunJobFlow takes",
            mend=f"use the names and types of boto3's run_job_flow{_by_rendering(problems)}",
        )


def _by_rendering(problems: str) -> str:
    """Name the option of a DAG by which a template gets the wrong type."""
    if "type: <class 'str'>" in problems:
        return (
            "; a template renders to text, unless the DAG has render_template_as_native_obj=True: set it there if a "
            "template is to become a number, or give the number itself"
        )
    if "valid types: <class 'str'>" in problems:
        return (
            "; with render_template_as_native_obj=True of the DAG a text of digits becomes a number: write it so that "
            "it stays a text, such as \"'20260101'\", or leave that option out"
        )
    return ""


def _missing(setup: Setup) -> str | None:
    return "no parameters of a cluster are given" if setup.job_flow is None else None


def _shape_missing(setup: Setup) -> str | None:
    return setup.template_at("Instances") if "Instances" in setup.templated else _missing(setup)


SHAPE = Check(
    "job-flow", "the cluster's parameters have the names and types of RunJobFlow", _shape, missing=_shape_missing
)


def _lifetime(setup: Setup) -> Iterator[Finding]:
    if (setup.job_flow or {}).get("Steps"):
        yield error(
            _SUBJECT,
            what="there are 'Steps' in them",
            why="they would start before the address is bound, unwatched",
            mend="move them into EmrAddStepsWithStaticIpOperator",
        )
    if not setup.instances.get("KeepJobFlowAliveWhenNoSteps") and not setup.accept_self_termination:
        yield error(
            _SUBJECT,
            what="Instances.KeepJobFlowAliveWhenNoSteps is not true (EMR's default is false)",
            why="the cluster may end before its first step arrives",
            mend="set it to true, or accept that: accept_self_termination=True (--accept-self-termination)",
        )


LIFETIME = Check(
    "lifetime",
    "the cluster waits for its steps",
    _lifetime,
    needs=(SHAPE,),
    reads=("Instances.KeepJobFlowAliveWhenNoSteps", "Steps"),
    missing=_missing,
)


def _idle_termination(setup: Setup) -> Iterator[Finding]:
    """Tell what EMR's release cannot do when nobody ends the cluster."""
    job_flow = setup.job_flow or {}
    asked = bool(job_flow.get("AutoTerminationPolicy"))
    if not asked and not setup.ends_idle:
        return
    support, release = auto_termination(job_flow), release_name(job_flow)
    newer = "use release 5.34.0 or later, or 6.4.0 or later"
    if support == "none" and asked:
        yield error(
            _SUBJECT,
            what=f"there is an AutoTerminationPolicy, and {release} has none",
            why="EMR refuses the launch",
            mend=f"leave it out, or {newer}",
        )
    elif support == "none":
        yield warning(
            _SUBJECT,
            what=f"{release} has no AutoTerminationPolicy, so none is sent",
            why="after a crash without a retry EMR does not end the idle cluster; what remains is the teardown, the "
            "next owner in the queue of a lock store, and 'airflow-eip reap'",
            mend=f"run the reaper (dags/eip_reaper.py) or {newer}; idle_timeout=None says that this is known",
        )
    elif support == "yarn only":
        yield warning(
            _SUBJECT,
            what=f"with {release} a cluster counts as idle while neither a YARN application nor a Spark job is active",
            why="EMR ends it after the idle timeout in the middle of a step that is neither, such as a long download",
            mend=f"raise idle_timeout above the longest such step, set it to None, or {newer}",
        )


IDLE_TERMINATION = Check(
    "idle",
    "EMR ends the cluster when it is idle",
    _idle_termination,
    needs=(SHAPE,),
    reads=("ReleaseLabel", "AmiVersion", "AutoTerminationPolicy"),
    missing=_missing,
)


def _tags(setup: Setup) -> Iterator[Finding]:
    given = [tag.get("Key", "") for tag in (setup.job_flow or {}).get("Tags") or ()]
    if reserved := [key for key in given if key.lower().startswith("aws:")]:
        yield error(
            _SUBJECT,
            what=f"Tags has {', '.join(map(repr, reserved))}",
            why="keys that begin with 'aws:' are AWS's own, and EMR refuses the launch",
            mend="rename them",
        )
    if len(given) + MOST_CLUSTER_TAGS > _MOST_TAGS:
        yield error(
            _SUBJECT,
            what=f"Tags has {len(given)} tags, and this provider adds up to {MOST_CLUSTER_TAGS}",
            why=f"EMR takes {_MOST_TAGS} tags of a cluster, and refuses the launch",
            mend=f"give {_MOST_TAGS - MOST_CLUSTER_TAGS} at most",
        )


TAGS = Check("tags", "EMR takes the cluster's tags", _tags, needs=(SHAPE,), reads=("Tags.Key",), missing=_missing)


def node_counts(instances: Mapping[str, Any]) -> tuple[int, int]:
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


def _one_primary(setup: Setup) -> Iterator[Finding]:
    primaries, _ = node_counts(setup.instances)
    if primaries != 1:
        yield error(
            _SUBJECT,
            what=f"they ask for {primaries} primary nodes",
            why="these replace each other, and an address cannot follow",
            mend="ask for exactly one MASTER instance",
        )


ONE_PRIMARY = Check(
    "primary", "there is one primary node", _one_primary, needs=(SHAPE,), reads=_SIZES, missing=_missing
)


def _topology(setup: Setup) -> Iterator[Finding]:
    _, others = node_counts(setup.instances)
    if not others or setup.on_multi_node == "allow":
        return
    finding = error if setup.on_multi_node == "fail" else warning
    yield finding(
        _SUBJECT,
        what=f"they ask for {others} core or task nodes besides the primary",
        why="Spark reads on executors there, which leave from other addresses than the Elastic IP",
        mend="use a single-node cluster (one MASTER, nothing else); or on_multi_node='allow' (--on-multi-node allow) "
        "when only the driver reads; or binding=NatGateway(...) (--binding nat-gateway), with which every node leaves "
        "from the Elastic IP",
    )


TOPOLOGY = Check(
    "topology", "every node that reads has the address", _topology, needs=(SHAPE,), reads=_SIZES, missing=_missing
)
