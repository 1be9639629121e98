"""What there is before a drill: the primary, its address, the standby and the target groups, each read once."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.addresses import read_instance, read_primaries
from airflow_eip_provider.aws.clusters import read_primary_instance_id
from airflow_eip_provider.aws.load_balancers import read_target_group
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


class Scene:
    """
    Reads of AWS and of the lock store; nothing is changed.

    IAM, beyond what the operators need: ec2:DescribeInstanceTypes, servicequotas:GetServiceQuota, and
    ec2:TerminateInstances to stop the primary.

    :param plan: what they are about.
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

    @property
    def service_quotas(self) -> Any:
        """The client of Service Quotas."""
        return self.hooks.client_for("service-quotas", None)

    @functools.cached_property
    def primary(self) -> Cluster | None:
        """The cluster that is to be stopped."""
        return self.hooks.emr.get_cluster(self.plan.job_flow_id)

    @functools.cached_property
    def standby(self) -> Cluster | None:
        """The cluster that stands by; ``None`` for a cold one, and for one that EMR does not know."""
        return self.hooks.emr.get_cluster(self.plan.standby_id) if self.plan.standby_id else None

    @functools.cached_property
    def primary_instance(self) -> Instance | None:
        """The primary node of the primary."""
        return self._node_of(self.primary)

    @functools.cached_property
    def standby_instance(self) -> Instance | None:
        """The primary node of the standby."""
        return self._node_of(self.standby)

    @functools.cached_property
    def address(self) -> Address | None:
        """The Elastic IP."""
        return self.hooks.eip.get_address(self.plan.allocation_id) if self.plan.allocation_id else None

    @functools.cached_property
    def holder(self) -> Holder | None:
        """What carries the address; ``None`` when it is free."""
        return None if self.address is None or self.address.is_free else self.hooks.eip.get_holder(self.address)

    @functools.cached_property
    def lease(self) -> Observation | None:
        """The lease of the address; ``None`` without a lock store."""
        store, address = self.plan.lock_store, self.plan.allocation_id
        return Observed(self.hooks.client_for).lease(store, address) if store and address else None

    @functools.cached_property
    def groups(self) -> dict[str, TargetGroup | None]:
        """The target groups by how they were named; ``None`` is one that does not exist."""
        return {name: read_target_group(self.elbv2, name) for name, _ in self.plan.target_groups}

    def ask(self, instance: Instance) -> list[Result]:
        """Ask the services of a primary node over HTTP, at its private address."""
        if not self.plan.services or instance.private_ip is None:
            return []
        return asyncio.run(HttpChecker(self.plan.services).check_all(instance.private_ip, {}))

    def _node_of(self, cluster: Cluster | None) -> Instance | None:
        if cluster is None:
            return None
        found = read_primaries(self.ec2, [cluster.job_flow_id]).get(cluster.job_flow_id)
        if found is None and (instance_id := read_primary_instance_id(self.emr, cluster)) is not None:
            found = read_instance(self.ec2, instance_id)
        return found
