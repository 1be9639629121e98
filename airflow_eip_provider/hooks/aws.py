"""All that one Airflow connection gives access to: hooks, boto3 clients, and the leases of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from botocore.config import Config

from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.elbv2 import ElasticLoadBalancingHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.lock_store import LockStoreHook
from airflow_eip_provider.hooks.step_logs import StepLogHook
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.lease_client.physical import PhysicalLeaseClient
from airflow_eip_provider.lease_client.pool import PhysicalPool, StorePool
from airflow_eip_provider.lease_client.unaddressed import UnaddressedLeaseClient
from airflow_eip_provider.metrics import LeaseMetrics
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease_client.interface import LeaseClient, LeaseQueue

# For a survey, which describes every cluster of a region.
PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


class AwsHooks:
    """
    The hooks of one connection, made when they are first used.

    :param aws_conn_id: ``None`` for boto3's own credentials.
    :param region_name: ``None`` for the connection's, or boto3's own.
    :param config: of the boto3 clients.
    :param emr_conn_id: the connection with defaults for RunJobFlow.
    """

    eip_class: ClassVar[type[ElasticIpHook]] = ElasticIpHook
    emr_class: ClassVar[type[EmrClusterHook]] = EmrClusterHook
    store_class: ClassVar[type[LockStoreHook]] = LockStoreHook
    logs_class: ClassVar[type[StepLogHook]] = StepLogHook

    def __init__(
        self,
        *,
        aws_conn_id: str | None,
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Config | dict[str, Any] | None = None,
        emr_conn_id: str | None = None,
    ) -> None:
        self.shared: dict[str, Any] = {
            "aws_conn_id": aws_conn_id,
            "region_name": region_name,
            "verify": verify,
            "config": config,
        }
        self._emr_conn_id = emr_conn_id
        self._made: dict[Any, Any] = {}

    @classmethod
    def of(cls, task: Any) -> Self:
        """Return the hooks of the connection of one of Amazon's operators or sensors."""
        return cls(
            aws_conn_id=task.aws_conn_id,
            region_name=task.region_name,
            verify=task.verify,
            config=task.botocore_config,
            emr_conn_id=getattr(task, "emr_conn_id", None),
        )

    @property
    def eip(self) -> ElasticIpHook:
        """The hook for addresses."""
        if "ec2" not in self._made:
            self._made["ec2"] = self.eip_class(**self.shared)
        return self._made["ec2"]  # type: ignore[no-any-return]

    @property
    def emr(self) -> EmrClusterHook:
        """The hook for clusters."""
        if "emr" not in self._made:
            self._made["emr"] = self.emr_class(**self.shared, emr_conn_id=self._emr_conn_id)
        return self._made["emr"]  # type: ignore[no-any-return]

    @property
    def load_balancers(self) -> ElasticLoadBalancingHook:
        """The hook for the targets of load balancers."""
        if "targets" not in self._made:
            self._made["targets"] = ElasticLoadBalancingHook(**self.shared)
        return self._made["targets"]  # type: ignore[no-any-return]

    @property
    def step_logs(self) -> StepLogHook:
        """The hook for the logs of steps."""
        if "logs" not in self._made:
            self._made["logs"] = self.logs_class(**self.shared)
        return self._made["logs"]  # type: ignore[no-any-return]

    def client_for(self, service: str, region_name: str | None) -> Any:
        """Return the boto3 client of a service; ``None`` is the connection's own region."""
        if service in {"ec2", "emr"} and region_name is None:
            return (self.eip if service == "ec2" else self.emr).conn
        if (service, region_name) not in self._made:
            here = {"region_name": region_name} if region_name else {}
            self._made[service, region_name] = self.store_class(client_type=service, **{**self.shared, **here}).conn
        return self._made[service, region_name]

    def lease_client(
        self,
        lock_store: str | None,
        allocation_id: str | None,
        *,
        kill: KillFlag | None = None,
        remembered: str | None = None,
        who: str = "this task",
        dag_id: str | None = None,
    ) -> LeaseClient:
        """
        Return the lease of an address.

        :param allocation_id: ``None`` where only a load balancer leads to the clusters.
        :param lock_store: the URI of the store that keeps it; ``None`` for EC2's refusal to re-associate alone.
        :param kill: the task's.
        :param remembered: a cluster that an earlier attempt of the task noted, whatever ListClusters says.
        :param who: the owner, in words for errors.
        :param dag_id: of the task, for metrics.
        """
        shared: dict[str, Any] = {"client_for": self.client_for, "kill": kill, "remembered": remembered}
        client: LeaseClient
        if allocation_id is None or is_nothing(allocation_id):
            client = UnaddressedLeaseClient(**shared)
        elif lock_store:
            client = StoreLeaseClient(lock_store, allocation_id=allocation_id, who=who, **shared)
        else:
            client = PhysicalLeaseClient(allocation_id=allocation_id, **shared)
        client.events = LeaseMetrics(client.allocation_id)
        client.events.dag_id = dag_id
        return client

    def lease_queue(
        self, lock_store: str | None, allocation_id: str | Sequence[str] | None, **given: Any
    ) -> LeaseQueue:
        """
        Return how a task comes to the lease of an address.

        :param allocation_id: one, or several of which any will do.
        :param given: as of :meth:`lease_client`.
        """
        if allocation_id is None or isinstance(allocation_id, str):
            return self.lease_client(lock_store, allocation_id, **given)
        members: dict[str, Any] = {name: self.lease_client(lock_store, name, **given) for name in allocation_id}
        return StorePool(members) if lock_store else PhysicalPool(members)

    def renew(self) -> None:
        """Drop every hook and client, so that the next call reads the credentials again."""
        self._made.clear()
