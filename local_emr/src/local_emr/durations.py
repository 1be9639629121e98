"""Durations of the simulated AWS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Durations in seconds of simulated time; the defaults are typical of a small cluster.

    :param fulfilment: EC2 gives a cluster its instances after this long; until then they have no EC2 id.
    :param instance_boot: An EC2 instance is ``pending`` for this long.
    :param capacity_retry: EMR asks EC2 this often for core and task instances that a zone does not have.
    :param starting: A cluster is STARTING for this long, including the boot of its instances.
    :param bootstrapping: Then BOOTSTRAPPING, or until its bootstrap actions have ended, if that is later.
    :param bootstrap_action_limit: A bootstrap action that takes longer has failed; real seconds if it is a process.
    :param terminating: A cluster is TERMINATING for this long.
    :param instance_shutdown: Its instances are ``shutting-down`` for this long meanwhile.
    :param address_drop: EC2 disassociates an Elastic IP this long after its instance has terminated.
    :param status_checks: The status checks of a running instance are ``initializing`` for this long.
    :param livy_starting: A batch of Livy is ``starting`` for this long, and has no application id.
    :param livy_retention: Livy keeps a finished batch for this long.
    :param target_registration: A load balancer begins to check a target this long after it was registered; AWS says
        that it can take a few minutes.
    :param nat_gateway_association: A NAT gateway associates its Elastic IP this long after CreateNatGateway.
    :param nat_gateway_start: It is ``pending`` for this long, including the association.
    :param nat_gateway_deletion: It is ``deleting`` for this long, and keeps its address until then.
    :param nat_gateway_memory: EC2 lists a deleted or failed gateway for this long.
    :param firewall_rule: A firewall rule created through Azure Resource Manager takes effect after this long; Azure
        documents up to five minutes.
    """

    fulfilment: float = 10
    instance_boot: float = 35
    capacity_retry: float = 30
    starting: float = 120
    bootstrapping: float = 90
    bootstrap_action_limit: float = 3600
    terminating: float = 60
    instance_shutdown: float = 30
    address_drop: float = 5
    status_checks: float = 120
    livy_starting: float = 10
    livy_retention: float = 600
    target_registration: float = 20
    nat_gateway_association: float = 10
    nat_gateway_start: float = 90
    nat_gateway_deletion: float = 60
    nat_gateway_memory: float = 3600
    firewall_rule: float = 180

    def __post_init__(self) -> None:
        if self.fulfilment + self.instance_boot > self.starting:
            raise ValueError(
                f"fulfilment={self.fulfilment} + instance_boot={self.instance_boot} exceeds starting={self.starting}"
            )
        if self.instance_shutdown > self.terminating:
            raise ValueError(
                f"instance_shutdown={self.instance_shutdown} must not exceed terminating={self.terminating}"
            )
        if self.nat_gateway_association > self.nat_gateway_start:
            raise ValueError(
                f"nat_gateway_association={self.nat_gateway_association} must not exceed "
                f"nat_gateway_start={self.nat_gateway_start}"
            )
