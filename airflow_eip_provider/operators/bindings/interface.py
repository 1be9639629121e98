"""What every binding can do, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.preflight import Check, Setup
    from airflow_eip_provider.triggers.emr import Target
    from airflow_eip_provider.triggers.watch import Verdict, WatchTrigger


@dataclass(frozen=True, slots=True)
class Site:
    """
    A cluster that is to carry the address now.

    :param tags: of what is made for the cluster.
    :param look: looks at the cluster; raises ``ClusterEndedError`` when it is gone.
    :param wait_for_cluster: returns the wait for a cluster that is not there yet.
    :param wait_for_gateway: returns the wait for a NAT gateway that is not available yet.
    :param check_alive: raises after a kill; asked before every change.
    """

    eip: ElasticIpHook
    allocation_id: str
    job_flow_id: str
    tags: Mapping[str, str]
    look: Callable[[Target], Verdict]
    wait_for_cluster: Callable[[Target], WatchTrigger]
    wait_for_gateway: Callable[[str], WatchTrigger]
    check_alive: Callable[[], None]


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
        """Whether something is made for the tenancy that must be removed after it."""

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
    def bind(self, site: Site) -> Bound | WatchTrigger | None:
        """
        Do what can be done now; starts from nothing each time, and finds what earlier calls and tries did.

        :return: the binding, or what to wait for first; ``None`` when somebody else has the address.
        """
