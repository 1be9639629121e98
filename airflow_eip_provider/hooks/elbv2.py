"""Targets of load balancers: the primary nodes of clusters behind a Network Load Balancer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from airflow_eip_provider.aws import load_balancers
from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.target_checks import find_group_problems, find_target_problems
from airflow_eip_provider.exceptions import InvalidInputError, TransientError, WaitTimeoutError
from airflow_eip_provider.hooks.eip import StrictConnectionMixin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.aws.load_balancers import LoadBalancer, Member, Target, TargetGroup, TargetHealth
    from airflow_eip_provider.aws.target_checks import Node, TargetProblem

_INVALID_TARGET = "InvalidTarget"


class ElasticLoadBalancingHook(StrictConnectionMixin, AwsBaseHook):
    """
    Target groups, their targets and the health of these, typed.

    ``register``, ``wait_until_healthy``, ``deregister`` and ``wait_until_deregistered`` are the steps of moving a
    service from one node to another; each may be repeated. Takes the parameters of the Amazon provider's hooks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "elbv2"})

    def get_target_group(self, name_or_arn: str) -> TargetGroup:
        """
        Return a target group (elasticloadbalancing:DescribeTargetGroups).

        :raises InvalidInputError: when there is none of that name or ARN in this account and region.
        """
        found = load_balancers.read_target_group(self.conn, name_or_arn)
        if found is None:
            raise InvalidInputError(
                f"looking up target group '{name_or_arn}'",
                problem=f"there is none in region '{self.conn_region_name}'",
                remedy="give the name or the ARN of one, and check the region",
            )
        return found

    def get_load_balancers(self, group: TargetGroup) -> list[LoadBalancer]:
        """Return the load balancers that send traffic to a group (elasticloadbalancing:DescribeLoadBalancers)."""
        return load_balancers.read_load_balancers(self.conn, group.load_balancers)

    def get_target_health(self, group: TargetGroup, targets: Sequence[Target] = ()) -> list[TargetHealth]:
        """Return the health of these targets, or of all of a group (elasticloadbalancing:DescribeTargetHealth)."""
        return load_balancers.read_target_health(self.conn, group.arn, targets)

    def find_problems(self, ec2: Any, group: TargetGroup, node: Node, target: Target) -> list[TargetProblem]:
        """
        Say what keeps the load balancers of a group from a node, before it is registered; nothing is changed.

        Looks at the group's type and load balancers, and at their VPC, zones, security groups and the port of the
        health checks. See :func:`~airflow_eip_provider.aws.target_checks.find_target_problems` for the IAM actions.

        :param ec2: a boto3 client of EC2.
        """
        problems = list(find_group_problems(group))
        if any(problem.is_error for problem in problems):
            return problems
        return [*problems, *find_target_problems(self.conn, ec2, group, node, target)]

    def register(self, members: Sequence[Member]) -> None:
        """
        Register targets; those that are registered already stay as they are (elasticloadbalancing:RegisterTargets).

        :raises TransientError: when a target is refused, e.g. an instance that does not run (yet).
        """
        for member in members:
            self.log.info("Registering %s", member)
            try:
                load_balancers.register_targets(self.conn, member.target_group_arn, [member.as_target])
            except ClientError as error:
                if error_code(error) != _INVALID_TARGET:
                    raise
                raise TransientError(
                    f"registering {member}",
                    problem=f"it was refused: {error.response['Error'].get('Message', '')}",
                    remedy="an instance must run, in the VPC of the group; an IP address must be in that VPC. A retry "
                    "goes on from here",
                ) from error

    def deregister(self, members: Sequence[Member]) -> None:
        """Deregister targets: they get no new connections (elasticloadbalancing:DeregisterTargets)."""
        for member in members:
            self.log.info("Deregistering %s", member)
            try:
                load_balancers.deregister_targets(self.conn, member.target_group_arn, [member.as_target])
            except ClientError as error:
                if error_code(error) != _INVALID_TARGET:
                    raise
                self.log.info("%s is not registered any more: %s", member, error)

    def wait_until_healthy(self, members: Sequence[Member], *, seconds: float, delay: float = 15.0) -> None:
        """
        Wait in this thread until all of them are healthy (elasticloadbalancing:DescribeTargetHealth).

        :param seconds: for how long at most.
        :raises WaitTimeoutError: saying what each of them is instead.
        """
        self._wait(members, lambda health: health.state == load_balancers.HEALTHY, "healthy", seconds, delay)

    def wait_until_deregistered(self, members: Sequence[Member], *, seconds: float, delay: float = 15.0) -> None:
        """
        Wait in this thread until none of them is registered any more, and their connections are drained.

        :raises WaitTimeoutError: saying what each of them is instead.
        """
        self._wait(members, lambda health: not health.is_registered, "deregistered", seconds, delay)

    def _wait(
        self,
        members: Sequence[Member],
        is_done: Callable[[TargetHealth], bool],
        what: str,
        seconds: float,
        delay: float,
    ) -> None:
        deadline = time.time() + seconds
        while True:
            health = [
                found
                for member in members
                for found in load_balancers.read_target_health(self.conn, member.target_group_arn, [member.as_target])
            ]
            waiting = [str(found) for found in health if not is_done(found)]
            if not waiting:
                return
            left = deadline - time.time()
            if left <= 0:
                raise WaitTimeoutError(f"targets to be {what}", last_seen="; ".join(waiting), bound="seconds")
            self.log.info("Waiting for targets to be %s: %s", what, "; ".join(waiting))
            time.sleep(min(delay, left))
