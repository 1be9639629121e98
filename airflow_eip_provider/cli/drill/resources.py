"""The AWS resources of a drill: the primary, its address, the standby and the target groups; each is read once."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.addresses import read_instance, read_primaries
from airflow_eip_provider.aws.clusters import read_primary_instance_id
from airflow_eip_provider.aws.load_balancers import read_target_group
from airflow_eip_provider.cli.scenario import other_lease
from airflow_eip_provider.health.http import HttpChecker
from airflow_eip_provider.triggers.observed import Observed

if TYPE_CHECKING:
    from airflow_eip_provider.aws.addresses import Address, Holder, Instance
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.aws.load_balancers import TargetGroup
    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.health.judgement import Result
    from airflow_eip_provider.lease.observation import Observation


class Resources:
    """
    Reads AWS and the lock store; changes nothing.

    IAM, beyond what the operators need: ec2:DescribeInstanceTypes, servicequotas:GetServiceQuota, and
    ec2:TerminateInstances to stop the primary.
    """

    def __init__(self, session: Session, plan: Plan) -> None:
        self.plan = plan
        self.hooks = session.hooks
        self.region = session.region
        self.ec2, self.emr = session.hooks.eip.conn, session.hooks.emr.conn

    @property
    def elbv2(self) -> Any:
        """The client of Elastic Load Balancing."""
        return self.hooks.client_for("elbv2", None)

    @functools.cached_property
    def primary(self) -> Cluster | None:
        """The cluster that the drill stops; ``None`` when EMR does not know it."""
        return self.hooks.emr.get_cluster(self.plan.job_flow_id)

    @functools.cached_property
    def standby(self) -> Cluster | None:
        """The warm standby; ``None`` for a cold standby, and when EMR does not know the cluster."""
        job_flow_id = self.plan.standby_job_flow_id
        return self.hooks.emr.get_cluster(job_flow_id) if job_flow_id else None

    @functools.cached_property
    def primary_instance(self) -> Instance | None:
        """The primary node of the primary."""
        return self._primary_node(self.primary)

    @functools.cached_property
    def standby_instance(self) -> Instance | None:
        """The primary node of the standby."""
        return self._primary_node(self.standby)

    @functools.cached_property
    def address(self) -> Address | None:
        """The Elastic IP."""
        return self.hooks.eip.get_address(self.plan.allocation_id) if self.plan.allocation_id else None

    @functools.cached_property
    def holder(self) -> Holder | None:
        """What the address is associated with; ``None`` when it is free."""
        return None if self.address is None or self.address.is_free else self.hooks.eip.get_holder(self.address)

    @functools.cached_property
    def lease(self) -> Observation | None:
        """The lease of the address; ``None`` without a lock store."""
        store, address = self.plan.lock_store, self.plan.allocation_id
        return Observed(self.hooks.client_for).lease(store, address) if store and address else None

    @functools.cached_property
    def groups(self) -> dict[str, TargetGroup | None]:
        """The target groups by the name or ARN in the plan; ``None`` for one that does not exist."""
        return {name: read_target_group(self.elbv2, name) for name, _ in self.plan.groups}

    def foreign_use(self) -> str | None:
        """Describe who has the address or its lease, if it is not the primary; else ``None``."""
        primary = self.plan.job_flow_id
        if self.holder is not None and self.holder.job_flow_id != primary:
            return f"it is on {self.holder.description}"
        return other_lease(self.lease, job_flow_id=primary) if self.lease is not None else None

    def check_services(self, instance: Instance) -> list[Result]:
        """Check the services of a primary node over HTTP, at its private address."""
        if not self.plan.http_checks or instance.private_ip is None:
            return []
        return asyncio.run(HttpChecker(self.plan.http_checks).check_all(instance.private_ip, {}))

    def _primary_node(self, cluster: Cluster | None) -> Instance | None:
        if cluster is None:
            return None
        node = read_primaries(self.ec2, [cluster.job_flow_id]).get(cluster.job_flow_id)
        if node is None and (instance_id := read_primary_instance_id(self.emr, cluster)) is not None:
            node = read_instance(self.ec2, instance_id)
        return node
