"""The hook for targets of load balancers: the primary nodes of clusters behind a Network Load Balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws import load_balancers
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
    Reads target groups and the health of their targets, and registers and deregisters targets.

    To move a service from one node to another, call ``prepare``, ``register`` and ``wait_until_healthy`` for the new
    node, then ``find_members``, ``deregister`` and ``wait_until_deregistered`` for the old one. Each call can be
    repeated. Takes the parameters of the Amazon provider's hooks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "elbv2"})

    def get_target_group(self, name_or_arn: str) -> TargetGroup:
        """
        Return a target group (elasticloadbalancing:DescribeTargetGroups).

        :raises InvalidInputError: when it does not exist in this account and region.
        """
        group = load_balancers.read_target_group(self.conn, name_or_arn)
        if group is None:
            raise InvalidInputError(
                f"looking up target group '{name_or_arn}'",
                problem=f"there is none in region '{self.conn_region_name}'",
                remedy="give the name or the ARN of one, and check the region",
            )
        return group

    def get_load_balancers(self, group: TargetGroup) -> list[LoadBalancer]:
        """Return the load balancers that send traffic to a group (elasticloadbalancing:DescribeLoadBalancers)."""
        return load_balancers.read_load_balancers(self.conn, group.load_balancers)

    def get_target_health(self, group: TargetGroup, targets: Sequence[Target] = ()) -> list[TargetHealth]:
        """Return the health of these targets of a group, by default all (elasticloadbalancing:DescribeTargetHealth)."""
        return load_balancers.read_target_health(self.conn, group.arn, targets)

    def find_problems(self, ec2: Any, group: TargetGroup, node: Instance, target: Target) -> list[TargetProblem]:
        """
        Return what prevents the load balancers of a group from reaching a node, before it is registered.

        Checks the group's type and load balancers, and their VPC, zones, security groups and the port of the health
        checks. See :func:`~airflow_eip_provider.aws.target_checks.find_target_problems` for the IAM actions.

        :param ec2: a boto3 client of EC2.
        """
        problems = list(find_group_problems(group))
        if any(problem.is_error for problem in problems):
            return problems
        return [*problems, *find_target_problems(self.conn, ec2, group, node, target)]

    def prepare(self, ec2: Any, node: Instance, groups: Sequence[tuple[TargetGroup, int | None]]) -> list[Member]:
        """
        Check that the load balancers of every group can reach a node, and return the targets to register.

        :param groups: each with the port for the node's traffic; ``None`` for the group's port.
        :raises InvalidInputError: with all errors.
        """
        members: list[Member] = []
        errors: list[str] = []
        for group, port in groups:
            target = Target(group.target_id_of(node) or node.instance_id, port or group.port)
            members.append(Member.of(group, target))
            for problem in self.find_problems(ec2, group, node, target):
                if problem.is_error:
                    errors.append(str(problem))
                else:
                    self.log.warning("%s", problem)
        if errors:
            raise InvalidInputError(
                f"checking {node.instance_id} as a target",
                problem="; ".join(dict.fromkeys(errors)),
                remedy="correct this; nothing was registered",
            )
        return members

    def find_members(
        self, ec2: Any, nodes: Mapping[str, str | None], groups: Sequence[tuple[TargetGroup, int | None]]
    ) -> list[Member]:
        """
        Return the targets to deregister, so that nodes get no traffic.

        They are the registered targets of the nodes, and the targets with the given or default port, because
        DescribeTargetHealth may not show the newest ones yet. Deregistering a target that does not exist succeeds
        (Elastic Load Balancing API Reference, DeregisterTargets). Needs ec2:DescribeInstances for groups of type "ip".

        :param nodes: the private addresses of the instances by their IDs; a single address has an empty ID.
        :param groups: each with the port to deregister; ``None`` for every port.
        """
        members: list[Member] = []
        for group, port in groups:
            ids = self._target_ids(ec2, group, nodes)
            registered = self.get_target_health(group)
            leaving = [
                health.target
                for health in registered
                if health.target.target_id in ids and port in {None, health.target.port}
            ]
            stays_healthy = any(h.state == load_balancers.HEALTHY and h.target not in leaving for h in registered)
            if leaving and not stays_healthy:
                self.log.warning("Target group '%s' is left without a healthy target", group.name)
            expected = [Target(target_id, port or group.port) for target_id in ids]
            members += [Member.of(group, target) for target in dict.fromkeys([*leaving, *expected])]
        return members

    def _target_ids(self, ec2: Any, group: TargetGroup, nodes: Mapping[str, str | None]) -> list[str]:
        """Return the target IDs of nodes in a group, without addresses that another instance has now."""
        from airflow_eip_provider.aws.addresses import read_instances_at

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
        Register targets; registered ones are not changed (elasticloadbalancing:RegisterTargets).

        :raises TransientError: when a target is refused, e.g. an instance that is not running.
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
                    remedy="an instance must be running in the VPC of the group, and an IP address be in that VPC",
                ) from error

    def deregister(self, members: Sequence[Member]) -> None:
        """Deregister targets, so that they get no new connections (elasticloadbalancing:DeregisterTargets)."""
        for member in members:
            self.log.info("Deregistering %s", member)
            try:
                load_balancers.deregister_targets(self.conn, member.target_group_arn, [member.as_target])
            except ClientError as error:
                if error_code(error) != _INVALID_TARGET:
                    raise
                self.log.info("%s is not registered: %s", member, error)

    def wait_until_healthy(self, members: Sequence[Member], *, seconds: float, delay: float = 15.0) -> None:
        """
        Wait in this thread until all targets are healthy (elasticloadbalancing:DescribeTargetHealth).

        :param seconds: the longest wait.
        :raises WaitTimeoutError: with the state of each target.
        """
        self._wait(members, lambda health: health.state == load_balancers.HEALTHY, "healthy", seconds, delay)

    def wait_until_deregistered(self, members: Sequence[Member], *, seconds: float, delay: float = 15.0) -> None:
        """
        Wait in this thread until all targets are deregistered, and their connections drained.

        :raises WaitTimeoutError: with the state of each target.
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
            waiting = [
                str(health)
                for member in members
                for health in load_balancers.read_target_health(self.conn, member.target_group_arn, [member.as_target])
                if not is_done(health)
            ]
            if not waiting:
                return
            left = deadline - clock.time()
            if left <= 0:
                raise WaitTimeoutError(f"targets to be {what}", last_seen="; ".join(waiting), bound="seconds")
            self.log.info("Waiting for targets to be %s: %s", what, "; ".join(waiting))
            clock.sleep(min(delay, left))
