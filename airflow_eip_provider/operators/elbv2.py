"""Registering a cluster's primary node with target groups of a load balancer, and deregistering it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.aws.clusters import read_all_primaries
from airflow_eip_provider.aws.load_balancers import Member
from airflow_eip_provider.exceptions import ClusterEndedError, InvalidInputError, TransientError
from airflow_eip_provider.hooks.elbv2 import ElasticLoadBalancingHook
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.phases import PhasedOperator, Result, State, wait_timed_out
from airflow_eip_provider.operators.targets import check_one_target, judge_running, running_trigger
from airflow_eip_provider.rendered import check_choice, check_flags, is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.addresses import Instance
    from airflow_eip_provider.aws.load_balancers import TargetGroup
    from airflow_eip_provider.triggers.watch import WatchTrigger

_ACTIONS = ("register", "deregister")
_HIGHEST_PORT = 65535


@dataclass(slots=True)
class TargetsState(State):
    """
    The progress of the task.

    :param members: the targets that were registered or deregistered; ``None`` before that.
    :param waiting_for: "node" or "targets".
    """

    deadline: float = 0.0
    members: list[dict[str, Any]] | None = None
    waiting_for: str = "node"


class NlbTargetsOperator(PhasedOperator, AwsBaseOperator[ElasticLoadBalancingHook]):
    """
    Register the primary node of a cluster with the target groups of a Network Load Balancer, or deregister it.

    The node is registered by its instance ID or its private IP address, according to the target type of each group.
    The task then waits until every target is healthy, or until every target is deregistered and drained. It does not
    change other targets: to move a service, register the new node first, and then deregister the old one.

    Before it registers anything, it checks each group's target type and load balancers, their VPC and zones, whether
    the node's security groups allow traffic and health checks, and the port of the health checks. A target that could
    never become healthy is an error that names the cause.

    Running the task twice changes nothing, and a retry continues where the try before stopped. Targets that were
    registered before a failure stay registered. The node of a cluster that has ended can be deregistered, too; an IP
    address that now belongs to another instance stays registered. A load balancer without any healthy target sends
    traffic to all targets.

    Returns a list of {target_group, target_group_arn, target, port, state}, one for each target. ``state`` is "healthy"
    or "deregistered"; without waiting it is "registered" or "deregistering".

    IAM: elasticloadbalancing:DescribeTargetGroups, …:DescribeTargetHealth, …:RegisterTargets, …:DeregisterTargets; to
    register also …:DescribeLoadBalancers, …:DescribeLoadBalancerAttributes, …:DescribeTargetGroupAttributes,
    ec2:DescribeInstances, ec2:DescribeSecurityGroups, ec2:DescribeSubnets; for a cluster
    elasticmapreduce:DescribeCluster, elasticmapreduce:ListInstances.

    :param target_groups: names or ARNs of target groups; or mappings {target_group, port} for a port other than the
        group's. (templated)
    :param job_flow_id: the cluster with the primary node. (templated)
    :param instance_id: the EC2 instance, instead of ``job_flow_id``. (templated)
    :param private_ip: the address of an instance, instead of ``job_flow_id``, for target groups of type "ip".
        (templated)
    :param action: "register" or "deregister".
    :param wait_for_completion: whether to wait until the targets are healthy, or drained.
    :param waiter_delay: seconds between two polls; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, the longest wait, also for a node that is starting.
    :param deferrable: wait in the triggerer.
    """

    aws_hook_class = ElasticLoadBalancingHook
    template_fields: Sequence[str] = aws_template_fields("instance_id", "job_flow_id", "private_ip", "target_groups")
    state_class = TargetsState

    def __init__(
        self,
        *,
        target_groups: Sequence[str | Mapping[str, Any]] | str,
        job_flow_id: str | None = None,
        instance_id: str | None = None,
        private_ip: str | None = None,
        action: Literal["register", "deregister"] = "register",
        wait_for_completion: bool = True,
        waiter_delay: int = 15,
        waiter_max_attempts: int = 60,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_groups = target_groups
        self.job_flow_id = job_flow_id
        self.instance_id = instance_id
        self.private_ip = private_ip
        self.action = action
        self.wait_for_completion = wait_for_completion
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = deferrable
        self.allocation_id = None  # this operator uses no Elastic IP
        self.lock_store = None

    def begin(self, context: Context) -> TargetsState:
        """Check the parameters before anything is changed."""
        check_choice("action", self.action, _ACTIONS)
        check_flags(self, "wait_for_completion", "deferrable")
        self._check_node()
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        self._groups()
        return TargetsState(try_number=context["ti"].try_number, deadline=clock.time() + self.wait_seconds)

    def advance(self, context: Context, state: TargetsState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Node running → preflight → registered → healthy; or registered → deregistered → drained."""
        from airflow_eip_provider.triggers.elbv2 import NlbTargetsTrigger, judge_members

        registers = self.action == "register"
        if event is not None and event["status"] == "timeout":
            node_id = self.job_flow_id or self.instance_id or self.private_ip
            what = f"the targets of '{node_id}' to {'become healthy' if registers else 'be drained'}"
            what = f"'{node_id}' to run" if state.waiting_for == "node" else what
            raise wait_timed_out(what, event)
        if state.members is None:
            members = self._register(state) if registers else self._deregister()
            if not isinstance(members, list):
                return members
            state.members = [asdict(member) for member in members]
        state.waiting_for = "targets"
        expect: Literal["healthy", "deregistered"] = "healthy" if registers else "deregistered"
        if state.members and self.wait_for_completion:
            verdict = judge_members(self.hook.conn, [Member(**member) for member in state.members], expect=expect)
            self.log.info("%s", verdict.message)
            if verdict.status != "done":
                shared = self.watch(state, deadline=state.deadline)
                return NlbTargetsTrigger(members=state.members, expect=expect, **shared)
        reached = expect if self.wait_for_completion else "registered" if registers else "deregistering"
        return Result([{**member, "state": reached} for member in state.members])

    def _check_node(self) -> None:
        check_one_target(job_flow_id=self.job_flow_id, instance_id=self.instance_id, private_ip=self.private_ip)
        if self.private_ip:
            try:
                ipaddress.IPv4Address(str(self.private_ip))
            except ValueError as error:
                doing = f"checking private_ip {self.private_ip!r}"
                problem = "this is not an IPv4 address"
                raise InvalidInputError(doing, problem=problem, remedy="give one such as 10.0.0.5") from error

    def _groups(self) -> list[tuple[TargetGroup, int | None]]:
        """Return the target groups, each with the port that was given for it."""
        return [(self.hook.get_target_group(name), port) for name, port in checked_groups(self.target_groups)]

    def _running_node(self, state: TargetsState) -> Instance | WatchTrigger:
        """Return the node, or what to wait for while it is not running."""
        from airflow_eip_provider.aws.addresses import read_instance

        if self.private_ip:
            return self._node_at(self.private_ip)
        verdict = self.poll(lambda observed: judge_running(observed, self.job_flow_id, self.instance_id))
        if verdict.status == "failed":
            raise TransientError("registering a target", problem=verdict.message, remedy="name a running node")
        if verdict.status == "pending":
            self.log.info("%s", verdict.message)
            return running_trigger(self.job_flow_id, self.instance_id, **self.watch(state, deadline=state.deadline))
        node = read_instance(self.eip.conn, verdict.data["instance_id"])
        if node is None:
            problem = f"EC2 does not show instance '{verdict.data['instance_id']}'"
            raise TransientError("registering a target", problem=problem, remedy="retry the task")
        return node

    def _node_at(self, private_ip: str) -> Instance:
        """Return the running instance that has an address in the VPC of the target groups."""
        from airflow_eip_provider.aws.addresses import read_instances_at

        for vpc_id in dict.fromkeys(group.vpc_id for group, _ in self._groups()):
            for node in read_instances_at(self.eip.conn, private_ip, vpc_id=str(vpc_id)):
                if node.state == "running":
                    return node
        raise InvalidInputError(
            f"checking private_ip '{private_ip}'",
            problem="no running instance has this address in the VPC of the target groups",
            remedy="give the private address of a primary node, or its job_flow_id",
        )

    def _register(self, state: TargetsState) -> list[Member] | WatchTrigger:
        """Check every group, then register the node with each; return its targets, or what to wait for first."""
        from airflow_eip_provider.triggers.watch import WatchTrigger

        node = self._running_node(state)
        if isinstance(node, WatchTrigger):
            return node
        members = self.hook.prepare(self.eip.conn, node, self._groups())
        self.kill.check()
        self.hook.register(members)
        return members

    def _deregister(self) -> list[Member]:
        """Deregister the node; return its targets, including those that were not registered."""
        members = self.hook.find_members(self.eip.conn, self._known_nodes(), self._groups())
        self.kill.check()
        self.hook.deregister(members)
        return members

    def _known_nodes(self) -> dict[str, str | None]:
        """Return the private addresses of the instances by their IDs; a single address has an empty ID."""
        from airflow_eip_provider.aws.addresses import read_instance

        if self.private_ip:
            return {"": self.private_ip}
        if self.instance_id:
            node = read_instance(self.eip.conn, self.instance_id)
            return {self.instance_id: node.private_ip if node else None}
        cluster = self.emr.get_cluster(str(self.job_flow_id))
        if cluster is None:
            raise ClusterEndedError(str(self.job_flow_id), state="unknown", reason="EMR does not know it")
        return read_all_primaries(self.emr.conn, cluster)


def checked_groups(target_groups: Any) -> list[tuple[str, int | None]]:
    """
    Validate the target groups of an operator: one name, ARN or mapping with a port, or a list of them.

    :return: the name or ARN of each, and its port if one is given.
    :raises InvalidInputError: when there is none, or one is malformed.
    """
    parsed = parse_literal(target_groups)
    parsed = [parsed] if isinstance(parsed, (str, Mapping)) else parsed
    if is_nothing(target_groups) or not isinstance(parsed, (list, tuple)) or not parsed:
        raise InvalidInputError(
            "checking target_groups",
            problem=f"{target_groups!r} names none",
            remedy="give a list of names or ARNs, or of mappings {target_group, port}",
        )
    return list(dict.fromkeys(map(_checked_group, parsed)))


def _checked_group(group: Any) -> tuple[str, int | None]:
    mapping = group if isinstance(group, Mapping) else {"target_group": group}
    name, port = mapping.get("target_group"), mapping.get("port")
    number = int(port) if isinstance(port, (int, str)) and str(port).isdecimal() else None
    wrong_port = port is not None and (number is None or not 0 < number <= _HIGHEST_PORT)
    if set(mapping) - {"target_group", "port"} or not isinstance(name, str) or is_nothing(name) or wrong_port:
        raise InvalidInputError(
            f"checking target group {group!r}",
            problem="this is neither a name, nor an ARN, nor a mapping of target_group and port",
            remedy="write 'livy' or {'target_group': 'livy', 'port': 8998}",
        )
    return name, number
