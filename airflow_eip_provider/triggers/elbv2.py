"""Waiting for the targets of load balancers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider.aws.load_balancers import HEALTHY, Member, read_target_health
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.triggers.observed import Observed

Expect = Literal["healthy", "deregistered"]


def judge_members(elbv2: Any, members: Sequence[Member], *, expect: Expect) -> Verdict:
    """
    Judge whether all targets are healthy, or all are deregistered and drained.

    It never fails: an unhealthy target may become healthy, and AWS may not show a new registration yet. Makes one call
    for each target group (elasticloadbalancing:DescribeTargetHealth).
    """
    waiting: list[str] = []
    states: list[dict[str, Any]] = []
    ordered = sorted(members, key=lambda member: member.target_group_arn)
    for arn, group in groupby(ordered, key=lambda member: member.target_group_arn):
        by_target = {member.as_target: member for member in group}
        for health in read_target_health(elbv2, arn, list(by_target)):
            if (member := by_target.get(health.target)) is None:
                continue
            states.append({**asdict(member), "state": health.state, "reason": health.reason})
            is_waiting = health.state != HEALTHY if expect == "healthy" else health.is_registered
            if is_waiting:
                waiting.append(f"{health}, in target group '{member.target_group}'")
    message = "; ".join(waiting) or f"all {len(states)} targets are {expect}"
    return Verdict("pending" if waiting else "done", message, {"members": states})


@dataclass(kw_only=True, eq=False, repr=False)
class NlbTargetsTrigger(WatchTrigger):
    """
    Wait until targets are healthy, or deregistered and drained.

    :param members: the targets as JSON; see :class:`~airflow_eip_provider.aws.load_balancers.Member`.
    :param expect: "healthy" or "deregistered".
    """

    members: list[dict[str, Any]]
    expect: Expect

    def judge(self, observed: Observed) -> Verdict:
        """Judge the health of each target."""
        members = [Member(**member) for member in self.members]
        return judge_members(observed.client("elbv2"), members, expect=self.expect)
