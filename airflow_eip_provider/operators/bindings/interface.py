"""What every binding can do, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider import clock
from airflow_eip_provider.operators.phases import raise_if_cluster_gone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.preflight import Check, Setup
    from airflow_eip_provider.triggers.emr import Target
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Site:
    """
    A cluster that is to carry the address now.

    :param tags: of what is made for the cluster.
    :param appears_by: until then EMR may not know the cluster yet, in seconds since the epoch.
    :param kill: the task's; asked before every change.
    :param observed: what has been read of the cluster in this look, and is read of it: once.
    """

    aws: AwsHooks
    allocation_id: str
    job_flow_id: str
    tags: Mapping[str, str]
    appears_by: float
    kill: KillFlag
    observed: Observed

    @property
    def eip(self) -> ElasticIpHook:
        """The hook for the address."""
        return self.aws.eip

    def look(self, target: Target) -> Verdict:
        """
        Look at the cluster once.

        :raises ClusterEndedError: when it is gone.
        """
        from airflow_eip_provider.triggers.emr import judge_target

        is_new = clock.time() < self.appears_by
        verdict = judge_target(self.observed, self.job_flow_id, target=target, is_new=is_new)
        raise_if_cluster_gone(verdict.data)
        return verdict


@dataclass(frozen=True, slots=True)
class ClusterWait:
    """The cluster has to come so far first."""

    target: Target


@dataclass(frozen=True, slots=True)
class GatewayWait:
    """The NAT gateway has to become available first."""

    gateway_id: str


@dataclass(frozen=True, slots=True)
class Bound:
    """
    The address carries the cluster's connections.

    :param gateway_id: the NAT gateway that it is on; ``None`` for the primary node.
    """

    address: Address
    gateway_id: str | None = None


class Binding(ABC):
    """
    Where the address is put for a cluster.

    What was bound is found again from AWS alone, by tags: steps, teardown and reaper are not told the binding.
    """

    @property
    @abstractmethod
    def cluster_tags(self) -> Mapping[str, str]:
        """Tags by which the cluster says where its address is."""

    @property
    @abstractmethod
    def makes_gateway(self) -> bool:
        """Whether something is made for the cluster that must be removed after it."""

    @property
    def first_target(self) -> Target | None:
        """What :meth:`bind` waits for first with a new cluster; ``None`` when it has something to do before that."""
        return None

    @property
    @abstractmethod
    def checks(self) -> Sequence[Check]:
        """What must be true for it before a launch, in the order in which it is looked at."""

    def examined(self, setup: Setup) -> Setup:
        """
        Return what its checks look at.

        :raises InvalidInputError: when its parameters are wrong in themselves.
        """
        return setup

    @abstractmethod
    def bind(self, site: Site) -> Bound | ClusterWait | GatewayWait | None:
        """
        Do what can be done now; starts from nothing each time, and finds what earlier calls and tries did.

        :return: the binding, or what to wait for first; ``None`` when somebody else has the address.
        """
