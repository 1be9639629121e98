"""The check that the cluster's security groups are there, in the VPC of its subnet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error
from airflow_eip_provider.preflight.network import SUBNET_PLACES, SUBNETS
from airflow_eip_provider.preflight.setup import GROUP_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.setup import Setup


def _security_groups(setup: Setup) -> Iterator[Finding]:
    vpc_ids = {subnet.vpc_id for subnet in setup.subnets.values() if subnet}
    # For an address on the primary node, the check of who can reach it has told of that node's already.
    told = () if setup.is_behind_gateway else setup.security_group_ids["Master"]
    for name, group in setup.security_groups.items():
        if group is None and name in told:
            continue
        if group is None:
            yield error(
                f"security group '{name}'",
                what=f"it does not exist in region '{setup.region}'",
                why="EMR refuses the launch",
                mend="correct the security groups in Instances of job_flow_overrides",
            )
        elif vpc_ids and group.vpc_id not in vpc_ids:
            yield error(
                f"security group '{name}' ({group.name})",
                what=f"it is in VPC '{group.vpc_id}', the subnet in '{', '.join(sorted(vpc_ids))}'",
                why="EMR refuses the launch",
                mend="name a security group of the subnet's VPC; one in another VPC needs its own in each fallback",
            )


def _missing(setup: Setup) -> str | None:
    return None if setup.subnet_ids else "no subnet is known"


SECURITY_GROUPS = Check(
    "security-groups",
    "the security groups that are named are in the subnet's VPC",
    _security_groups,
    essential=False,
    with_fallbacks=True,
    needs=(SUBNETS,),
    reads=(*SUBNET_PLACES, *(f"Instances.{name}" for names in GROUP_PLACES.values() for name in names)),
    missing=_missing,
)
