"""What a drill is about: the primary, what stands by for it, and how long the recovery may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow_eip_provider.cli.address import checked_job_flow_id
from airflow_eip_provider.cli.usage import read_json_file
from airflow_eip_provider.exceptions import InvalidInputError, UsageError
from airflow_eip_provider.health.checks import DEFAULT_CHECKS
from airflow_eip_provider.operators.elbv2 import checked_groups
from airflow_eip_provider.operators.preflight import check_allocation_id, check_waits

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.health.checks import HttpCheck

Stop: TypeAlias = Literal["instance", "cluster", "by-hand"]
INSTANCE, CLUSTER, BY_HAND = "instance", "cluster", "by-hand"
STOPS = (INSTANCE, CLUSTER, BY_HAND)
SERVICES = {check.name: check for check in DEFAULT_CHECKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    One drill.

    :param job_flow_id: the primary, which is to be stopped.
    :param allocation_id: the Elastic IP that moves; ``None`` when there is none.
    :param standby_id: the cluster that runs already; ``None`` for a cold standby.
    :param job_flow: of a cold standby, RunJobFlow's parameters; ``fallbacks`` what is launched instead.
    :param target_groups: names or ARNs, each with its port if one is given.
    :param servers: resource ids of the Azure SQL servers whose firewall has to admit the address.
    :param services: what is asked of primary nodes over HTTP.
    :param stop: how the primary is stopped.
    :param fails_over: the drill does the failover itself.
    :param rto: how long the recovery may take.
    :param limit: for how long the recovery is watched.
    """

    job_flow_id: str
    allocation_id: str | None
    lock_store: str | None
    standby_id: str | None
    job_flow: Mapping[str, Any] | None
    fallbacks: Sequence[Any]
    target_groups: Sequence[tuple[str, int | None]]
    servers: Sequence[str]
    azure_conn_id: str
    services: Sequence[HttpCheck]
    stop: Stop
    fails_over: bool
    rto: timedelta
    limit: timedelta
    poll_seconds: float

    @property
    def is_cold(self) -> bool:
        """Whether the standby has to be launched."""
        return self.standby_id is None

    def facts(self) -> dict[str, Any]:
        """Return the plan as plain JSON."""
        return {
            "job_flow_id": self.job_flow_id,
            "allocation_id": self.allocation_id,
            "lock_store": self.lock_store,
            "standby": "cold" if self.is_cold else "warm",
            "standby_job_flow_id": self.standby_id,
            "target_groups": [name for name, _ in self.target_groups],
            "servers": list(self.servers),
            "services": [check.name for check in self.services],
            "stop": self.stop,
            "failover_by": "this command" if self.fails_over else "the DAG that watches the primary",
            "rto_seconds": int(self.rto.total_seconds()),
            "limit_seconds": int(self.limit.total_seconds()),
        }

    def steps(self) -> list[str]:
        """Return what --execute does, in words."""
        how = {
            INSTANCE: "terminate its primary instance (ec2:TerminateInstances)",
            CLUSTER: "terminate it (elasticmapreduce:TerminateJobFlows)",
            BY_HAND: "wait until you have stopped it, or broken one of its services",
        }[self.stop]
        found: list[str] = ["make these checks again, and stop here if one finds an error"]
        if self.allocation_id:
            found.append(f"refuse if another owner has the lease of {self.allocation_id}, or something else carries it")
        found.append(f"stop the primary {self.job_flow_id}: {how}")
        if self.fails_over:
            found.append("watch its health, and fail over with EmrFailoverOperator")
        else:
            found.append("watch what the DAG that watches the primary does")
        standby = "the cluster that it launches" if self.is_cold else f"standby {self.standby_id}"
        groups = ", ".join(name for name, _ in self.target_groups)
        found.append(
            f"measure until {standby} "
            + " and ".join(
                [
                    *([f"carries {self.allocation_id}"] if self.allocation_id else []),
                    *([f"is healthy in {groups}"] if groups else []),
                    *([f"answers for {', '.join(check.name for check in self.services)}"] if self.services else []),
                ]
                or ["is ready"]
            )
        )
        found.append(f"compare that with {_minutes(self.rto)}; say which clusters run then, and how to end them")
        return found


def planned(options: argparse.Namespace, lock_store: str | None) -> Plan:
    """
    Return what the arguments ask for; AWS is not asked.

    :raises InvalidInputError: for what is wrong with them.
    """
    if options.fallbacks is not None and options.job_flow_overrides is None:
        raise UsageError(
            "reading --fallbacks", problem="there is no cluster that they change", remedy="give --job-flow-overrides"
        )
    job_flow: dict[str, Any] | None = None
    if options.job_flow_overrides:
        wanted = "RunJobFlow's parameters"
        job_flow = read_json_file("--job-flow-overrides", options.job_flow_overrides, dict, wanted=wanted)
    fallbacks: list[Any] = []
    if options.fallbacks:
        fallbacks = read_json_file("--fallbacks", options.fallbacks, list, wanted="what each fallback changes")
    return checked_plan(
        job_flow_id=str(checked_job_flow_id(options.job_flow_id)),
        allocation_id=options.allocation_id,
        lock_store=lock_store,
        standby_id=checked_job_flow_id(options.standby_job_flow_id),
        job_flow=job_flow,
        fallbacks=fallbacks,
        target_groups=options.target_group,
        servers=options.server,
        azure_conn_id=options.azure_conn_id,
        services=options.service or list(SERVICES),
        stop=options.stop,
        fails_over=options.fail_over,
        rto=options.rto,
        limit=options.limit,
        poll_seconds=options.poll,
    )


def checked_plan(
    *,
    allocation_id: str | None,
    lock_store: str | None,
    target_groups: Sequence[Any],
    services: Sequence[str],
    rto: timedelta,
    limit: timedelta | None,
    poll_seconds: float,
    **given: Any,
) -> Plan:
    """
    Return a plan that is complete in itself; AWS is not asked.

    :param target_groups: names, ARNs, or mappings with a port.
    :param services: names of ``SERVICES``, or "none".
    :param given: the other parameters of a plan.
    :raises InvalidInputError: for what is wrong or missing.
    """
    if allocation_id is not None:
        check_allocation_id(allocation_id)
    check_waits(poll_seconds, 1)
    if rto <= timedelta(0):
        raise InvalidInputError("reading the RTO", problem="it is 0", remedy="give minutes, such as 15m")
    if limit is not None and limit < rto:
        remedy = "watch at least for as long as the recovery may take"
        raise InvalidInputError("reading the limit", problem="it is shorter than the RTO", remedy=remedy)
    if (given["standby_id"] is None) == (given["job_flow"] is None):
        raise InvalidInputError(
            "reading the standby",
            problem="one of --standby-job-flow-id and --job-flow-overrides is needed",
            remedy="name the cluster that stands by, or what is launched then",
        )
    if given["standby_id"] == given["job_flow_id"]:
        raise InvalidInputError("reading the standby", problem="it is the primary", remedy="name the other cluster")
    if given["servers"] and allocation_id is None:
        problem = "no Elastic IP is named that a server could admit"
        raise InvalidInputError("reading the servers", problem=problem, remedy="give the allocation ID")
    return Plan(
        allocation_id=allocation_id,
        lock_store=lock_store if allocation_id else None,
        target_groups=checked_groups(target_groups) if target_groups else [],
        services=_services(services),
        rto=rto,
        limit=limit or 2 * rto,
        poll_seconds=poll_seconds,
        **given,
    )


def _services(named: Sequence[str]) -> list[HttpCheck]:
    """Return the checks of these services; none for "none"."""
    return [] if "none" in named else [check for name, check in SERVICES.items() if name in named]


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:g} min"
