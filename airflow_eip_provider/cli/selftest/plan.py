"""The plan of a self-test: what it does, and how long an instance runs at most."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.arguments import read_job_flow_overrides
from airflow_eip_provider.cli.scenario import minutes
from airflow_eip_provider.egress_probe import ECHO_URL, egress_probe_step
from airflow_eip_provider.exceptions import UsageError
from airflow_eip_provider.operators.preflight import check_allocation_id, check_waits
from airflow_eip_provider.preflight.node_pools import node_counts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

# EMR terminates the cluster when it has been idle for this long: for a process that is killed and cannot clean up.
IDLE_TIMEOUT = timedelta(minutes=15)
# How long to watch a terminated instance that may still have the address.
DROP_LIMIT = timedelta(minutes=10)
# In addition to the limits: polls for what AWS may show late, and for a failed step's logs.
_MARGIN = timedelta(minutes=10)
_SUBNET_ID = re.compile(r"subnet-[0-9a-f]+")
_LOG_URI = re.compile(r"s3[an]?://[a-z0-9][a-z0-9.-]+(/\S*)?")


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One self-test.

    :param job_flow: RunJobFlow's parameters, before the operator adds its tags and the idle timeout.
    :param probe: the parameters of ``egress_probe_step`` other than the public address.
    :param limit: how long each of start, probe and end may take.
    :param measure_drop: leave the address on the instance until EC2 removes it.
    """

    allocation_id: str
    lock_store: str | None
    job_flow: Mapping[str, Any]
    probe: Mapping[str, Any]
    limit: timedelta
    poll_seconds: float
    measure_drop: bool

    @property
    def attempts(self) -> int:
        """How many polls fit into the limit."""
        return max(1, math.ceil(self.limit.total_seconds() / self.poll_seconds))

    @property
    def instances(self) -> int:
        """How many instances the cluster has."""
        return sum(node_counts(self.job_flow.get("Instances", {})))

    @property
    def probe_targets(self) -> list[str]:
        """The servers and the page that the probe connects to."""
        return [*self.probe["servers"], *filter(None, [self.probe["echo_url"]])]

    @property
    def most_instance_seconds(self) -> int:
        """The highest cost of a run that is not killed with SIGKILL."""
        return int(self._longest.total_seconds()) * self.instances

    @property
    def _longest(self) -> timedelta:
        return 3 * self.limit + _MARGIN + (DROP_LIMIT if self.measure_drop else timedelta(0))

    def facts(self) -> dict[str, Any]:
        """Return the plan as plain JSON."""
        return {
            "allocation_id": self.allocation_id,
            "lock_store": self.lock_store,
            "steps": list(self._steps()),
            "job_flow": dict(self.job_flow),
            "probe": dict(self.probe),
            "limit_seconds": int(self.limit.total_seconds()),
            "highest_cost": {
                "instances": self.instances,
                "instance_seconds": self.most_instance_seconds,
                "instance_hours": round(self.most_instance_seconds / 3600, 2),
                "idle_timeout_seconds": int(IDLE_TIMEOUT.total_seconds()),
            },
        }

    def lines(self) -> Iterator[str]:
        """Return the plan for people."""
        yield from (f"{number}. {step}" for number, step in enumerate(self._steps(), 1))
        yield ""
        yield (
            f"Highest cost: {minutes(self._longest)} of {_described_instances(self.job_flow)}: "
            f"{minutes(self.limit)} each for start, probe and end, {minutes(_MARGIN)} for delayed answers of AWS"
            + (f", {minutes(DROP_LIMIT)} for --measure-drop." if self.measure_drop else ".")
        )
        yield (
            "A usual run takes a fraction of that. If this process is killed with SIGKILL, EMR terminates the cluster "
            f"when it has been idle for {minutes(IDLE_TIMEOUT)}."
        )

    def _steps(self) -> Iterator[str]:
        given, instances = self.job_flow, self.job_flow["Instances"]
        yield "run the doctor's checks; stop here if one finds an error, or if the address or its lease is in use"
        if self.lock_store:
            yield f"take the lease of {self.allocation_id} in {self.lock_store}, as a task does"
        types = ", ".join(str(group.get("InstanceType")) for group in instances.get("InstanceGroups", ()))
        yield (
            f"launch cluster '{given.get('Name')}': {given.get('ReleaseLabel')}, {self.instances} x {types}, subnet "
            f"{instances.get('Ec2SubnetId')}"
        )
        yield f"associate {self.allocation_id} with its primary node"
        yield f"run the egress probe as a step; it connects to {', '.join(self.probe_targets)}"
        if self.measure_drop:
            yield "terminate the cluster, and watch until EC2 removes the address"
        yield "terminate the cluster, free the address" + (", release the lease" if self.lock_store else "")
        yield "check in AWS that nothing is left, and print the result"


def plan_from_options(options: argparse.Namespace, lock_store: str | None) -> Plan:
    """
    Return the plan that the arguments describe, without calling AWS.

    :raises InvalidInputError: when an argument is wrong.
    """
    check_allocation_id(options.allocation_id)
    check_waits(options.poll, 1)
    for option, value, pattern, remedy in (
        ("--subnet-id", options.subnet_id, _SUBNET_ID, "give the ID that EC2 shows, subnet-..."),
        ("--log-uri", options.log_uri, _LOG_URI, "give a place such as s3://BUCKET/PREFIX/"),
    ):
        if value is not None and not pattern.fullmatch(value):
            raise UsageError(f"reading {option}", problem=f"it is {value!r}", remedy=remedy)
    if options.timeout <= timedelta(0):
        raise UsageError("reading --timeout", problem="it is 0", remedy="give minutes, such as 30m")
    probe: dict[str, Any] = {"servers": list(options.server), "echo_url": options.echo_url or ECHO_URL}
    egress_probe_step(public_ip="203.0.113.1", **probe)  # checks the parameters
    return Plan(
        allocation_id=options.allocation_id,
        lock_store=lock_store,
        job_flow=_job_flow(options),
        probe=probe,
        limit=options.timeout,
        poll_seconds=options.poll,
        measure_drop=options.measure_drop,
    )


def _job_flow(options: argparse.Namespace) -> dict[str, Any]:
    """Return the smallest cluster that can run the probe, with the user's overrides."""
    primary = {"InstanceRole": "MASTER", "InstanceType": options.instance_type, "InstanceCount": 1}
    smallest: dict[str, Any] = {
        "Name": "airflow-eip-selftest",
        "ReleaseLabel": options.release_label,
        "Applications": [{"Name": "Hadoop"}],
        "ServiceRole": options.service_role,
        "JobFlowRole": options.instance_profile,
        **({"LogUri": options.log_uri} if options.log_uri else {}),
    }
    instances = {"InstanceGroups": [primary], "Ec2SubnetId": options.subnet_id, "KeepJobFlowAliveWhenNoSteps": True}
    given = read_job_flow_overrides(options) or {}
    if not isinstance(given.get("Instances", {}), dict):
        doing = f"reading --job-flow-overrides '{options.job_flow_overrides}'"
        raise UsageError(doing, problem="Instances is not a JSON object", remedy="give RunJobFlow's parameters")
    return {**smallest, **given, "Instances": {**instances, **given.get("Instances", {})}}


def _described_instances(job_flow: Mapping[str, Any]) -> str:
    """Name the instances of the cluster by number and type."""
    given = job_flow["Instances"]
    groups = given.get("InstanceGroups") or []
    types = {group.get("InstanceType") for group in groups} or {given.get("MasterInstanceType")}
    number = sum(node_counts(given))
    kind = types.pop() if len(types) == 1 else None
    return f"{'one' if number == 1 else number} {kind or ('instance' if number == 1 else 'instances')}"
