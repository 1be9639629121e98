"""The plan of a drill: the primary, its standby, and how long the recovery may take."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.arguments import checked_job_flow_id, read_fallbacks, read_job_flow_overrides
from airflow_eip_provider.cli.scenario import minutes
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.checks import DEFAULT_CHECKS
from airflow_eip_provider.operators.elbv2 import checked_groups
from airflow_eip_provider.operators.preflight import check_allocation_id, check_waits
from airflow_eip_provider.rendered import check_choice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.health.checks import HttpCheck

INSTANCE, CLUSTER, BY_HAND = "instance", "cluster", "by-hand"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    The parameters of one drill. They are checked when the plan is created, without calling AWS.

    :param job_flow_id: the primary, which the drill stops.
    :param allocation_id: the Elastic IP that moves; ``None`` when there is none.
    :param standby_job_flow_id: the running standby; ``None`` for a cold standby.
    :param job_flow_overrides: RunJobFlow's parameters for a cold standby.
    :param fallbacks: alternatives for a cold standby, as for the operator.
    :param target_groups: names or ARNs, or mappings with a port.
    :param servers: resource ids of the Azure SQL servers whose firewall must admit the address.
    :param services: names of the services to check on primary nodes over HTTP; "none" for no check.
    :param stop: how the primary is stopped.
    :param fail_over: the drill itself does the failover.
    :param rto: how long the recovery may take.
    :param limit: how long to watch the recovery; twice ``rto`` by default.
    :raises InvalidInputError: when a parameter is wrong or missing.
    """

    job_flow_id: str
    allocation_id: str | None = None
    lock_store: str | None = None
    standby_job_flow_id: str | None = None
    job_flow_overrides: Mapping[str, Any] | None = None
    fallbacks: Sequence[Any] = ()
    target_groups: Sequence[Any] = ()
    servers: Sequence[str] = ()
    azure_conn_id: str = "azure_default"
    services: Sequence[str] = tuple(check.name for check in DEFAULT_CHECKS)
    stop: str = INSTANCE
    fail_over: bool = False
    rto: timedelta = timedelta(minutes=15)
    limit: timedelta | None = None
    poll_seconds: float = 10

    def __post_init__(self) -> None:
        if self.allocation_id is not None:
            check_allocation_id(self.allocation_id)
        check_waits(self.poll_seconds, 1)
        if self.rto <= timedelta(0):
            raise InvalidInputError("reading the RTO", problem="it is 0", remedy="give minutes, such as 15m")
        if self.limit is not None and self.limit < self.rto:
            remedy = "watch at least as long as the recovery may take"
            raise InvalidInputError("reading the limit", problem="it is shorter than the RTO", remedy=remedy)
        if (self.standby_job_flow_id is None) == (self.job_flow_overrides is None):
            raise InvalidInputError(
                "reading the standby",
                problem="one of --standby-job-flow-id and --job-flow-overrides is needed",
                remedy="give the running standby, or the parameters with which a standby is launched",
            )
        if self.standby_job_flow_id == self.job_flow_id:
            raise InvalidInputError("reading the standby", problem="it is the primary", remedy="give the other cluster")
        if self.servers and self.allocation_id is None:
            problem = "there is no Elastic IP that a server could admit"
            raise InvalidInputError("reading the servers", problem=problem, remedy="give the allocation ID")
        check_choice("stop", self.stop, (INSTANCE, CLUSTER, BY_HAND))
        _ = self.groups  # checks them

    @property
    def is_cold(self) -> bool:
        """Whether the standby has to be launched."""
        return self.standby_job_flow_id is None

    @functools.cached_property
    def groups(self) -> list[tuple[str, int | None]]:
        """The name or ARN of each target group, and the port if one is given."""
        return checked_groups(self.target_groups) if self.target_groups else []

    @property
    def http_checks(self) -> list[HttpCheck]:
        """The checks of the services."""
        return [check for check in DEFAULT_CHECKS if "none" not in self.services and check.name in self.services]

    @property
    def rto_seconds(self) -> int:
        """How long the recovery may take."""
        return int(self.rto.total_seconds())

    @property
    def limit_seconds(self) -> int:
        """How long to watch the recovery."""
        return int((self.limit or 2 * self.rto).total_seconds())

    def facts(self) -> dict[str, Any]:
        """Return the plan as plain JSON."""
        return {
            "job_flow_id": self.job_flow_id,
            "allocation_id": self.allocation_id,
            "lock_store": self.lock_store,
            "standby": "cold" if self.is_cold else "warm",
            "standby_job_flow_id": self.standby_job_flow_id,
            "target_groups": [name for name, _ in self.groups],
            "servers": list(self.servers),
            "services": [check.name for check in self.http_checks],
            "stop": self.stop,
            "failover_by": "this command" if self.fail_over else "the DAG that watches the primary",
            "rto_seconds": self.rto_seconds,
            "limit_seconds": self.limit_seconds,
        }

    def steps(self) -> list[str]:
        """Return what --execute does, in words."""
        how = {
            INSTANCE: "terminate its primary instance (ec2:TerminateInstances)",
            CLUSTER: "terminate it (elasticmapreduce:TerminateJobFlows)",
            BY_HAND: "wait until you have stopped it, or broken one of its services",
        }[self.stop]
        steps = ["repeat these checks, and stop here if one finds an error"]
        if self.allocation_id:
            steps.append(
                f"refuse if another owner has the lease of {self.allocation_id}, or if it is on something else"
            )
        steps.append(f"stop the primary {self.job_flow_id}: {how}")
        if self.fail_over:
            steps.append("watch its health, and fail over with EmrFailoverOperator")
        else:
            steps.append("observe the failover by the DAG that monitors the primary")
        goals = [f"has {self.allocation_id}"] if self.allocation_id else []
        if self.groups:
            goals.append(f"is healthy in {', '.join(name for name, _ in self.groups)}")
        if answers := _answers([check.name for check in self.http_checks]):
            goals.append(answers)
        standby = "the cluster that it launches" if self.is_cold else f"standby {self.standby_job_flow_id}"
        return [
            *steps,
            f"measure until {standby} {' and '.join(goals or ['is ready'])}",
            f"compare that with {minutes(self.rto)}; list the clusters that run then, and how to terminate them",
        ]


def plan_from_options(options: argparse.Namespace, lock_store: str | None) -> Plan:
    """
    Return the plan that the arguments describe, without calling AWS.

    :raises InvalidInputError: when an argument is wrong.
    """
    return Plan(
        job_flow_id=str(checked_job_flow_id(options.job_flow_id)),
        allocation_id=options.allocation_id,
        lock_store=lock_store if options.allocation_id else None,
        standby_job_flow_id=checked_job_flow_id(options.standby_job_flow_id),
        job_flow_overrides=read_job_flow_overrides(options),
        fallbacks=read_fallbacks(options),
        target_groups=options.target_group,
        servers=options.server,
        azure_conn_id=options.azure_conn_id,
        services=options.service or Plan.services,
        stop=options.stop,
        fail_over=options.fail_over,
        rto=options.rto,
        limit=options.limit,
        poll_seconds=options.poll,
    )


def _answers(names: list[str]) -> str:
    """Say that these HTTP checks of a cluster succeed; empty for none."""
    *others, last = names or [""]
    if others:
        return f"its {', '.join(others)} and {last} answer"
    return last and f"its {last} answers"
