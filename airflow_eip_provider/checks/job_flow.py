"""Checks of what RunJobFlow is to be sent; none of them calls AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.validate import ParamValidator

from airflow_eip_provider.checks.finding import Check, Finding, error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from airflow_eip_provider.checks.setup import Setup

_SUBJECT = "job_flow_overrides"


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
        yield error(
            _SUBJECT,
            what=" ".join(report.generate_report().split()),
            why="it is not what RunJobFlow takes",
            mend="use the names and types of boto3's run_job_flow",
        )


def _missing(setup: Setup) -> str | None:
    return "no parameters of a cluster are given" if setup.job_flow is None else None


SHAPE = Check("job-flow", "the cluster's parameters have the names and types of RunJobFlow", _shape, missing=_missing)


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


LIFETIME = Check("lifetime", "the cluster waits for its steps", _lifetime, needs=(SHAPE,), missing=_missing)


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


ONE_PRIMARY = Check("primary", "there is one primary node", _one_primary, needs=(SHAPE,), missing=_missing)


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


TOPOLOGY = Check("topology", "every node that reads has the address", _topology, needs=(SHAPE,), missing=_missing)
