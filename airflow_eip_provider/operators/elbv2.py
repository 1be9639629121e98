"""Registering a cluster's primary node with the target groups of a load balancer, and deregistering it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.aws.addresses import Instance, read_instance, read_instances_at
from airflow_eip_provider.aws.clusters import read_all_primaries
from airflow_eip_provider.aws.load_balancers import Member
from airflow_eip_provider.exceptions import ClusterEndedError, InvalidInputError, TransientError, WaitTimeoutError
from airflow_eip_provider.hooks.elbv2 import ElasticLoadBalancingHook
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.phases import PhasedOperator, Result, State
from airflow_eip_provider.operators.targets import check_instance_id, check_job_flow_id
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.load_balancers import TargetGroup
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger

_ACTIONS = ("register", "deregister")
_HIGHEST_PORT = 65535


@dataclass(slots=True)
class TargetsState(State):
    """
    How far it has come.

    :param members: what was registered, or deregistered; ``None`` while nothing was changed.
    :param waiting_for: the node, or its targets.
    """

    deadline: float = 0.0
    members: list[dict[str, Any]] | None = None
    waiting_for: str = field(default="node")


class NlbTargetsOperator(PhasedOperator, AwsBaseOperator[ElasticLoadBalancingHook]):
    """
    Register the primary node of a cluster with the target groups of a Network Load Balancer, or deregister it.

    Each target group gets the node by its instance ID or its private IP address, as the group's target type says, and
    the task waits until the load balancer finds every target healthy, or until every one is deregistered and drained.
    Other targets are left alone: to move a service, register the new node, and deregister the old one then.

    Before anything is registered it checks each group's target type and load balancers, and of these the VPC, the
    zones, whether the node's security groups let in traffic and health checks, and the port of the health checks. A
    target that could never become healthy is an error that names the cause.

    Running it twice changes nothing, and a retry goes on where the try before stopped; what was registered when it
    fails stays. Deregistering works for a cluster that has ended, too, and leaves an IP address alone that another
    instance has got meanwhile. A load balancer without any healthy target sends traffic to all of them.

    Returns a list of {target_group, target_group_arn, target, port, state}, one a target: ``state`` is "healthy", or
    "registered" without waiting; "deregistered", or "deregistering" without waiting.

    IAM: elasticloadbalancing:DescribeTargetGroups, …:DescribeTargetHealth, …:RegisterTargets, …:DeregisterTargets; to
    register also …:DescribeLoadBalancers, …:DescribeLoadBalancerAttributes, …:DescribeTargetGroupAttributes,
    ec2:DescribeInstances, ec2:DescribeSecurityGroups, ec2:DescribeSubnets; for a cluster
    elasticmapreduce:DescribeCluster, elasticmapreduce:ListInstances.

    :param target_groups: names or ARNs of target groups; or mappings {target_group, port} for a port other than the
        group's. (templated)
    :param job_flow_id: the cluster whose primary node it is; or else (templated)
    :param instance_id: the EC2 instance; or else (templated)
    :param private_ip: the address of an instance, for target groups of type "ip". (templated)
    :param action: "register" or "deregister".
    :param wait_for_completion: whether to wait until the targets are healthy, or drained.
    :param waiter_delay: seconds between two looks; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long to wait at most, for a node that starts, too.
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
        self.allocation_id = None  # no Elastic IP has a part in this
        self.lock_store = None

    def begin(self, context: Context) -> TargetsState:
        """Refuse what is wrong before anything is changed."""
        if self.action not in _ACTIONS:
            raise InvalidInputError(
                f"checking action {self.action!r}", problem="unknown choice", remedy=f"use one of {_ACTIONS}"
            )
        self._check_node()
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        self._groups()
        seconds = float(self.waiter_delay) * int(self.waiter_max_attempts)
        return TargetsState(try_number=context["ti"].try_number, deadline=clock.time() + seconds)

    def advance(self, context: Context, state: TargetsState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Node running → preflight → registered → healthy; or registered ones → deregistered → drained."""
        from airflow_eip_provider.triggers.elbv2 import NlbTargetsTrigger, judge_members

        if event is not None and event["status"] == "timeout":
            raise self._timed_out(state, event)
        if state.members is None and self.action == "register":
            node = self._running_node(state)
            if not isinstance(node, Instance):
                return node
            state.members = self._register(node)
        elif state.members is None:
            state.members = self._deregister()
        state.waiting_for = "targets"
        members = [Member(**member) for member in state.members]
        expect: Literal["healthy", "deregistered"] = "healthy" if self.action == "register" else "deregistered"
        if members and self.wait_for_completion:
            found = judge_members(self.hook.conn, members, expect=expect)
            self.log.info("%s", found.message)
            if found.status != "done":
                shared = self.watch(state, deadline=state.deadline)
                return NlbTargetsTrigger(members=state.members, expect=expect, **shared)
        done = expect if self.wait_for_completion else {"register": "registered"}.get(self.action, "deregistering")
        return Result([{**asdict(member), "state": done} for member in members])

    def _check_node(self) -> None:
        given = [name for name in ("job_flow_id", "instance_id", "private_ip") if not is_nothing(getattr(self, name))]
        if len(given) != 1:
            raise InvalidInputError(
                "checking the node",
                problem=f"of job_flow_id, instance_id and private_ip {len(given)} are given"
                + (f" ({', '.join(given)})" if given else ", or they rendered to nothing"),
                remedy="give exactly one of them, and see that the task that it comes from has returned it",
            )
        if given == ["job_flow_id"]:
            check_job_flow_id(self.job_flow_id)
        elif given == ["instance_id"]:
            check_instance_id(self.instance_id)
        else:
            _check_private_ip(self.private_ip)

    def _groups(self) -> list[tuple[TargetGroup, int | None]]:
        """Return the target groups, each with the port that was given for it."""
        return [(self.hook.get_target_group(name), port) for name, port in checked_groups(self.target_groups)]

    def _running_node(self, state: TargetsState) -> Instance | WatchTrigger:
        """Return the node, or what to wait for while it does not run."""
        from airflow_eip_provider.triggers.eip import InstanceRunningTrigger
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger

        if not is_nothing(self.private_ip):
            return self._node_at(str(self.private_ip))
        found = self.look(self._judge_node)
        if found.status == "failed":
            raise TransientError("registering a target", problem=found.message, remedy="name a running node")
        if found.status == "pending":
            self.log.info("%s", found.message)
            shared = self.watch(state, deadline=state.deadline)
            if self.job_flow_id:
                return EmrClusterTrigger(job_flow_id=self.job_flow_id, target="primary_running", **shared)
            return InstanceRunningTrigger(instance_id=str(self.instance_id), **shared)
        node = read_instance(self.eip.conn, found.data["instance_id"])
        if node is None:
            raise TransientError(
                "registering a target",
                problem=f"EC2 does not show instance '{found.data['instance_id']}'",
                remedy="a retry looks again",
            )
        return node

    def _judge_node(self, observed: Observed) -> Verdict:
        from airflow_eip_provider.triggers.eip import judge_instance
        from airflow_eip_provider.triggers.emr import judge_target

        if self.job_flow_id:
            return judge_target(observed, self.job_flow_id, target="primary_running")
        return judge_instance(str(self.instance_id), observed.instance(str(self.instance_id)))

    def _node_at(self, private_ip: str) -> Instance:
        """Return the instance that has an address in the VPC of the target groups."""
        for vpc_id in dict.fromkeys(group.vpc_id for group, _ in self._groups()):
            found = read_instances_at(self.eip.conn, private_ip, vpc_id=str(vpc_id))
            running = [instance for instance in found if instance.state == "running"]
            if running:
                return running[0]
        raise InvalidInputError(
            f"checking private_ip '{private_ip}'",
            problem="no running instance has this address in the VPC of the target groups",
            remedy="give the private address of a primary node, or its job_flow_id",
        )

    def _register(self, node: Instance) -> list[dict[str, Any]]:
        """Check every group, then register the node with each; return its members."""
        members = self.hook.prepare(self.eip.conn, node, self._groups())
        self.kill.check()
        self.hook.register(members)
        return [asdict(member) for member in members]

    def _deregister(self) -> list[dict[str, Any]]:
        """Deregister the node; return its members, those that are not registered (any more) included."""
        members = self.hook.find_members(self.eip.conn, self._known_nodes(), self._groups())
        self.kill.check()
        self.hook.deregister(members)
        return [asdict(member) for member in members]

    def _known_nodes(self) -> dict[str, str | None]:
        """Return the private address of each instance that is meant, by its id; a bare address has an empty id."""
        if not is_nothing(self.private_ip):
            return {"": str(self.private_ip)}
        if self.instance_id:
            node = read_instance(self.eip.conn, self.instance_id)
            return {self.instance_id: node.private_ip if node else None}
        cluster = self.emr.get_cluster(str(self.job_flow_id))
        if cluster is None:
            raise ClusterEndedError(str(self.job_flow_id), state="unknown", reason="EMR does not know it")
        return read_all_primaries(self.emr.conn, cluster)

    def _timed_out(self, state: TargetsState, event: dict[str, Any]) -> WaitTimeoutError:
        node = self.job_flow_id or self.instance_id or self.private_ip
        ends = {"register": "become healthy", "deregister": "be drained"}
        what = f"'{node}' to run" if state.waiting_for == "node" else f"the targets of '{node}' to {ends[self.action]}"
        return WaitTimeoutError(what, last_seen=event["message"], bound="waiter_delay or waiter_max_attempts")


def checked_groups(target_groups: Any) -> list[tuple[str, int | None]]:
    """
    Read the target groups that an operator is given: names or ARNs, or mappings with a port; a list, or one.

    :return: name or ARN, and the port if one is given.
    :raises InvalidInputError: when there is none, or one that is malformed.
    """
    given = parse_literal(target_groups)
    given = [given] if isinstance(given, (str, Mapping)) else given
    if is_nothing(target_groups) or not isinstance(given, (list, tuple)) or not given:
        raise InvalidInputError(
            "checking target_groups",
            problem=f"{target_groups!r} names none",
            remedy="give a list of names or ARNs, or of mappings {target_group, port}",
        )
    return list(dict.fromkeys(map(_checked_group, given)))


def _checked_group(given: Any) -> tuple[str, int | None]:
    mapping = given if isinstance(given, Mapping) else {"target_group": given}
    name, port = mapping.get("target_group"), mapping.get("port")
    number = int(port) if isinstance(port, (int, str)) and str(port).isdecimal() else None
    wrong_port = port is not None and (number is None or not 0 < number <= _HIGHEST_PORT)
    if set(mapping) - {"target_group", "port"} or not isinstance(name, str) or is_nothing(name) or wrong_port:
        raise InvalidInputError(
            f"checking target group {given!r}",
            problem="this is neither a name, nor an ARN, nor a mapping of target_group and port",
            remedy="write 'livy' or {'target_group': 'livy', 'port': 8998}",
        )
    return name, number


def _check_private_ip(value: object) -> None:
    try:
        ipaddress.IPv4Address(str(value))
    except ValueError as error:
        raise InvalidInputError(
            f"checking private_ip {value!r}", problem="this is no IPv4 address", remedy="give one such as 10.0.0.5"
        ) from error
