"""Targets of load balancers: the primary nodes of clusters behind a Network Load Balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws import load_balancers
from airflow_eip_provider.aws.addresses import read_instances_at
from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.load_balancers import Member, Target
from airflow_eip_provider.aws.target_checks import find_group_problems, find_target_problems
from airflow_eip_provider.exceptions import InvalidInputError, TransientError, WaitTimeoutError
from airflow_eip_provider.hooks.eip import StrictConnectionMixin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Instance
    from airflow_eip_provider.aws.load_balancers import LoadBalancer, TargetGroup, TargetHealth
    from airflow_eip_provider.aws.target_checks import TargetProblem

_INVALID_TARGET = "InvalidTarget"


class ElasticLoadBalancingHook(StrictConnectionMixin, AwsBaseHook):
    """
    Target groups, their targets and the health of these, typed.

    To move a service from one node to another: ``prepare``, ``register`` and ``wait_until_healthy`` for the new one,
    then ``find_members``, ``deregister`` and ``wait_until_deregistered`` for the old one; each may be repeated. Takes
    the parameters of the Amazon provider's hooks.
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

    def find_problems(self, ec2: Any, group: TargetGroup, node: Instance, target: Target) -> list[TargetProblem]:
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

    def prepare(self, ec2: Any, node: Instance, groups: Sequence[tuple[TargetGroup, int | None]]) -> list[Member]:
        """
        Check that the load balancers of every group will reach a node, and return what is to be registered.

        :param groups: each with the port that the node gets traffic on; ``None`` for the group's.
        :raises InvalidInputError: naming everything that is wrong; nothing is changed.
        """
        members: list[Member] = []
        wrong: list[str] = []
        for group, port in groups:
            target = Target(group.target_id_of(node) or node.instance_id, port or group.port)
            members.append(Member.of(group, target))
            for problem in self.find_problems(ec2, group, node, target):
                if problem.is_error:
                    wrong.append(str(problem))
                else:
                    self.log.warning("%s", problem)
        if wrong:
            raise InvalidInputError(
                f"checking {node.instance_id} as a target",
                problem="; ".join(dict.fromkeys(wrong)),
                remedy="correct that; nothing was registered",
            )
        return members

    def find_members(
        self, ec2: Any, nodes: Mapping[str, str | None], groups: Sequence[tuple[TargetGroup, int | None]]
    ) -> list[Member]:
        """
        Return what is to be deregistered, so that nodes get no traffic any more.

        That is what is registered of them, and the port that they are meant to have: DescribeTargetHealth may not show
        yet what was registered just before. Of a target that does not exist Elastic Load Balancing says that it is
        deregistered (API Reference, DeregisterTargets). Needs ec2:DescribeInstances for groups of type "ip".

        :param nodes: the private address of each instance, by its id; a bare address has an empty id.
        :param groups: each with the port that is to be deregistered; ``None`` for every port.
        """
        members: list[Member] = []
        for group, port in groups:
            ids = self._ids_in(ec2, group, nodes)
            registered = self.get_target_health(group)
            leaving = [
                health.target
                for health in registered
                if health.target.target_id in ids and port in {None, health.target.port}
            ]
            stays_healthy = any(h.state == load_balancers.HEALTHY and h.target not in leaving for h in registered)
            if leaving and not stays_healthy:
                self.log.warning("Target group '%s' is left without a healthy target", group.name)
            meant = [Target(target_id, port or group.port) for target_id in ids]
            members += [Member.of(group, target) for target in dict.fromkeys([*leaving, *meant])]
        return members

    def _ids_in(self, ec2: Any, group: TargetGroup, nodes: Mapping[str, str | None]) -> list[str]:
        """Return what nodes are called in a group; an address that another instance has now is none of theirs."""
        if group.target_type == "instance":
            return [instance_id for instance_id in nodes if instance_id]
        own = {address for address in nodes.values() if address}
        if "" in nodes:
            return sorted(own)
        for address in sorted(own):
            for node in read_instances_at(ec2, address, vpc_id=str(group.vpc_id)):
                if node.instance_id not in nodes and node.state in {"pending", "running"}:
                    self.log.warning("%s is the address of %s now, and stays registered", address, node.instance_id)
                    own.discard(address)
        return sorted(own)

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
        deadline = clock.time() + seconds
        while True:
            health = [
                found
                for member in members
                for found in load_balancers.read_target_health(self.conn, member.target_group_arn, [member.as_target])
            ]
            waiting = [str(found) for found in health if not is_done(found)]
            if not waiting:
                return
            left = deadline - clock.time()
            if left <= 0:
                raise WaitTimeoutError(f"targets to be {what}", last_seen="; ".join(waiting), bound="seconds")
            self.log.info("Waiting for targets to be %s: %s", what, "; ".join(waiting))
            clock.sleep(min(delay, left))
