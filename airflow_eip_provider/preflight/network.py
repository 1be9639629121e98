"""Checks of the subnets of the cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.node_pools import node_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.setup import Setup

SUBNET_PLACES = ("Instances.Ec2SubnetId", "Instances.Ec2SubnetIds")


def no_subnet(setup: Setup) -> str | None:
    """Return the reason to skip a check of subnets if no subnet is known; else ``None``."""
    return None if setup.subnet_ids else "no subnet is known"


@partial(Check, "subnet", "the subnet exists, in the expected VPC", reads=SUBNET_PLACES, missing=no_subnet)
def subnets_exist(setup: Setup) -> Iterator[Finding]:
    for subnet_id, subnet in setup.subnets.items():
        subject = f"subnet '{subnet_id}'"
        if subnet is None:
            yield error(
                subject,
                what=f"it does not exist in region '{setup.region}'",
                why="EMR refuses the launch",
                remedy="use a subnet that exists there",
            )
        elif setup.vpc_id and subnet.vpc_id != setup.vpc_id:
            yield error(
                subject,
                what=f"it is in VPC '{subnet.vpc_id}', not in '{setup.vpc_id}'",
                why="its routes, endpoints and security groups are not the expected ones",
                remedy="use a subnet of the expected VPC",
            )


@partial(Check, "route", "the subnet routes to an internet gateway", needs=(subnets_exist,), missing=no_subnet)
def internet_gateways(setup: Setup) -> Iterator[Finding]:
    for subnet in setup.subnets.values():
        if subnet and not subnet.has_internet_gateway:
            yield error(
                f"subnet '{subnet.subnet_id}'",
                what="its route table has no default route to an internet gateway",
                why="an Elastic IP does not work in it",
                remedy="use a public subnet, or add a route for 0.0.0.0/0 to the internet gateway of the VPC",
            )


@partial(
    Check,
    "auto-assign",
    "no problem is known between launch and association",
    needs=(subnets_exist, internet_gateways),
    missing=no_subnet,
)
def public_addresses(setup: Setup) -> Iterator[Finding]:
    """
    Find the problems of instances with, and without, a public address that EC2 assigns at launch.

    Associating an Elastic IP replaces that address (EC2 User Guide, "Elastic IP addresses"). Without any public address
    an internet gateway forwards nothing (Amazon VPC User Guide, "Enable internet access").
    """
    for subnet in setup.public_subnets:
        subject = f"subnet '{subnet.subnet_id}'"
        if subnet.assigns_public_ip:
            if (setup.job_flow or {}).get("BootstrapActions") and setup.bind_at == "primary_running":
                yield warning(
                    subject,
                    what="instances get a public address at launch (MapPublicIpOnLaunch), and the cluster has "
                    "bootstrap actions",
                    why="the Elastic IP replaces that address while they run, which resets their connections",
                    remedy="let bootstrap actions retry their downloads, or set bind_at='cluster_ready'",
                )
            continue
        if setup.bind_at == "cluster_ready":
            yield error(
                subject,
                what="instances get no public address at launch (MapPublicIpOnLaunch is off), and bind_at is "
                "'cluster_ready'",
                why="without the Elastic IP the primary node cannot reach EMR, so the cluster is never ready",
                remedy="use bind_at='primary_running', or turn MapPublicIpOnLaunch on",
            )
        elif not subnet.has_gateway_endpoint:
            yield warning(
                subject,
                what="instances get no public address at launch (MapPublicIpOnLaunch is off), and there is no gateway "
                "endpoint for S3",
                why="until the Elastic IP is associated, seconds after the primary node runs, the node cannot reach "
                "S3: bootstrap actions and package downloads may fail",
                remedy="add a gateway endpoint for S3 to the subnet's route table (it is free), or turn "
                "MapPublicIpOnLaunch on",
            )
        if setup.instances and node_counts(setup.instances)[1]:
            yield error(
                subject,
                what="core and task nodes get no public address (MapPublicIpOnLaunch is off)",
                why="in a public subnet they cannot reach anything outside the VPC, not even EMR",
                remedy="turn MapPublicIpOnLaunch on, or use a single-node cluster",
            )
