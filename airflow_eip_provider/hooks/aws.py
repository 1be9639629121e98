"""Everything that one Airflow connection gives access to: hooks, boto3 clients, and the leases of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

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

T = TypeVar("T")

# For surveys, which describe every cluster of a region.
PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


class AwsHooks:
    """
    The hooks of one connection, created at their first use.

    :param aws_conn_id: ``None`` for boto3's default credentials.
    :param region_name: ``None`` for the region of the connection, or boto3's default.
    :param config: the configuration of the boto3 clients.
    :param emr_conn_id: the connection with defaults for RunJobFlow.
    """

    eip_class: ClassVar[type[ElasticIpHook]] = ElasticIpHook
    emr_class: ClassVar[type[EmrClusterHook]] = EmrClusterHook
    store_class: ClassVar[type[LockStoreHook]] = LockStoreHook
    logs_class: ClassVar[type[StepLogHook]] = StepLogHook
    balancer_class: ClassVar[type[ElasticLoadBalancingHook]] = ElasticLoadBalancingHook

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
        self._created: dict[Any, Any] = {}

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
        return self._hook(self.eip_class)

    @property
    def emr(self) -> EmrClusterHook:
        """The hook for clusters."""
        return self._hook(self.emr_class, emr_conn_id=self._emr_conn_id)

    @property
    def load_balancers(self) -> ElasticLoadBalancingHook:
        """The hook for the targets of load balancers."""
        return self._hook(self.balancer_class)

    @property
    def step_logs(self) -> StepLogHook:
        """The hook for the logs of steps."""
        return self._hook(self.logs_class)

    def _hook(self, hook_class: type[T], **parameters: Any) -> T:
        if hook_class not in self._created:
            self._created[hook_class] = hook_class(**self.shared, **parameters)
        return self._created[hook_class]  # type: ignore[no-any-return]

    def client_for(self, service: str, region_name: str | None) -> Any:
        """Return the boto3 client of a service; the default is the region of the connection."""
        if service in {"ec2", "emr"} and region_name is None:
            return (self.eip if service == "ec2" else self.emr).conn
        if (service, region_name) not in self._created:
            region = {"region_name": region_name} if region_name else {}
            hook = self.store_class(client_type=service, **{**self.shared, **region})
            self._created[service, region_name] = hook.conn
        return self._created[service, region_name]

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

        :param allocation_id: ``None`` without an Elastic IP.
        :param lock_store: the URI of the lock store; ``None`` to rely only on EC2's refusal to re-associate.
        :param kill: the kill flag of the task.
        :param remembered: a cluster that an earlier attempt of the task has recorded; ListClusters may not show it.
        :param who: the owner, for error messages.
        :param dag_id: the DAG of the task, for metrics.
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
        Return the queue for the lease of one address, or of any one of several.

        :param allocation_id: one address, or several.
        :param given: parameters of :meth:`lease_client`.
        """
        if allocation_id is None or isinstance(allocation_id, str):
            return self.lease_client(lock_store, allocation_id, **given)
        members: dict[str, Any] = {name: self.lease_client(lock_store, name, **given) for name in allocation_id}
        return StorePool(members) if lock_store else PhysicalPool(members)

    def renew(self) -> None:
        """Drop every hook and client, so that the next call reads the credentials again."""
        self._created.clear()
