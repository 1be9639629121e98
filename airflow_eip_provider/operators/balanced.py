"""Targets of load balancers, for operators that move a service from one primary node to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.load_balancers import Member
from airflow_eip_provider.exceptions import NotKnownYetError
from airflow_eip_provider.operators.elbv2 import checked_groups
from airflow_eip_provider.operators.phases import PhasedOperator
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.aws.load_balancers import TargetGroup
    from airflow_eip_provider.triggers.elbv2 import Expect


class BalancedOperator(PhasedOperator):
    """Registers primary nodes with target groups; there may be none."""

    target_groups: Any

    def members_of(self, job_flow_id: str) -> list[Member]:
        """
        Return the targets to register for a cluster, after checking that the load balancers can reach its primary node.

        :raises InvalidInputError: naming what is wrong; nothing was registered.
        """
        from airflow_eip_provider.aws.addresses import read_instance

        groups = self.groups()
        if not groups:
            return []
        primary = self.observe().primary(job_flow_id)
        node = read_instance(self.eip.conn, primary[0]) if primary else None
        if node is None:
            raise NotKnownYetError(f"primary node of {job_flow_id}")
        return self.aws.load_balancers.prepare(self.eip.conn, node, groups)

    def groups(self) -> list[tuple[TargetGroup, int | None]]:
        """Return the target groups, each with the port that was given for it."""
        return [(self.aws.load_balancers.get_target_group(name), port) for name, port in self.named_groups]

    @property
    def named_groups(self) -> list[tuple[str, int | None]]:
        """The names or ARNs of the target groups, each with the port that was given for it; checked."""
        return [] if is_nothing(self.target_groups) or not self.target_groups else checked_groups(self.target_groups)

    def is_met(self, members: Sequence[dict[str, Any]], expect: Expect) -> bool:
        """Return whether all targets are healthy, or all are deregistered."""
        from airflow_eip_provider.triggers.elbv2 import judge_members

        targets = [Member(**member) for member in members]
        return not targets or judge_members(self.aws.load_balancers.conn, targets, expect=expect).status == "done"
