"""The interface of a binding, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider import clock

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
    A cluster that is about to get the address.

    :param tags: the tags of resources that are created for the cluster.
    :param appears_by: EMR may not show the cluster before this time, in seconds since the epoch.
    :param kill: the task's kill flag, which is checked before each change.
    :param observed: the reads of this poll; each thing is read once.
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
        """The Elastic IP hook."""
        return self.aws.eip

    def poll(self, target: Target) -> Verdict:
        """Read the cluster's state once; raise ``ClusterEndedError`` if it has ended."""
        from airflow_eip_provider.triggers.emr import judge_target
        from airflow_eip_provider.triggers.verdict import raise_if_cluster_gone

        is_new = clock.time() < self.appears_by
        verdict = judge_target(self.observed, self.job_flow_id, target=target, is_new=is_new)
        raise_if_cluster_gone(verdict.data)
        return verdict


@dataclass(frozen=True, slots=True)
class ClusterWait:
    """The cluster must reach a state first."""

    target: Target


@dataclass(frozen=True, slots=True)
class GatewayWait:
    """The NAT gateway must become available first."""

    gateway_id: str


@dataclass(frozen=True, slots=True)
class Bound:
    """
    The address is bound.

    :param gateway_id: the NAT gateway that has the address; ``None`` if the primary node has it.
    """

    address: Address
    gateway_id: str | None = None


class Binding(ABC):
    """
    Where a cluster's address is.

    Steps, teardown and reaper do not know the binding: they find what was bound from tags in AWS.
    """

    @property
    def cluster_tags(self) -> Mapping[str, str]:
        """The tags of the cluster that say where its address is."""
        return {}

    @property
    def first_target(self) -> Target | None:
        """The state of a new cluster that :meth:`bind` waits for first; ``None`` if it can do something before."""
        return None

    @property
    @abstractmethod
    def checks(self) -> Sequence[Check]:
        """The preflight checks of this binding, in order."""

    def examined(self, setup: Setup) -> Setup:
        """Check the binding's parameters, and return the setup with what its checks need."""
        return setup

    @abstractmethod
    def bind(self, site: Site) -> Bound | ClusterWait | GatewayWait | None:
        """
        Do what can be done now. Each call reads from AWS what earlier calls and tries did.

        :return: the bound address, or what to wait for first; ``None`` when something else has the address.
        """
